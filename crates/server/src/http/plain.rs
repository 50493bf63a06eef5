//! Plain HTTP paths: health, version, metrics (spec http.md section 1).

use std::io::Write as _;

use api::version;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use super::{Surface, body::Incoming, health};
use crate::{cluster_version::storage, handle::Handle};

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a plain HTTP request.
pub(crate) async fn route(
    handle: &Handle,
    surface: Surface,
    request: Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path();
    if let Some(response) = health::route(handle, &request).await {
        return response;
    }
    match path {
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
            let text = handle.metrics.expose(handle);
            if takes_gzip(request.headers()) {
                let mut response = reply(StatusCode::OK, kind, gzipped(&text));
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
                return response;
            }
            reply(StatusCode::OK, kind, text)
        }
        "/version" if surface != Surface::Metrics => {
            if request.method() != Method::GET {
                return method_not_allowed("GET");
            }
            reply(StatusCode::OK, "application/json", version_json(handle))
        }
        _ => go_error(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// Whether a client takes gzip; `q=0` says that it does not.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).into_iter();
    let items = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    items.map(str::trim).any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok());
        coding.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("a vector grows");
    encoder.finish().expect("a vector grows")
}

/// The versions of server, cluster and storage.
pub(crate) fn version_json(handle: &Handle) -> String {
    let cluster =
        handle.shared.membership.read().cluster_version().map(|version| version.to_string());
    let cluster = cluster.as_deref().unwrap_or("not_decided");
    let storage = storage::version(handle).map(|version| version.to_string());
    let storage = storage.as_deref().unwrap_or("unknown");
    let server = version::SERVER;
    format!(r#"{{"etcdserver":"{server}","etcdcluster":"{cluster}","storage":"{storage}"}}"#)
}

/// A response with a body in hand.
pub(crate) fn reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// An error in the form of Go's `http.Error`, which etcd uses.
pub(crate) fn go_error(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = reply(status, TEXT, format!("{text}\n"));
    let no_sniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, no_sniff);
    response
}

/// 405 with the methods that would have been allowed.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = go_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
