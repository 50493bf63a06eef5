//! URLs as Go's `net/url` reads and writes them, and the paths and forms of requests.

use std::fmt::Write;

/// A URL in its parts. The path is not escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Url {
    /// In lower case.
    pub(super) scheme: String,
    /// What follows a scheme without a slash.
    opaque: String,
    user: Option<String>,
    /// With the port, if there is one.
    pub(super) host: String,
    /// As bytes: a key may be any.
    pub(super) path: Vec<u8>,
    /// Without the question mark.
    pub(super) query: String,
    fragment: String,
}

impl Url {
    /// Reads a URL; the error is Go's.
    pub(super) fn parse(text: &str) -> Result<Url, String> {
        Url::parts(text)
            .map_err(|why| format!("parse {}: {why}", crate::gotext::quote::quote(text)))
    }

    fn parts(text: &str) -> Result<Url, String> {
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Url::default();
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        fragment.clone_into(&mut url.fragment);
        let (scheme, rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        query.clone_into(&mut url.query);
        if !rest.starts_with('/') {
            if !url.scheme.is_empty() {
                rest.clone_into(&mut url.opaque);
                return Ok(url);
            }
            if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        let mut path = rest;
        let has_authority = !url.scheme.is_empty() || !rest.starts_with("///");
        if let Some(rest) = rest.strip_prefix("//").filter(|_| has_authority) {
            let (authority, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (user, host) = match authority.rsplit_once('@') {
                Some((user, host)) => (Some(user.to_owned()), host),
                None => (None, authority),
            };
            check_host(host)?;
            url.user = user;
            host.clone_into(&mut url.host);
            path = rest;
        }
        url.path = unescape(path)?;
        Ok(url)
    }

    /// The path and query of a request's first line.
    pub(super) fn request_target(&self) -> String {
        let mut target = escape(&self.path, is_plain_in_path);
        if !target.starts_with('/') {
            target.insert(0, '/');
        }
        if !self.query.is_empty() {
            target = format!("{target}?{}", self.query);
        }
        target
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if self.opaque.is_empty() {
            let user = self.user.as_deref();
            if user.is_some()
                || !self.host.is_empty()
                || !(self.scheme.is_empty() || self.path.is_empty())
            {
                f.write_str("//")?;
            }
            if let Some(user) = user {
                write!(f, "{user}@")?;
            }
            f.write_str(&self.host)?;
            let path = escape(&self.path, is_plain_in_path);
            if !path.is_empty() && !path.starts_with('/') && !self.host.is_empty() {
                f.write_str("/")?;
            }
            f.write_str(&path)?;
        } else {
            f.write_str(&self.opaque)?;
        }
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", self.fragment)?;
        }
        Ok(())
    }
}

/// The scheme and what follows its colon.
fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_host(host: &str) -> Result<(), String> {
    let port_at = match host.strip_prefix('[') {
        Some(_) => host.rfind(']').ok_or("missing ']' in host")? + 1,
        None => host.rfind(':').unwrap_or(host.len()),
    };
    let port = &host[port_at..];
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !port.is_empty() && (!port.starts_with(':') || !digits.bytes().all(|b| b.is_ascii_digit())) {
        let port = crate::gotext::quote::quote(port);
        return Err(format!("invalid port {port} after host"));
    }
    match host.chars().find(|c| " \"<>\\^`{|}".contains(*c)) {
        Some(bad) => Err(format!("invalid character \"{bad}\" in host name")),
        None => Ok(()),
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                let bad = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]);
                return Err(format!("invalid URL escape {}", crate::gotext::quote::quote(&*bad)));
            };
            out.push(u8::try_from(high * 16 + low).expect("two digits are a byte"));
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Ok(out)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn is_plain_in_path(byte: u8) -> bool {
    is_plain(byte) || b"$&+,/:;=@".contains(&byte)
}

fn escape(bytes: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        if plain(*byte) {
            out.push(char::from(*byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes everything");
        }
    }
    out
}

/// Names and values as a query or a form, in the order of names.
pub(super) fn form(pairs: &[(&str, Vec<u8>)]) -> String {
    let mut pairs: Vec<_> = pairs.iter().collect();
    pairs.sort_by_key(|(name, _)| *name);
    let value = |bytes: &[u8]| {
        let words: Vec<_> =
            bytes.split(|byte| *byte == b' ').map(|w| escape(w, is_plain)).collect();
        words.join("+")
    };
    let pairs: Vec<_> =
        pairs.iter().map(|(name, bytes)| format!("{name}={}", value(bytes))).collect();
    pairs.join("&")
}

/// A path from the root without empty, `.` and `..` components; a slash at its end stays.
pub(super) fn canonical(path: &[u8]) -> Vec<u8> {
    let mut clean = clean(path);
    if path.ends_with(b"/") && clean != b"/" {
        clean.push(b'/');
    }
    clean
}

/// A path from the root without empty, `.` and `..` components.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written() {
        for text in [
            "http://127.0.0.1:2379",
            "https://[::1]:2379/base?x=1",
            "localhost:2379",
            "http://user:pw@h:1/a%20b",
            "unix://localhost:1",
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), text);
        }
        let mut bare = Url::parse("host").unwrap();
        bare.scheme = "http".to_owned();
        assert_eq!(bare.to_string(), "http://host");
        assert_eq!(Url::parse("HTTP://h").unwrap().scheme, "http");
    }

    #[test]
    fn what_is_no_url() {
        for (text, why) in [
            ("127.0.0.1:1", "first path segment in URL cannot contain colon"),
            (":1", "missing protocol scheme"),
            ("http://h:x", "invalid port \":x\" after host"),
            ("http://a b", "invalid character \" \" in host name"),
            ("http://h/%zz", "invalid URL escape \"%zz\""),
            ("http://[::1", "missing ']' in host"),
            ("http://h\u{1}", "net/url: invalid control character in URL"),
        ] {
            let quoted = crate::gotext::quote::quote(text);
            assert_eq!(Url::parse(text).unwrap_err(), format!("parse {quoted}: {why}"));
        }
    }

    #[test]
    fn keys_and_values_are_escaped() {
        let mut url = Url::parse("http://h").unwrap();
        url.path = canonical(b"/v2/keys//a b/../c?d*\xff/");
        assert_eq!(url.request_target(), "/v2/keys/c%3Fd%2A%FF/");
        assert_eq!(
            form(&[("value", b"a b&\xc3\xa9".to_vec()), ("ttl", b"1".to_vec())]),
            "ttl=1&value=a+b%26%C3%A9"
        );
        for (path, canonical_path) in [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("/../..", "/"),
            ("//a//b//", "/a/b/"),
            ("/a/.", "/a"),
        ] {
            assert_eq!(canonical(path.as_bytes()), canonical_path.as_bytes(), "{path}");
        }
    }
}
