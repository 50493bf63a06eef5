//! What the tab key offers: verbs and commands, their flags, and keys.
//!
//! Keys are those of one level, and only so many: what lies below is not read.

use std::time::Duration;

use super::{
    path::split,
    place::Place,
    verbs::{ALIASES, VERBS},
    words::{Token, escaped, tokens},
};
use crate::{
    cli::Command,
    commands::ROOT,
    decode::text,
    session::Session,
    tree::{
        children::{Child, Children},
        keyspace::Keyspace,
    },
};

/// Keys that are offered.
const MOST: usize = 200;
/// How long a read may take while somebody waits for the tab key.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is shown, and what is put in the place of the word.
pub(super) type Candidate = (String, String);

/// What may follow the line: where the word begins that is replaced, and by what.
pub(super) fn candidates(session: &Session, place: &Place, line: &str) -> (usize, Vec<Candidate>) {
    let Some(unfinished) = Unfinished::of(line) else { return (line.len(), Vec::new()) };
    let mut candidates: Vec<Candidate> = match unfinished.names() {
        Some(names) => {
            let fits = |name: &String| name.as_bytes().starts_with(&unfinished.word);
            names.into_iter().filter(fits).map(|name| (name.clone(), name)).collect()
        }
        None => session.run(unfinished.keys(place)),
    };
    if let [(name, word)] = &mut candidates[..]
        && !name.ends_with('/')
    {
        word.push(' ');
    }
    (unfinished.start, candidates)
}

/// The end of a line that is being typed.
#[derive(Debug, PartialEq, Eq)]
struct Unfinished {
    /// The words of the command before.
    before: Vec<Vec<u8>>,
    /// The word, as far as it is typed.
    word: Vec<u8>,
    /// Where it begins.
    start: usize,
}

impl Unfinished {
    /// `None` behind a quote that has ended, and where a program is typed. A quote that is open is
    /// closed first.
    fn of(line: &str) -> Option<Unfinished> {
        let closed = ["", "'", "\""].map(|end| format!("{line}{end}"));
        let (tokens, open) = closed
            .iter()
            .zip([false, true, true])
            .find_map(|(line, open)| tokens(line).ok().map(|tokens| (tokens, open)))?;
        let end = line.len() + usize::from(open);
        let mut unfinished = Unfinished { before: Vec::new(), word: Vec::new(), start: line.len() };
        for token in tokens {
            match token {
                Token::End => unfinished.before.clear(),
                Token::Pipe(_) => return None,
                Token::Word { text, span, quoted } if span.end == end => {
                    if quoted && !open {
                        return None;
                    }
                    unfinished.word = text;
                    unfinished.start = span.start;
                }
                Token::Word { text, .. } => unfinished.before.push(text),
            }
        }
        Some(unfinished)
    }

    /// Names that may stand here; `None` where keys may.
    fn names(&self) -> Option<Vec<String>> {
        let children = |command: &'static Command| {
            command.children.iter().map(|child| child.name().to_owned()).collect::<Vec<_>>()
        };
        let verbs = || VERBS.iter().map(|verb| verb.name().to_owned());
        let Some((name, rest)) = self.before.split_first() else {
            let mut names: Vec<_> = verbs()
                .chain(ALIASES.iter().map(|(name, _)| (*name).to_owned()))
                .chain(children(&ROOT))
                .collect();
            names.sort_unstable();
            names.dedup();
            return Some(names);
        };
        if name == b"help" {
            return Some(verbs().collect());
        }
        let verb = VERBS.iter().copied().find(|verb| verb.name().as_bytes() == name);
        let command = verb.or_else(|| self.command(rest));
        if self.word.first() == Some(&b'-') {
            let flags = command.map(|command| command.flags.iter().chain(command.persistent));
            return Some(flags.into_iter().flatten().map(|f| format!("--{}", f.name)).collect());
        }
        match command {
            _ if verb.is_some() => None,
            Some(command) if !command.children.is_empty() => Some(children(command)),
            _ => None,
        }
    }

    /// The command of etcdctl that the words name.
    fn command(&self, rest: &[Vec<u8>]) -> Option<&'static Command> {
        let words = if self.before[0] == b"etcdctl" { rest } else { &self.before };
        let mut command = &ROOT;
        for word in words {
            match command.children.iter().find(|child| child.name().as_bytes() == word) {
                Some(child) => command = child,
                None => break,
            }
        }
        Some(command)
    }

    /// Keys and prefixes of one level that begin as the word does.
    async fn keys(&self, place: &Place) -> Vec<Candidate> {
        let (typed, start) = split(&self.word);
        let prefix = place.resolve(typed);
        let keys = Keyspace { timeout: PATIENCE, ..place.view.keys.clone() };
        let mut children = Children::matching(&keys, &prefix, start);
        let mut found = Vec::new();
        // A level that cannot be read has nothing to offer.
        while let (true, Ok(Some(child))) = (found.len() < MOST, children.next().await) {
            let name = match child {
                Child::Prefix(name) | Child::Key { name, .. } => name,
            };
            let whole = [typed, &name].concat();
            found.push((text::key(&name).into_owned(), escaped(&whole)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfinished(line: &str) -> Option<(Vec<String>, String, usize)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let unfinished = Unfinished::of(line)?;
        let before = unfinished.before.iter().map(|word| text(word)).collect();
        Some((before, text(&unfinished.word), unfinished.start))
    }

    #[test]
    fn the_word_at_the_end() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(unfinished(""), Some((vec![], String::new(), 0)));
        assert_eq!(unfinished("ls; ca"), Some((vec![], "ca".to_owned(), 4)));
        assert_eq!(unfinished("cat /a\\ b/c"), Some((words(&["cat"]), "/a b/c".to_owned(), 4)));
        assert_eq!(unfinished("cat x "), Some((words(&["cat", "x"]), String::new(), 6)));
        // An open quote is part of what is replaced.
        assert_eq!(unfinished("cat \"/a b/c"), Some((words(&["cat"]), "/a b/c".to_owned(), 4)));
        assert_eq!(unfinished("cat x '/it"), Some((words(&["cat", "x"]), "/it".to_owned(), 6)));
        for line in ["cat \"\\q", "cat x | le", "cat x | le 'y", "cat 'x'", "cat \"x\""] {
            assert_eq!(unfinished(line), None, "{line}");
        }
    }

    #[test]
    fn names_by_place() {
        let has = |line: &str, name: &str| {
            let names = Unfinished::of(line).unwrap().names();
            names.is_some_and(|names| names.iter().any(|other| other == name))
        };
        assert!(has("l", "ls") && has("", "member") && has("", "status"));
        assert!(has("member ", "list") && has("etcdctl member ", "add"));
        assert!(has("rm -", "--force") && has("lease keep-alive --", "--once"));
        assert!(has("help ", "cat"));
        assert!(Unfinished::of("cat ").unwrap().names().is_none());
        assert!(Unfinished::of("del /a").unwrap().names().is_none());
    }
}
