//! The headers by which members know each other (spec http.md section 4.1).

use api::ids::{ClusterId, MemberId};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    config::Config,
    version::{self, Version, Versions},
};

/// The cluster, in requests and answers.
pub const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
/// The member that sends a request.
pub const SERVER_FROM: HeaderName = HeaderName::from_static("x-server-from");
/// The version of who sends.
pub const SERVER_VERSION: HeaderName = HeaderName::from_static("x-server-version");
/// The oldest cluster version of who sends.
pub const MIN_CLUSTER_VERSION: HeaderName = HeaderName::from_static("x-min-cluster-version");
/// The member that a stream is asked of.
pub const RAFT_TO: HeaderName = HeaderName::from_static("x-raft-to");
/// The peer URLs of who sends.
pub const PEER_URLS: HeaderName = HeaderName::from_static("x-peerurls");

/// A value made of hex digits, versions or checked URLs.
fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

/// An id in hex.
pub(crate) fn id_value(id: u64) -> HeaderValue {
    value(&format!("{id:x}")).expect("hex digits are a header value")
}

/// What every raft request carries.
pub(crate) fn of_request(config: &Config, headers: &mut HeaderMap) {
    headers.insert(SERVER_FROM, id_value(config.member.0));
    headers.insert(CLUSTER_ID, id_value(config.cluster.0));
    let Versions { server, min_cluster } = &config.versions;
    let urls = config.peer_urls.join(",");
    let texts = [
        (SERVER_VERSION, server.as_str()),
        (MIN_CLUSTER_VERSION, min_cluster.as_str()),
        (PEER_URLS, &urls),
    ];
    for (name, text) in texts {
        if let Some(value) = value(text).filter(|_| !text.is_empty()) {
            headers.insert(name, value);
        }
    }
}

/// A header as text, empty when it is absent or not text.
pub(crate) fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// A member id in hex, as Go reads it.
pub(crate) fn parse_id(text: &str) -> Option<MemberId> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(MemberId)
}

/// The version in a header; [`version::UNSAID`] without one, `None` when it is no version.
pub(crate) fn version(headers: &HeaderMap, name: &HeaderName) -> Option<Version> {
    let text = text(headers, name);
    Version::parse(if text.is_empty() { version::UNSAID } else { &text })
}

/// The peer URLs that a request names, with who sent it.
pub(crate) fn sender(headers: &HeaderMap) -> Option<(MemberId, Vec<String>)> {
    let from = parse_id(&text(headers, &SERVER_FROM))?;
    Some((from, peer_urls(headers)?))
}

/// The peer URLs of who sends a request.
pub(crate) fn peer_urls(headers: &HeaderMap) -> Option<Vec<String>> {
    let urls = text(headers, &PEER_URLS);
    (!urls.is_empty()).then(|| urls.split(',').map(str::to_owned).collect())
}

/// True when a request names this cluster. The texts are compared, as etcd does.
pub(crate) fn names_cluster(headers: &HeaderMap, cluster: ClusterId) -> bool {
    text(headers, &CLUSTER_ID) == format!("{cluster}")
}
