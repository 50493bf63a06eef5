//! Peer URLs and which of a peer's URLs is tried (etcd rejects the same ones, in the same words).

use std::{fmt, str::FromStr, sync::Arc};

use parking_lot::Mutex;

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// TCP.
    Http,
    /// TLS over TCP.
    Https,
    /// A Unix socket.
    Unix,
    /// TLS over a Unix socket.
    Unixs,
}

impl Scheme {
    /// True when the connection is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Unixs)
    }

    /// True for a Unix socket.
    pub fn is_unix(self) -> bool {
        matches!(self, Scheme::Unix | Scheme::Unixs)
    }
}

/// One URL of a peer: `scheme://host:port`, or `unix://path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerUrl {
    text: String,
    scheme: Scheme,
    /// `host:port`, or the path of a Unix socket.
    authority: String,
}

impl PeerUrl {
    /// How the peer is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `host:port` as written, also what goes into `Host`; the path of a Unix socket.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The host without brackets; the path of a Unix socket.
    pub fn host(&self) -> &str {
        if self.scheme.is_unix() {
            return &self.authority;
        }
        let host = self.authority.rsplit_once(':').map_or("", |(host, _)| host);
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        if self.scheme.is_unix() {
            return 0;
        }
        self.authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(0)
    }

    /// The URL as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PeerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a text is not a peer URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// The list is empty.
    #[error("no valid URLs given")]
    None,
    /// The scheme is none of the four.
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    /// There is no port.
    #[error("URL address does not have the form \"host:port\": {0}")]
    Port(String),
    /// There is something after the port.
    #[error("URL must not contain a path: {0}")]
    Path(String),
}

impl FromStr for PeerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<PeerUrl, UrlError> {
        let text = text.trim();
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        if !scheme.is_unix() {
            if rest.contains(['/', '?', '#']) {
                return Err(UrlError::Path(text.to_owned()));
            }
            check_authority(rest).ok_or_else(|| UrlError::Port(text.to_owned()))?;
        }
        Ok(PeerUrl { text: text.to_owned(), scheme, authority: rest.to_owned() })
    }
}

/// `host:port` with a port that is a number, IPv6 in brackets, and nothing that could not stand in
/// a `Host` header.
fn check_authority(authority: &str) -> Option<()> {
    let (host, port) = authority.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.contains([':', '[', ']']);
    let clean = host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'@');
    let numeric = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    ((bracketed || plain) && clean && numeric).then_some(())
}

/// Reads a list of URLs, in the order of their text as etcd keeps them.
pub fn parse_urls<S: AsRef<str>>(texts: &[S]) -> Result<Vec<PeerUrl>, UrlError> {
    if texts.is_empty() {
        return Err(UrlError::None);
    }
    let mut urls =
        texts.iter().map(|text| text.as_ref().parse()).collect::<Result<Vec<PeerUrl>, _>>()?;
    urls.sort();
    Ok(urls)
}

/// Picks the URL of a peer to use: the same one until it fails.
#[derive(Debug)]
pub(crate) struct Picker {
    state: Mutex<Picked>,
}

#[derive(Debug)]
struct Picked {
    urls: Vec<Arc<PeerUrl>>,
    at: usize,
}

impl Picker {
    /// A picker over at least one URL.
    pub(crate) fn new(urls: Vec<PeerUrl>) -> Picker {
        let picker = Picker { state: Mutex::new(Picked { urls: Vec::new(), at: 0 }) };
        picker.update(urls);
        picker
    }

    /// Replaces the URLs.
    pub(crate) fn update(&self, urls: Vec<PeerUrl>) {
        assert!(!urls.is_empty(), "a peer has at least one URL");
        let urls = urls.into_iter().map(Arc::new).collect();
        *self.state.lock() = Picked { urls, at: 0 };
    }

    /// The URL to use now.
    pub(crate) fn pick(&self) -> Arc<PeerUrl> {
        let state = self.state.lock();
        state.urls[state.at].clone()
    }

    /// Moves on to the next URL if `url` is still the one in use.
    pub(crate) fn unreachable(&self, url: &PeerUrl) {
        let mut state = self.state.lock();
        if *state.urls[state.at] == *url {
            state.at = (state.at + 1) % state.urls.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_etcd_reads_them() {
        let url: PeerUrl = " http://127.0.0.1:2380 ".parse().unwrap();
        assert_eq!(
            (url.host(), url.port(), url.as_str()),
            ("127.0.0.1", 2380, "http://127.0.0.1:2380")
        );
        let url: PeerUrl = "https://[::1]:12".parse().unwrap();
        assert_eq!((url.host(), url.port(), url.scheme()), ("::1", 12, Scheme::Https));
        let url: PeerUrl = "unix://m1.sock:0".parse().unwrap();
        assert_eq!((url.host(), url.port()), ("m1.sock:0", 0));

        let fails = |text: &str| text.parse::<PeerUrl>().unwrap_err().to_string();
        assert_eq!(fails("ftp://a:1"), "URL scheme must be http, https, unix, or unixs: ftp://a:1");
        assert_eq!(fails("a:1"), "URL scheme must be http, https, unix, or unixs: a:1");
        assert_eq!(fails("http://a"), "URL address does not have the form \"host:port\": http://a");
        assert_eq!(fails("http://a:1/"), "URL must not contain a path: http://a:1/");
        for bad in ["http://::1:1", "http://a:b", "http://a b:1", "http://a:99999", "http://u@a:1"]
        {
            assert!(fails(bad).starts_with("URL address"), "{bad}");
        }
        assert_eq!(parse_urls::<&str>(&[]), Err(UrlError::None));
    }

    #[test]
    fn the_picker_moves_on_when_the_url_in_use_fails() {
        let urls = parse_urls(&["http://b:2", "http://a:1"]).unwrap();
        let picker = Picker::new(urls.clone());
        assert_eq!(*picker.pick(), urls[0]);
        assert_eq!(picker.pick().as_str(), "http://a:1");
        picker.unreachable(&urls[1]);
        assert_eq!(*picker.pick(), urls[0], "the other URL was not in use");
        picker.unreachable(&urls[0]);
        assert_eq!(*picker.pick(), urls[1]);
        picker.unreachable(&urls[1]);
        assert_eq!(*picker.pick(), urls[0]);
        picker.update(urls[1..].to_vec());
        picker.unreachable(&urls[1]);
        assert_eq!(*picker.pick(), urls[1], "the only URL stays");
    }
}
