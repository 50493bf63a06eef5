//! One HTTP request over a connection of its own, failures in Go's words.

use std::{cell::OnceCell, path::Path, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request,
    body::{Bytes, Incoming},
    header::{HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::{error::Error, url::Url};

/// More than any answer of a member has.
const BODY_BYTES_MAX: usize = 1 << 30;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    /// Where.
    pub(super) url: Url,
    /// The `Host` header, when it is not the URL's.
    pub(super) host: String,
    /// `Content-Type`, or empty.
    pub(super) content_type: &'static str,
    /// The value of `Authorization`, or empty.
    pub(super) authorization: String,
    pub(super) body: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Bounds on one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// From the beginning until the head of the answer.
    pub(super) header: Option<Duration>,
    /// When all must be over.
    pub(super) deadline: Option<Instant>,
}

/// Sends requests.
pub(super) struct Transport {
    runtime: tokio::runtime::Runtime,
    options: tls::ClientOptions,
    plain: tls::Connector,
    secure: OnceCell<Result<tls::Connector, String>>,
}

impl Transport {
    /// Reads the files of `options`, if there are any.
    pub(super) fn new(options: tls::ClientOptions) -> Result<Transport, String> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let plain = tls::Connector::plain(&options);
        let transport = Transport { runtime, options, plain, secure: OnceCell::new() };
        if transport.options.trusted_ca_file.is_some() || transport.options.key_pair.is_some() {
            transport.secure().map_err(|error| error.to_string())?;
        }
        Ok(transport)
    }

    /// Runs `task` beside everything else.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    fn secure(&self) -> Result<&tls::Connector, Error> {
        let made = self.secure.get_or_init(|| {
            tls::Connector::new(self.options.clone()).map_err(|error| error.to_string())
        });
        made.as_ref().map_err(Error::other)
    }

    /// Sends a request and reads the whole answer.
    pub(super) fn exchange(&self, ask: &Ask, bounds: Bounds) -> Result<Answer, Error> {
        let connector = match ask.url.scheme.as_str() {
            "https" | "unixs" => self.secure()?,
            _ => &self.plain,
        };
        self.runtime.block_on(exchange(connector, ask, bounds))
    }
}

async fn exchange(connector: &tls::Connector, ask: &Ask, bounds: Bounds) -> Result<Answer, Error> {
    let far = Instant::now() + Duration::from_secs(365 * 24 * 3600);
    let deadline = bounds.deadline.unwrap_or(far);
    let until_head = bounds.header.map_or(far, |time| Instant::now() + time).min(deadline);
    let response = match timeout_at(until_head, send(connector, ask)).await {
        // The timer is coarser than some bounds.
        Ok(response) if Instant::now() < until_head => response?,
        _ if until_head == deadline => return Err(Error::Deadline),
        _ => return Err(Error::HeaderTimeout),
    };
    let (head, body) = response.into_parts();
    let body = timeout_at(deadline, Limited::new(body, BODY_BYTES_MAX).collect());
    let body = body.await.map_err(|_| Error::Deadline)?;
    let body = body.map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(_) => Error::other("unexpected EOF"),
        Err(error) => Error::other(error.to_string()),
    })?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
}

/// Opens a connection and sends the request on it; the answer's head.
async fn send(connector: &tls::Connector, ask: &Ask) -> Result<hyper::Response<Incoming>, Error> {
    let stream = connect(connector, &ask.url).await?;
    let failed = |error: hyper::Error| Error::other(hyper_text(&error));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    tokio::spawn(async move {
        // Its end is told to the one who waits for the answer.
        let _ = connection.await;
    });
    let mut request = Request::builder().method(ask.method).uri(ask.url.request_target());
    request = request.header(HOST, &ask.host).header(USER_AGENT, "etcdctl");
    if !ask.content_type.is_empty() {
        request = request.header("Content-Type", ask.content_type);
    }
    if !ask.authorization.is_empty() {
        request = request.header("Authorization", &ask.authorization);
    }
    let body = ask.body.clone().unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| Error::other(error.to_string()))?;
    sender.send_request(request).await.map_err(failed)
}

async fn connect(connector: &tls::Connector, url: &Url) -> Result<tls::Stream, Error> {
    let (scheme, default_port) = match url.scheme.as_str() {
        "http" => (tls::Scheme::Plain, 80),
        "https" => (tls::Scheme::Tls, 443),
        "unix" | "unixs" => {
            let scheme = if url.scheme == "unix" { tls::Scheme::Plain } else { tls::Scheme::Tls };
            let stream = connector.connect_unix(scheme, Path::new(&url.host)).await;
            return stream.map_err(|error| dial_error(&error, &url.host));
        }
        other => {
            let scheme = crate::gotext::quote::quote(other);
            return Err(Error::other(format!("unsupported protocol scheme {scheme}")));
        }
    };
    if url.host.is_empty() {
        return Err(Error::other("http: no Host in request URL"));
    }
    let (host, port) = match url.host.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.ends_with(']') => {
            let wrong = || Error::other(format!("dial tcp: address {port}: invalid port"));
            (host, if port.is_empty() { default_port } else { port.parse().map_err(|_| wrong())? })
        }
        _ => (url.host.as_str(), default_port),
    };
    let stream = connector.connect(scheme, host, port).await;
    stream.map_err(|error| dial_error(&error, host))
}

fn dial_error(error: &tls::Error, host: &str) -> Error {
    match error {
        tls::Error::Dial { reason, .. } if reason.starts_with("lookup ") => {
            Error::Connection(format!("dial tcp: lookup {host}: no such host"))
        }
        tls::Error::Dial { .. } | tls::Error::DialTimeout(_) | tls::Error::Io(_) => {
            Error::Connection(error.to_string())
        }
        other => Error::other(other.to_string()),
    }
}

/// What Go says when no answer comes.
fn hyper_text(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return format!("net/http: HTTP/1.x transport connection broken: {error}");
    }
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
