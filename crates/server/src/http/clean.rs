//! Paths as Go's router wants them: without empty parts, `.` and `..`, whether these are written
//! plainly or as escapes. Rights are judged by paths, so what is asked for must be what is judged.

use super::v2;

/// The path that a client is sent to when its own is not clean, escaped. `None` for one that is, and
/// for one whose escapes are none.
pub(super) fn other_path(path: &str) -> Option<String> {
    if !path.contains('%') {
        let clean = clean_path(path.as_bytes());
        return (clean != path.as_bytes()).then(|| escape(&clean));
    }
    let plain = v2::unescape(path.as_bytes(), false).ok()?;
    let clean = clean_path(&plain);
    (clean != plain).then(|| escape(&clean))
}

/// A path without empty parts, `.` and `..`.
fn clean_path(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = [b"/", &parts.join(&b'/')[..]].concat();
    if path.ends_with(b"/") && clean != b"/" {
        clean.push(b'/');
    }
    clean
}

/// Escapes what may not stand in a path.
fn escape(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, clean) in [
            ("//", "/"),
            ("/v3//kv/range", "/v3/kv/range"),
            ("/a/./b/../c/", "/a/c/"),
            ("/../..", "/"),
            ("*", "/*"),
            ("/v2/keys/r/%2e%2e/secret", "/v2/keys/secret"),
            ("/v2/keys/r/.%2E/secret", "/v2/keys/secret"),
            ("/v2/keys/r%2f..%2fsecret", "/v2/keys/secret"),
            ("/v2/keys/a%2F%2fb%20%3F%25", "/v2/keys/a/b%20%3F%25"),
            ("/v2/keys/%2e/%ff", "/v2/keys/%FF"),
        ] {
            let expected = clean.replace('*', "%2A");
            assert_eq!(other_path(path).as_deref(), Some(&expected[..]), "{path}");
            assert_eq!(other_path(&expected), None, "{path}");
        }
        for path in ["/", "/v2/keys/a%2Fb", "/v2/keys/%zz/..", "/a/...", "/%252e%252e/x"] {
            assert_eq!(other_path(path), None, "{path}");
        }
    }
}
