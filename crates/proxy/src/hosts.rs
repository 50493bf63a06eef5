//! Hosts and ports as texts.

use std::{collections::BTreeSet, io, net::IpAddr};

/// Host and port of `host:port`; an IPv6 address stands in brackets.
pub(crate) fn split(address: &str) -> Option<(&str, &str)> {
    let (host, port) = address.rsplit_once(':')?;
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return Some((inner, port));
    }
    (!host.contains([':', '[', ']'])).then_some((host, port))
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The addresses of a host.
pub(crate) async fn look_up(host: &str) -> io::Result<BTreeSet<IpAddr>> {
    if host.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no such host"));
    }
    let found = tokio::net::lookup_host((host, 0)).await?;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_apart_and_together() {
        assert_eq!(split("a.b:1"), Some(("a.b", "1")));
        assert_eq!(split("[::1]:1"), Some(("::1", "1")));
        assert_eq!(split(":1"), Some(("", "1")));
        assert_eq!(split("abc"), None);
        assert_eq!(split("::1"), None);
        assert_eq!(join("::1", 2), "[::1]:2");
        assert_eq!(join("a", 2), "a:2");
    }
}
