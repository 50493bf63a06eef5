//! One URL, read and shown as Go's `net/url` does, because etcd's errors, sorting and member ids
//! are made of that text.
//!
//! Only what a listener or a member address can hold is kept apart (scheme, user, host, path);
//! query and fragment are carried so that the URL shows itself as it was given.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::goconv::Quoted;

/// A parsed URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    path: String,
    raw_path: String,
    query: Option<String>,
    fragment: String,
    omit_host: bool,
}

/// The part of a URL that a text is escaped for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    User,
    Host,
    Zone,
    Path,
    Fragment,
}

impl Url {
    /// Reads a URL. The error is the text of Go's `url.Parse`.
    pub fn parse(text: &str) -> Result<Url, String> {
        let (main, fragment) = text.split_once('#').unwrap_or((text, ""));
        let named = |whole: &str, error: String| format!("parse {}: {error}", Quoted(whole));
        let mut url = parse_main(main).map_err(|e| named(main, e))?;
        url.fragment = unescape(fragment, Part::Fragment).map_err(|e| named(text, e))?;
        Ok(url)
    }

    /// A URL of only a scheme and a `host:port`.
    pub fn from_parts(scheme: &str, host: &str) -> Url {
        Url { scheme: scheme.to_string(), host: host.to_string(), ..Url::default() }
    }

    /// The scheme in lower case; empty when there is none.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The `host:port` part; for a unix URL the first part of the socket's path.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path with its escapes resolved.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The host without brackets and port.
    pub fn hostname(&self) -> &str {
        split_host(&self.host).0
    }

    /// The port, empty when there is none.
    pub fn port(&self) -> &str {
        split_host(&self.host).1
    }

    /// Whether traffic on this URL is encrypted (`https` and `unixs`).
    pub fn is_tls(&self) -> bool {
        matches!(self.scheme.as_str(), "https" | "unixs")
    }

    /// Whether this names a unix socket (`unix` and `unixs`).
    pub fn is_unix(&self) -> bool {
        matches!(self.scheme.as_str(), "unix" | "unixs")
    }

    /// The file of a unix URL's socket: `unix://a:1` and `unix:///run/x` mean `a:1` and `/run/x`.
    pub fn socket_path(&self) -> String {
        format!("{}{}", self.host, self.path)
    }
}

fn parse_main(raw: &str) -> Result<Url, String> {
    if raw.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_string());
    }
    let mut url = Url::default();
    if raw == "*" {
        url.path = "*".to_string();
        return Ok(url);
    }
    let (scheme, rest) = split_scheme(raw)?;
    url.scheme = scheme.to_ascii_lowercase();
    let (mut rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query.to_string())),
        None => (rest, None),
    };
    url.query = query;
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_string();
            return Ok(url);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_string());
        }
    }
    let authority = rest.strip_prefix("//");
    if let Some(authority) =
        authority.filter(|_| !url.scheme.is_empty() || !rest.starts_with("///"))
    {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, path) = authority.split_at(end);
        rest = path;
        set_authority(&mut url, authority)?;
    } else if !url.scheme.is_empty() && rest.starts_with('/') {
        url.omit_host = true;
    }
    url.path = unescape(rest, Part::Path)?;
    if escape(&url.path, Part::Path) != rest {
        url.raw_path = rest.to_string();
    }
    Ok(url)
}

fn split_scheme(raw: &str) -> Result<(&str, &str), String> {
    for (at, byte) in raw.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_string()),
            b':' => return Ok((&raw[..at], &raw[at + 1..])),
            _ => return Ok(("", raw)),
        }
    }
    Ok(("", raw))
}

fn set_authority(url: &mut Url, authority: &str) -> Result<(), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    url.host = parse_host(&url.scheme, host)?;
    let Some(user) = user else { return Ok(()) };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    if !user.bytes().all(allowed) {
        return Err("net/url: invalid userinfo".to_string());
    }
    let parts = user.splitn(2, ':').map(|part| unescape(part, Part::User));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let shown: Vec<String> = parts.iter().map(|part| escape(part, Part::User)).collect();
    url.user = Some(shown.join(":"));
    Ok(())
}

fn parse_host(scheme: &str, host: &str) -> Result<String, String> {
    match host.rfind('[') {
        Some(0) => return parse_ip_literal(host),
        Some(_) => return Err("invalid IP-literal".to_string()),
        None => {}
    }
    if let Some(first) = host.find(':') {
        // Only http and https insist on a single colon.
        let last = host.rfind(':').unwrap_or(first);
        let strict = matches!(scheme, "http" | "https");
        check_port(&host[if strict { first } else { last }..])?;
    }
    unescape(host, Part::Host)
}

fn parse_ip_literal(host: &str) -> Result<String, String> {
    let Some(close) = host.rfind(']') else {
        return Err("missing ']' in host".to_string());
    };
    check_port(&host[close + 1..])?;
    let port = unescape(&host[close + 1..], Part::Host)?;
    let inside = &host[1..close];
    let name = match inside.find("%25") {
        Some(zone) => {
            let (address, zone) = inside.split_at(zone);
            unescape(address, Part::Host)? + &unescape(zone, Part::Zone)?
        }
        None => unescape(inside, Part::Host)?,
    };
    let address = name.split('%').next().unwrap_or_default();
    if address.parse::<Ipv6Addr>().is_err() {
        if name.parse::<IpAddr>().is_ok() {
            return Err("invalid IP-literal".to_string());
        }
        return Err(format!("invalid host: ParseAddr({}): unable to parse IP", Quoted(&name)));
    }
    Ok(format!("[{name}]{port}"))
}

fn check_port(colon_port: &str) -> Result<(), String> {
    let digits = colon_port.strip_prefix(':');
    if colon_port.is_empty() || digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(());
    }
    Err(format!("invalid port {} after host", Quoted(colon_port)))
}

/// Splits `host:port` or `[v6]:port` into the bare host and the port.
fn split_host(host: &str) -> (&str, &str) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (host, ""),
    };
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']'));
    (bare.unwrap_or(name), port)
}

fn must_escape(byte: u8, part: Part) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return false;
    }
    match part {
        Part::Host | Part::Zone => !b"!$&'()*+,;=:[]<>\"".contains(&byte),
        Part::Path => !b"$&+,/:;=@".contains(&byte),
        Part::User => !b"$&+,;=".contains(&byte),
        Part::Fragment => !b"$&+,/:;=?@!()*".contains(&byte),
    }
}

fn escape(text: &str, part: Part) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let mut utf8 = [0; 4];
        for byte in c.encode_utf8(&mut utf8).bytes() {
            if must_escape(byte, part) {
                out.push_str(&format!("%{byte:02X}"));
            } else {
                out.push(byte as char);
            }
        }
    }
    out
}

fn unescape(text: &str, part: Part) -> Result<String, String> {
    let bytes = text.as_bytes();
    let in_host = matches!(part, Part::Host | Part::Zone);
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'%' {
            if in_host && bytes[at].is_ascii() && must_escape(bytes[at], part) {
                let shown = (bytes[at] as char).to_string();
                return Err(format!("invalid character {} in host name", Quoted(&shown)));
            }
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let triple = &bytes[at..bytes.len().min(at + 3)];
        let bad = || {
            let shown = String::from_utf8_lossy(triple).into_owned();
            format!("invalid URL escape {}", Quoted(&shown))
        };
        let value = hex_pair(triple).ok_or_else(bad)?;
        let allowed = match part {
            Part::Host => value >= 0x80 || triple == b"%25",
            Part::Zone => triple == b"%25" || value == b' ' || !must_escape(value, Part::Host),
            _ => true,
        };
        if !allowed {
            return Err(bad());
        }
        out.push(value);
        at += 3;
    }
    String::from_utf8(out).map_err(|_| format!("invalid URL escape {}", Quoted(text)))
}

fn hex_pair(triple: &[u8]) -> Option<u8> {
    let [b'%', high, low] = triple else { return None };
    let digit = |b: &u8| (*b as char).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if !self.opaque.is_empty() {
            f.write_str(&self.opaque)?;
        } else {
            let has_authority = !self.host.is_empty() || self.user.is_some();
            if has_authority
                || (!self.path.is_empty() && !self.scheme.is_empty() && !self.omit_host)
            {
                f.write_str("//")?;
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&escape(&self.host, Part::Host))?;
            }
            if self.raw_path.is_empty() {
                f.write_str(&escape(&self.path, Part::Path))?;
            } else {
                f.write_str(&self.raw_path)?;
            }
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", escape(&self.fragment, Part::Fragment))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_text_survive() {
        let cases = [
            // text, shown, scheme, host, hostname, port, path
            ("http://a:1", "http://a:1", "http", "a:1", "a", "1", ""),
            ("HTTP://A:1", "http://A:1", "http", "A:1", "A", "1", ""),
            ("http://[::1]:2379", "http://[::1]:2379", "http", "[::1]:2379", "::1", "2379", ""),
            ("http://:2379", "http://:2379", "http", ":2379", "", "2379", ""),
            ("http://u:p@h:1?q=1#f", "http://u:p@h:1?q=1#f", "http", "h:1", "h", "1", ""),
            ("http://h:1/", "http://h:1/", "http", "h:1", "h", "1", "/"),
            ("unix:///run/e.sock", "unix:///run/e.sock", "unix", "", "", "", "/run/e.sock"),
            ("unix:/run/e.sock", "unix:/run/e.sock", "unix", "", "", "", "/run/e.sock"),
            (
                "unix://localhost:1",
                "unix://localhost:1",
                "unix",
                "localhost:1",
                "localhost",
                "1",
                "",
            ),
            ("unix:rel", "unix:rel", "unix", "", "", "", ""),
            ("unix:///a%20b", "unix:///a%20b", "unix", "", "", "", "/a b"),
        ];
        for (text, shown, scheme, host, hostname, port, path) in cases {
            let url = Url::parse(text).expect(text);
            assert_eq!(url.to_string(), shown);
            let parts = (url.scheme(), url.host(), url.hostname(), url.port(), url.path());
            assert_eq!(parts, (scheme, host, hostname, port, path), "{text}");
        }
    }

    #[test]
    fn errors_are_gos() {
        let cases = [
            ("127.0.0.1:1", "first path segment in URL cannot contain colon"),
            (":1", "missing protocol scheme"),
            ("http://a:1x", "invalid port \":1x\" after host"),
            ("http://a:1:2", "invalid port \":1:2\" after host"),
            ("http://[::1", "missing ']' in host"),
            ("http://[1.2.3.4]:1", "invalid IP-literal"),
            ("http://a b:1", "invalid character \" \" in host name"),
            ("http://%41:1", "invalid URL escape \"%41\""),
            ("http://a\u{1}", "net/url: invalid control character in URL"),
            ("http://<@h:1", "net/url: invalid userinfo"),
            ("unix:///%zz", "invalid URL escape \"%zz\""),
        ];
        for (text, error) in cases {
            assert_eq!(Url::parse(text), Err(format!("parse {}: {error}", Quoted(text))), "{text}");
        }
    }

    #[test]
    fn unix_urls_name_a_socket() {
        let path = |text| Url::parse(text).expect("a valid URL").socket_path();
        assert_eq!(path("unix:///run/e.sock"), "/run/e.sock");
        assert_eq!(path("unix://localhost:2379"), "localhost:2379");
    }
}
