//! What `--endpoints` may hold: `host:port`, `http://`, `https://`, `unix://` and `unixs://`.
//!
//! As etcd's clients read them: `unix:///a/b` is an absolute path, `unix://a:1` the file `a:1` of
//! the working directory; a path after a host is ignored.

use std::path::PathBuf;

/// Whether connections to an endpoint use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Always: `https`, `unixs`.
    Required,
    /// Never: `http`.
    Plain,
    /// When the client is configured for TLS: no scheme, `unix`.
    Optional,
}

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// One endpoint of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    raw: String,
    /// Where to connect.
    pub address: Address,
    /// `:authority` of requests; without its port, the name a certificate must have.
    pub authority: String,
    /// Whether to use TLS.
    pub security: Security,
}

impl Endpoint {
    /// Reads one endpoint. Every text is some endpoint; what cannot be dialled fails when it is.
    pub fn parse(raw: &str) -> Endpoint {
        for (scheme, security) in [("unix:", Security::Optional), ("unixs:", Security::Required)] {
            if let Some(rest) = raw.strip_prefix(scheme) {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                let name = path.rsplit('/').next().unwrap_or(path);
                let authority = if name.is_empty() { "localhost" } else { name };
                return Endpoint {
                    raw: raw.to_owned(),
                    address: Address::Unix(path.into()),
                    authority: authority.to_owned(),
                    security,
                };
            }
        }
        let (security, rest) = match raw.split_once("://") {
            Some(("https", rest)) => (Security::Required, rest),
            Some(("http", rest)) => (Security::Plain, rest),
            Some((_, rest)) => (Security::Optional, rest),
            None => (Security::Optional, raw),
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        Endpoint {
            raw: raw.to_owned(),
            address: Address::Tcp(host.to_owned()),
            authority: host.to_owned(),
            security,
        }
    }

    /// Reads a comma-separated list; blanks around an endpoint are dropped.
    pub fn parse_list(list: &str) -> Vec<Endpoint> {
        list.split(',').map(|raw| Endpoint::parse(raw.trim())).collect()
    }

    /// The endpoint as it was given.
    pub fn as_str(&self) -> &str {
        &self.raw
    }

    /// The name that a certificate of the endpoint must have: its host.
    pub fn server_name(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            // An IPv6 address without a port has colons, but stands in brackets.
            Some((host, port)) if !port.contains(']') => host,
            _ => &self.authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, address: Address, server_name: &str, security: Security) {
        let endpoint = Endpoint::parse(raw);
        assert_eq!(endpoint.address, address, "{raw}");
        assert_eq!(endpoint.server_name(), server_name, "{raw}");
        assert_eq!(endpoint.security, security, "{raw}");
        assert_eq!(endpoint.as_str(), raw);
    }

    #[test]
    fn schemes_decide_address_and_security() {
        let tcp = |text: &str| Address::Tcp(text.to_owned());
        check("127.0.0.1:2379", tcp("127.0.0.1:2379"), "127.0.0.1", Security::Optional);
        check("http://a.b:1/x?y", tcp("a.b:1"), "a.b", Security::Plain);
        check("https://[::1]:2379", tcp("[::1]:2379"), "::1", Security::Required);
        check("https://[::1]", tcp("[::1]"), "::1", Security::Required);
        check("https://host", tcp("host"), "host", Security::Required);
        check("unix:///tmp/s", Address::Unix("/tmp/s".into()), "s", Security::Optional);
        check("unix://local:12", Address::Unix("local:12".into()), "local", Security::Optional);
        check("unixs:dir/s:1", Address::Unix("dir/s:1".into()), "s", Security::Required);
    }

    #[test]
    fn a_list_is_separated_by_commas() {
        let list = Endpoint::parse_list("a:1, http://b:2");
        assert_eq!(list.iter().map(Endpoint::as_str).collect::<Vec<_>>(), ["a:1", "http://b:2"]);
    }
}
