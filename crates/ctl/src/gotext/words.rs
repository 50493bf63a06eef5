//! Words of a line of interactive input, and of a list in a flag.

use super::quote::unquote;

/// Splits a line as the interactive commands do: words between blanks, in single quotes as they
/// stand, in double quotes with Go's escapes. `None` when an escape is malformed.
///
/// A word begins where none has begun: quotes within a word are part of it, but a quote that ends
/// a bare word of more than one character begins the next.
pub(crate) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        if let Some(end) = double_quoted(rest) {
            let literal = String::from_utf8_lossy(&rest[..end]);
            words.push(unquote(&literal)?);
            at += end;
        } else if let Some(end) = single_quoted(rest) {
            words.push(rest[1..end - 1].to_vec());
            at += end;
        } else if let Some(end) = bare(rest) {
            words.push(rest[..end].to_vec());
            at += end;
        } else {
            at += 1;
        }
    }
    Some(words)
}

/// Where a double-quoted word ends that begins here.
fn double_quoted(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at + 1),
            b'\\' if text.get(at + 1).is_none_or(|byte| *byte == b'\n') => return None,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// Where a single-quoted word ends that begins here.
fn single_quoted(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'\'') {
        return None;
    }
    text[1..].iter().position(|byte| *byte == b'\'').map(|at| at + 2)
}

/// Where a bare word ends that begins here: at a blank, and before a quote at its very end.
fn bare(text: &[u8]) -> Option<usize> {
    let blank = |byte: &u8| b"\t\n\x0c\r ".contains(byte);
    let quote = |byte: &u8| b"'\"".contains(byte);
    if text.first().is_none_or(|byte| blank(byte) || quote(byte)) {
        return None;
    }
    // One character, then any but blanks, then perhaps one that is neither blank nor quote: the
    // greedy middle takes everything up to the blank, quotes included.
    let end = text.iter().position(blank).unwrap_or(text.len());
    Some(end)
}

/// The elements of a comma-separated list; an element may stand in double quotes, doubled within.
pub(crate) fn list(text: &str) -> Vec<String> {
    let mut elements = Vec::new();
    let mut element = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                element.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if element.is_empty() => quoted = true,
            ',' if !quoted => elements.push(std::mem::take(&mut element)),
            c => element.push(c),
        }
    }
    if !text.is_empty() {
        elements.push(element);
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, words: &[&str]) {
        let found = split(line.as_bytes()).unwrap();
        let found: Vec<_> = found.iter().map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(found, words, "{line}");
    }

    #[test]
    fn words_of_a_line() {
        check("put a b", &["put", "a", "b"]);
        check("  put 'a b'  \"c\\td\" ", &["put", "a b", "c\td"]);
        check("put a'b c\"d", &["put", "a'b", "c\"d"]);
        check("get '' \"\"", &["get", "", ""]);
        check("watch k --prefix", &["watch", "k", "--prefix"]);
        check("a\"", &["a\""]);
        check("'open", &["open"]);
        assert_eq!(split(b"put \"\\q\""), None);
    }

    #[test]
    fn elements_of_a_list() {
        assert_eq!(list("a,b"), ["a", "b"]);
        assert_eq!(list("\"a,b\",c\"\""), ["a,b", "c\"\""]);
        assert_eq!(list("a,"), ["a", ""]);
        assert!(list("").is_empty());
    }
}
