//! The comparison of a transaction as `fmt.Sscanf` reads it: `"key") OP "value"`.

use super::quote::unquote;

/// What was read before the text ended or did not fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// The quoted key.
    pub(crate) key: Vec<u8>,
    /// The operator.
    pub(crate) op: String,
    /// The quoted value.
    pub(crate) value: Vec<u8>,
    /// Whether all three were there.
    pub(crate) complete: bool,
}

/// Reads a key in quotes, a closing parenthesis, an operator and a value in quotes. Whatever
/// follows is ignored.
pub(crate) fn comparison(text: &str) -> Scanned {
    let mut scanned = Scanned::default();
    let Some((key, rest)) = quoted(text) else { return scanned };
    scanned.key = key;
    let Some(rest) = rest.strip_prefix(')') else { return scanned };
    // The parenthesis must be followed by a space, or by the end of the text.
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return scanned;
    }
    let rest = rest.trim_start();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    if end == 0 {
        return scanned;
    }
    let (op, rest) = rest.split_at(end);
    scanned.op = op.to_owned();
    if let Some((value, _)) = quoted(rest) {
        scanned.value = value;
        scanned.complete = true;
    }
    scanned
}

/// A literal in quotes at the beginning of `text`, after blanks, and what follows it.
fn quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| ['"', '`'].contains(c))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => {
                let (literal, rest) = text.split_at(at + 1);
                return Some((unquote(literal)?, rest));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, key: &str, op: &str, value: &str, complete: bool) {
        let expected =
            Scanned { key: key.into(), op: op.to_owned(), value: value.into(), complete };
        assert_eq!(comparison(text), expected, "{text}");
    }

    #[test]
    fn three_parts_or_what_came_before() {
        check(r#""k") = "v""#, "k", "=", "v", true);
        check(r#" "k\n")   !=  `v` more"#, "k\n", "!=", "v", true);
        check(r#""a) b") > "1""#, "a) b", ">", "1", true);
        check(r#""k")= "v""#, "k", "", "", false);
        check(r#""k") ="#, "k", "=", "", false);
        check(r#""k") = v"#, "k", "=", "", false);
        check(r#""k" = "v""#, "k", "", "", false);
        check("k) = \"v\"", "", "", "", false);
        check("\"k", "", "", "", false);
    }
}
