//! Paths: how a word names a key, seen from the prefix that the shell is in.
//!
//! A word that begins with `/` stands for itself; any other follows the prefix. `.` and `..` are
//! read as in a file system, nothing else is: `a//b` is not `a/b`. Above `/` is the empty prefix,
//! which every key has.

use crate::tree::children::SEPARATOR;

/// The key or prefix that `word` names from `at`, a prefix that is empty or ends with `/`.
pub(super) fn resolve(at: &[u8], word: &[u8]) -> Vec<u8> {
    let mut path = if word.first() == Some(&SEPARATOR) { Vec::new() } else { at.to_vec() };
    let mut parts = word.split(|byte| *byte == SEPARATOR).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            b"." => {}
            b".." => up(&mut path),
            part => {
                path.extend_from_slice(part);
                if !last {
                    path.push(SEPARATOR);
                }
            }
        }
    }
    path
}

/// Takes the last part from a prefix.
fn up(path: &mut Vec<u8>) {
    path.pop();
    let end = path.iter().rposition(|byte| *byte == SEPARATOR).map_or(0, |at| at + 1);
    path.truncate(end);
}

/// What follows the last separator, leaving out one at the end.
pub(super) fn last_part(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(&[SEPARATOR]).unwrap_or(path);
    path.rsplit(|byte| *byte == SEPARATOR).next().unwrap_or(path)
}

/// The prefix that a word for a key has, and what follows it.
pub(super) fn split(word: &[u8]) -> (&[u8], &[u8]) {
    let end = word.iter().rposition(|byte| *byte == SEPARATOR).map_or(0, |at| at + 1);
    word.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_a_prefix() {
        for (at, word, path) in [
            ("/r/pods/", "", "/r/pods/"),
            ("/r/pods/", "x", "/r/pods/x"),
            ("/r/pods/", "x/", "/r/pods/x/"),
            ("/r/pods/", "..", "/r/"),
            ("/r/pods/", "../", "/r/"),
            ("/r/pods/", "../../..", ""),
            ("/r/pods/", "../../../..", ""),
            ("/r/pods/", "../nodes/./a", "/r/nodes/a"),
            ("/r/pods/", "/a//b", "/a//b"),
            ("/r/pods/", "/", "/"),
            ("/r/pods/", ".", "/r/pods/"),
            ("", "a", "a"),
            ("", "..", ""),
            ("/", "..", ""),
            ("/", "...", "/..."),
            ("a/", "..", ""),
        ] {
            let resolved = resolve(at.as_bytes(), word.as_bytes());
            assert_eq!(String::from_utf8(resolved).unwrap(), path, "{at} {word}");
        }
        assert_eq!(last_part(b"/a/b"), b"b");
        assert_eq!(last_part(b"/a/b/"), b"b");
        assert_eq!(last_part(b"a"), b"a");
        assert_eq!(split(b"/a/b"), (&b"/a/"[..], &b"b"[..]));
        assert_eq!(split(b"b"), (&b""[..], &b"b"[..]));
    }
}
