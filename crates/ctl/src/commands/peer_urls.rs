//! The list of `--peer-urls`, checked before it is sent.

use crate::exit::{Code, Failure};

/// Reads `a,b`: each must be `http(s)://host:port` without a path, or a Unix socket.
pub(super) fn parse(list: &str) -> Result<Vec<String>, Failure> {
    let urls: Vec<_> = list.split(',').map(str::to_owned).collect();
    urls.iter().try_for_each(|url| check(url.trim()))?;
    Ok(urls)
}

fn check(url: &str) -> Result<(), Failure> {
    let failed = |text: String| Failure::new(Code::Error, text);
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match scheme.to_lowercase().as_str() {
        "http" | "https" => {}
        "unix" | "unixs" => return Ok(()),
        _ => {
            let text = format!("URL scheme must be http, https, unix, or unixs: {url}");
            return Err(failed(text));
        }
    }
    let (host, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let has_port = match host.rsplit_once(':') {
        Some((host, _)) => host.ends_with(']') == host.contains(':'),
        None => false,
    };
    if !has_port {
        let text = format!("URL address does not have the form \"host:port\": {url}");
        return Err(failed(text));
    }
    if path.starts_with('/') {
        return Err(failed(format!("URL must not contain a path: {url}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        let urls = parse("http://a:1,https://[::1]:2, unix://x").unwrap();
        assert_eq!(urls, ["http://a:1", "https://[::1]:2", " unix://x"]);
        for (bad, message) in [
            ("a:1", "URL scheme must be http, https, unix, or unixs: a:1"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http://::1:2", "URL address does not have the form \"host:port\": http://::1:2"),
            ("http://a:1/", "URL must not contain a path: http://a:1/"),
        ] {
            assert_eq!(parse(bad).unwrap_err(), Failure::new(Code::Error, message));
        }
    }
}
