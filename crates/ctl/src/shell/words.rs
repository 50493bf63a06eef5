//! Lines of the shell as words. Blanks separate words, `;` and line ends separate commands, `#`
//! begins a comment, `|` hands the output to a program. A backslash takes the next character as it
//! is, single quotes what is in them; double quotes know Go's escapes, so that any bytes can be
//! typed.

use std::ops::Range;

use crate::{
    decode::text,
    gotext::quote::{quote, unquote},
};

/// One command of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// Its name and arguments.
    pub(super) words: Vec<Vec<u8>>,
    /// What its output is handed to, for `sh`.
    pub(super) pipe: Option<String>,
}

/// A part of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word.
    Word {
        /// What it means.
        text: Vec<u8>,
        /// Where it stands.
        span: Range<usize>,
        /// Whether quotes are part of it.
        quoted: bool,
    },
    /// The end of a command.
    End,
    /// The rest of the command is for `sh`.
    Pipe(String),
}

/// A quote that does not end, or an escape that is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfinished;

/// The commands of a text, which may have several lines.
pub(super) fn commands(text: &str) -> Result<Vec<CommandLine>, Unfinished> {
    let mut commands = vec![CommandLine::default()];
    for token in tokens(text)? {
        let last = commands.last_mut().expect("there is always a last command");
        match token {
            Token::Word { text, .. } => last.words.push(text),
            Token::End => commands.push(CommandLine::default()),
            Token::Pipe(program) => {
                last.pipe = Some(program);
                commands.push(CommandLine::default());
            }
        }
    }
    commands.retain(|command| !command.words.is_empty() || command.pipe.is_some());
    Ok(commands)
}

/// The parts of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Unfinished> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            ';' | '\n' => {
                tokens.push(Token::End);
                at += 1;
            }
            c if c.is_whitespace() => at += c.len_utf8(),
            '#' => at += line_end(&text[at..]),
            '|' => {
                let end = at + command_end(&text[at..]);
                tokens.push(Token::Pipe(text[at + 1..end].trim().to_owned()));
                at = end;
            }
            _ => {
                let word = word(text, at)?;
                if let Token::Word { span, .. } = &word {
                    at = span.end;
                }
                tokens.push(word);
            }
        }
    }
    Ok(tokens)
}

fn line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// Where a command for `sh` ends: at a `;` or line end that is not in quotes.
fn command_end(text: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (None, ';' | '\n') => return at,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// The word that begins at `start`.
fn word(text: &str, start: usize) -> Result<Token, Unfinished> {
    let mut word = Vec::new();
    let mut quoted = false;
    let mut at = start;
    while let Some(c) = text[at..].chars().next() {
        match c {
            ';' | '|' => break,
            c if c.is_whitespace() => break,
            '\\' => {
                let next = text[at + 1..].chars().next().ok_or(Unfinished)?;
                word.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
                at += 1 + next.len_utf8();
            }
            '\'' => {
                quoted = true;
                let length = text[at + 1..].find('\'').ok_or(Unfinished)?;
                word.extend_from_slice(&text.as_bytes()[at + 1..at + 1 + length]);
                at += length + 2;
            }
            '"' => {
                quoted = true;
                let length = double_quoted(&text[at..]).ok_or(Unfinished)?;
                word.extend(unquote(&text[at..at + length]).ok_or(Unfinished)?);
                at += length;
            }
            c => {
                word.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                at += c.len_utf8();
            }
        }
    }
    Ok(Token::Word { text: word, span: start..at, quoted })
}

/// The length of the literal that `text` begins with, quotes included.
fn double_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// How a word is typed that means these bytes.
pub(super) fn escaped(word: &[u8]) -> String {
    let shown = text::key(word);
    if word.is_empty() || shown.as_bytes() != word {
        return quote(word);
    }
    let special = |c: char| c.is_whitespace() || "\\'\";|".contains(c);
    let mut out = String::new();
    for (at, c) in shown.chars().enumerate() {
        if special(c) || (at == 0 && c == '#') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&[&str], Option<&str>)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(words, pipe)| CommandLine {
                words: words.iter().map(|word| word.as_bytes().to_vec()).collect(),
                pipe: pipe.map(str::to_owned),
            })
            .collect();
        assert_eq!(commands(text), Ok(expected), "{text}");
    }

    #[test]
    fn words_and_commands() {
        check("", &[]);
        check(" ; # nothing\n;", &[]);
        check("ls -l /a; cd b # go", &[(&["ls", "-l", "/a"], None), (&["cd", "b"], None)]);
        check(r#"put a\ b 'c "d;' "e\n\x66""#, &[(&["put", "a b", "c \"d;", "e\nf"], None)]);
        check("a#b ''x", &[(&["a#b", "x"], None)]);
        check(
            "cat x | grep 'a;b' | wc; pwd",
            &[(&["cat", "x"], Some("grep 'a;b' | wc")), (&["pwd"], None)],
        );
        for bad in ["'a", "\"a", "\"\\q\"", "a\\"] {
            assert_eq!(commands(bad), Err(Unfinished), "{bad}");
        }
        let bytes = commands(r#"get "\xff\x00""#).unwrap();
        assert_eq!(bytes[0].words[1], b"\xff\x00");
    }

    proptest! {
        #[test]
        fn any_word_can_be_typed(word in prop::collection::vec(any::<u8>(), 0..12)) {
            let line = format!("a {} b", escaped(&word));
            prop_assert_eq!(&commands(&line).unwrap()[0].words[1], &word);
        }

        #[test]
        fn text_with_marks_can_be_typed(word in "[ab#;|'\"\\\\ \u{e9}]{0,8}") {
            let line = format!("a {} b", escaped(word.as_bytes()));
            prop_assert_eq!(&commands(&line).unwrap()[0].words[1][..], word.as_bytes());
        }

        #[test]
        fn any_line_is_read(line in any::<String>()) {
            let _ = commands(&line);
        }
    }
}
