//! The memory of a member, from its metrics page.

use client::endpoint::{Address, Endpoint as Parsed, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{exit::Failure, global::Spec};

/// The series to read.
const SERIES: &str = "process_resident_memory_bytes";
/// More than any member's metrics page has.
const MAX_PAGE: u64 = 64 << 20;

/// Where a member's metrics page is.
pub(super) struct Endpoint {
    authority: String,
    scheme: tls::Scheme,
    connector: tls::Connector,
}

impl Endpoint {
    /// The first endpoint of `spec`, asked over HTTP.
    pub(super) fn new(spec: &Spec) -> Result<Endpoint, Failure> {
        let parsed = Parsed::parse(spec.endpoints.first().map_or("", String::as_str));
        let Address::Tcp(authority) = parsed.address else {
            return Err(Failure::bad_args("the first endpoint has no metrics page"));
        };
        let (scheme, connector) = match parsed.security {
            Security::Required => (tls::Scheme::Tls, spec.secure.http_connector()?),
            _ => (tls::Scheme::Plain, tls::Connector::plain(&tls::ClientOptions::default())),
        };
        Ok(Endpoint { authority, scheme, connector })
    }
}

/// Bytes of memory that the member has resident, or why that is not known.
pub(super) async fn resident_memory(endpoint: &Endpoint) -> Result<f64, String> {
    let page = fetch(endpoint).await.map_err(|why| format!("fetch error: {why}"))?;
    let line = page.lines().find_map(|line| line.strip_prefix(SERIES));
    let value = line.map(str::trim).ok_or_else(|| format!("could not find: {SERIES}"))?;
    let bytes: f64 = value.parse().map_err(|error| format!("parse error: {error}"))?;
    if bytes > 0.0 { Ok(bytes) } else { Err(format!("could not find: {SERIES}")) }
}

/// The page. HTTP/1.0, so that its end is the end of the connection.
async fn fetch(endpoint: &Endpoint) -> Result<String, String> {
    let (host, port) = endpoint.authority.rsplit_once(':').ok_or("no port in the endpoint")?;
    let port = port.parse().map_err(|_| "no port in the endpoint")?;
    let connected = endpoint.connector.connect(endpoint.scheme, host, port).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", endpoint.authority);
    let failed = |error: std::io::Error| error.to_string();
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(MAX_PAGE).read_to_end(&mut answer).await.map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, page) = answer.split_once("\r\n\r\n").ok_or("not an HTTP response")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(page.to_owned()) } else { Err(format!("HTTP status {status}")) }
}
