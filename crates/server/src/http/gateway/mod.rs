//! The JSON gateway: `POST /v3/...` with JSON calls the gRPC services of the same member, without a
//! connection in between (spec http.md section 3).
//!
//! Invariants: a call through the gateway has no certificate, only what its headers say; a body is
//! held in memory up to [`JSON_FACTOR`] times the largest message.

mod headers;
mod messages;
mod routes;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method as Verb, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use protojson::Method;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Status, body::Body};

use super::{Grpc, body::Incoming};
use crate::{handle::Handle, slow::Ends};
use messages::{Answers, Feeding};

/// How much longer JSON may be than the message that it says: base64 whose every character is
/// escaped.
const JSON_FACTOR: usize = 8;

/// Answers the paths below `/v3/`.
#[derive(Clone)]
pub(super) struct Gateway {
    handle: Handle,
    grpc: Arc<Grpc>,
}

impl Gateway {
    pub(super) fn new(handle: Handle, grpc: Arc<Grpc>) -> Gateway {
        Gateway { handle, grpc }
    }

    /// Answers a request of the network, which may ask for a WebSocket.
    pub(super) async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        if websocket::is_asked_for(&request) {
            return websocket::accept(self, request);
        }
        self.answer(request.map(Body::new)).await
    }

    /// Answers a request in HTTP's terms.
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let Some(method) = routes::find(request.uri().path()) else {
            return failure(&Status::not_found("Not Found"));
        };
        if request.method() != Verb::POST {
            return failure(&Status::unimplemented("Method Not Allowed"));
        }
        match self.call(method, request).await {
            Ok(response) => response,
            Err(status) => failure(&status),
        }
    }

    async fn call(
        &self,
        method: &'static Method,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let metadata = headers::metadata(&parts.headers)?;
        let limit = self.handle.limits.grpc_bytes_max.saturating_mul(JSON_FACTOR);
        let (body, feeding) = if method.client_streams {
            let (body, feeding) = messages::stream(method, body, limit);
            (body, Some(feeding))
        } else {
            (messages::single(method, body, limit).await?, None)
        };
        let mut call = Request::post(method.path).body(body).expect("paths are URIs");
        *call.headers_mut() = metadata;
        let mut answers = Answers::new(self.grpc.call(call, Ends::default()).await);
        if method.server_streams {
            return Ok(self.lines(method, answers, feeding).await);
        }
        let message = answers.next().await?;
        let message = message.ok_or_else(|| Status::internal("the answer has no message"))?;
        let json = json(method, &message)?;
        // The status comes last: a call may fail after its message.
        answers.next().await?;
        let body = Full::new(Bytes::from(json));
        let te = parts.headers.get(header::TE).and_then(|te| te.to_str().ok()).unwrap_or_default();
        if te.to_ascii_lowercase().contains("trailers") {
            // For such clients etcd sends chunks, though there is nothing to put behind them.
            return Ok(success(Body::new(StreamBody::new(
                body.into_data_stream()
                    .map(|data| data.map(Frame::data).map_err(|never| match never {})),
            ))));
        }
        Ok(success(Body::new(body)))
    }

    /// A stream of answers, one a line. How it began is known with the first of them.
    async fn lines(
        &self,
        method: &'static Method,
        mut answers: Answers,
        feeding: Option<Feeding>,
    ) -> Response<Body> {
        let first = match next_line(method, &mut answers).await {
            Err(status) => {
                let mut response = failure(&status);
                *response.body_mut() = Body::new(Full::new(Bytes::from(error_line(&status))));
                return response;
            }
            Ok(None) => {
                // Of unknown length, as etcd has it: an empty stream.
                let nothing = tokio_stream::empty::<Result<Frame<Bytes>, Status>>();
                return Response::new(Body::new(StreamBody::new(nothing)));
            }
            Ok(Some(line)) => line,
        };
        let (lines, body) = mpsc::channel::<String>(1);
        tokio::spawn(async move {
            let _feeding = feeding;
            let mut line = first;
            while lines.send(line).await.is_ok() {
                let next = tokio::select! {
                    next = next_line(method, &mut answers) => next,
                    () = lines.closed() => return,
                };
                line = match next {
                    Ok(Some(line)) => line,
                    Ok(None) => return,
                    Err(status) => {
                        let _gone = lines.send(error_line(&status)).await;
                        return;
                    }
                };
            }
        });
        let body =
            ReceiverStream::new(body).map(|line| Ok::<_, Status>(Frame::data(Bytes::from(line))));
        success(Body::new(StreamBody::new(body)))
    }
}

async fn next_line(method: &Method, answers: &mut Answers) -> Result<Option<String>, Status> {
    let Some(message) = answers.next().await? else { return Ok(None) };
    Ok(Some(format!("{{\"result\":{}}}\n", json(method, &message)?)))
}

fn json(method: &Method, message: &[u8]) -> Result<String, Status> {
    let json = protojson::encode(method.output, message);
    json.map_err(|error| Status::internal(error.to_string()))
}

fn success(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let kind = HeaderValue::from_static("application/grpc");
    headers.insert("grpc-metadata-content-type", kind);
    response
}

/// An error as an answer of its own.
fn failure(status: &Status) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(error_json(status)))));
    *response.status_mut() = http_status(status.code());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status.code() == Code::Unauthenticated
        && let Ok(text) = HeaderValue::from_str(status.message())
    {
        headers.insert(header::WWW_AUTHENTICATE, text);
    }
    response
}

fn error_json(status: &Status) -> String {
    let mut json = format!("{{\"code\":{}", status.code() as i32);
    if !status.message().is_empty() {
        json.push_str(",\"message\":");
        protojson::write_string(status.message(), &mut json);
    }
    json.push('}');
    json
}

fn error_line(status: &Status) -> String {
    format!("{{\"error\":{}}}\n", error_json(status))
}

/// The HTTP status of a gRPC code (spec errors.md section 4).
fn http_status(code: Code) -> StatusCode {
    let number = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::DeadlineExceeded => 504,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::PermissionDenied => 403,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::Unauthenticated => 401,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
    };
    StatusCode::from_u16(number).expect("three digits")
}
