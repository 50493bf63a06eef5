//! From words to a command: the first word that is no flag, and no value of one, names a child.

use super::{
    Command, Group,
    flag::{Flag, Flags},
};

/// No command of that name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    /// The word.
    pub(crate) word: String,
    /// Names that it may have been meant to be.
    pub(crate) similar: Vec<&'static str>,
}

/// The path to the command that `words` name, and the words without those names.
pub(crate) fn find(
    root: &'static Command,
    words: &[Vec<u8>],
) -> Result<(Vec<&'static Command>, Vec<Vec<u8>>), Unknown> {
    let mut path = vec![root];
    let mut words = words.to_vec();
    loop {
        let command = *path.last().expect("a path begins with the root");
        let flags = known_flags(&path);
        let Some(at) = first_argument(&words, &flags) else { return Ok((path, words)) };
        let word = String::from_utf8_lossy(&words[at]).into_owned();
        if let Some(child) = child(command, &word) {
            path.push(child);
            words.remove(at);
            continue;
        }
        if path.len() == 1 && !command.children.is_empty() {
            let similar = similar(command, &word);
            return Err(Unknown { word, similar });
        }
        return Ok((path, words));
    }
}

/// The flags that the last command of `path` knows.
pub(super) fn known_flags(path: &[&'static Command]) -> Flags {
    let mut flags = Flags::default();
    let (command, above) = path.split_last().expect("a path begins with the root");
    flags.add(command.flags, false);
    flags.add(command.persistent, false);
    flags.add(std::slice::from_ref(&super::flag::HELP), false);
    for command in above.iter().rev() {
        flags.add(command.persistent, true);
    }
    flags
}

/// Where the first word stands that is neither a flag nor the value of one.
fn first_argument(words: &[Vec<u8>], flags: &Flags) -> Option<usize> {
    let mut at = 0;
    while at < words.len() {
        let word = String::from_utf8_lossy(&words[at]);
        if word == "--" {
            return None;
        }
        let takes_value = if let Some(name) = word.strip_prefix("--") {
            !name.contains('=') && !flags.find(name).is_some_and(Flag::stands_alone)
        } else if let Some(letters) = word.strip_prefix('-') {
            let mut letters = letters.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => !flags.find_short(letter).is_some_and(Flag::stands_alone),
                _ => false,
            }
        } else if word.is_empty() {
            false
        } else {
            return Some(at);
        };
        at += if takes_value { 2 } else { 1 };
    }
    None
}

/// The child of this name, or the only one whose name begins so.
pub(super) fn child(command: &'static Command, word: &str) -> Option<&'static Command> {
    let mut candidates = Vec::new();
    for child in command.children {
        if child.name() == word {
            return Some(child);
        }
        if child.group != Some(Group::Own) && child.name().starts_with(word) {
            candidates.push(*child);
        }
    }
    match candidates[..] {
        [only] => Some(only),
        _ => None,
    }
}

/// Children whose names are at most two edits away, or begin with the word.
fn similar(command: &'static Command, word: &str) -> Vec<&'static str> {
    let word = word.to_lowercase();
    let mut names: Vec<_> = command
        .children
        .iter()
        .filter(|child| child.group != Some(Group::Own))
        .map(|child| child.name())
        .filter(|name| distance(&word, name) <= 2 || name.starts_with(&word))
        .collect();
    names.sort_unstable();
    names
}

/// The number of characters to insert, drop or replace (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_between_words() {
        for (left, right, edits) in
            [("gte", "get", 2), ("get", "get", 0), ("", "ab", 2), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(left, right), edits);
        }
    }
}
