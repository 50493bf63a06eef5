//! Peer and client URLs: which texts are URLs to etcd, and what it says of others.
//!
//! Follows what Go's `net/url` and `net.SplitHostPort` make of the text, as far as a member's
//! address can differ by it.

/// Checks URLs of a member and returns them sorted, without surrounding blanks and with the scheme
/// in lower case. The error is etcd's text.
pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let mut urls = texts.into_iter().map(parse_one).collect::<Result<Vec<String>, String>>()?;
    if urls.is_empty() {
        return Err("no valid URLs given".into());
    }
    urls.sort_unstable();
    Ok(urls)
}

fn parse_one(text: &str) -> Result<String, String> {
    let text = text.trim();
    let unparsable = |reason: &str| format!("parse {text:?}: {reason}");
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err(unparsable("net/url: invalid control character in URL"));
    }
    let (scheme, rest) = split_scheme(text).map_err(unparsable)?;
    let scheme = scheme.to_ascii_lowercase();
    let authority = rest.strip_prefix("//");
    let (authority, path) = match authority {
        Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
        None => ("", ""),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    check_host(host).map_err(|reason| unparsable(&reason))?;
    match scheme.as_str() {
        "http" | "https" => {
            if !is_host_port(host) {
                return Err(format!("URL address does not have the form \"host:port\": {text}"));
            }
            if path.starts_with('/') {
                return Err(format!("URL must not contain a path: {text}"));
            }
        }
        "unix" | "unixs" => {}
        _ => return Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
    }
    Ok(format!("{scheme}:{rest}"))
}

/// The scheme and what follows its colon; an empty scheme when the text has none.
fn split_scheme(text: &str) -> Result<(&str, &str), &'static str> {
    let is_scheme_byte = |(at, byte): (usize, u8)| {
        byte.is_ascii_alphabetic() || (at > 0 && (byte.is_ascii_digit() || b"+-.".contains(&byte)))
    };
    let end = text.bytes().enumerate().position(|at| !is_scheme_byte(at)).unwrap_or(text.len());
    if text[end..].starts_with(':') {
        return match end {
            0 => Err("missing protocol scheme"),
            _ => Ok((&text[..end], &text[end + 1..])),
        };
    }
    let segment = text.split('/').next().unwrap_or_default();
    if segment.contains(':') {
        return Err("first path segment in URL cannot contain colon");
    }
    Ok(("", text))
}

/// Go's rules for the host part: no blanks or brackets out of place, a numeric port.
fn check_host(host: &str) -> Result<(), String> {
    let port_at = match host.strip_prefix('[') {
        Some(inner) => match inner.find(']') {
            Some(close) => close + 2,
            None => return Err("missing ']' in host".into()),
        },
        None => host.rfind(':').unwrap_or(host.len()),
    };
    let port = &host[port_at..];
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !port.is_empty() && (!port.starts_with(':') || !digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {port:?} after host"));
    }
    match host.chars().find(|c| " \"<>\\^`{|}".contains(*c)) {
        Some(bad) => Err(format!("invalid character {:?} in host name", bad.to_string())),
        None => Ok(()),
    }
}

/// Whether the text is `host:port`; both may be empty, an IPv6 host needs brackets.
fn is_host_port(text: &str) -> bool {
    let Some((host, _)) = text.rsplit_once(':') else { return false };
    match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').is_some_and(|inner| !inner.contains(['[', ']'])),
        None => !host.contains([':', '[', ']']),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_come_back_sorted() {
        let good =
            ["http://b:2380", " https://a:2380 ", "HTTP://[::1]:1", "unix://s:0", "http://:1"];
        let sorted =
            ["http://:1", "http://[::1]:1", "http://b:2380", "https://a:2380", "unix://s:0"];
        assert_eq!(parse(good).unwrap(), sorted);
    }

    #[test]
    fn bad_urls_get_the_text_of_etcd() {
        let cases = [
            (
                "127.0.0.1:2380",
                "parse \"127.0.0.1:2380\": first path segment in URL cannot contain colon",
            ),
            (":2380", "parse \":2380\": missing protocol scheme"),
            ("localhost:2380", "URL scheme must be http, https, unix, or unixs: localhost:2380"),
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http:a:1", "URL address does not have the form \"host:port\": http:a:1"),
            ("http://::1:1", "URL address does not have the form \"host:port\": http://::1:1"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
            ("http://a:1/x", "URL must not contain a path: http://a:1/x"),
            ("http://a:x", "parse \"http://a:x\": invalid port \":x\" after host"),
            ("http://[::1", "parse \"http://[::1\": missing ']' in host"),
            ("http://a b:1", "parse \"http://a b:1\": invalid character \" \" in host name"),
        ];
        for (text, error) in cases {
            assert_eq!(parse([text]).unwrap_err(), error);
        }
        assert_eq!(parse([]).unwrap_err(), "no valid URLs given");
    }
}
