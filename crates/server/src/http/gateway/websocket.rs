//! A gateway call over a WebSocket: each message is one JSON request, each answer one message, for
//! browsers that cannot read while they write (spec http.md section 2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Frame, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};
use tonic::{Status, body::Body};

use super::{Gateway, JSON_FACTOR};
use crate::http::{body::Incoming, plain::go_error};

/// What the protocol appends to a client's key.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a header has this word in its list.
fn lists(headers: &HeaderMap, name: header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    lists(headers, header::CONNECTION, "upgrade") && lists(headers, header::UPGRADE, "websocket")
}

fn refusal(status: StatusCode) -> Response<Body> {
    let mut response = go_error(status, status.canonical_reason().unwrap_or_default());
    let version = HeaderValue::from_static("13");
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, version);
    response
}

/// Agrees to a WebSocket, and serves it once the client has it.
pub(super) fn accept(gateway: &Gateway, mut request: Request<Incoming>) -> Response<Body> {
    if request.method() != Method::GET {
        return refusal(StatusCode::METHOD_NOT_ALLOWED);
    }
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let whole = STANDARD.decode(key).is_ok_and(|key| key.len() == 16);
    if !whole || !lists(headers, header::SEC_WEBSOCKET_VERSION, "13") {
        return refusal(StatusCode::BAD_REQUEST);
    }
    let answer = accept_value(key);
    let protocol = headers.get(header::SEC_WEBSOCKET_PROTOCOL).cloned();
    let forwarded = forwarded(headers);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(serve(gateway.clone(), upgrade, request.uri().clone(), forwarded));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, answer);
    if protocol.is_some_and(|protocol| protocol.as_bytes().starts_with(b"Bearer")) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The proof that a key was understood.
fn accept_value(key: &[u8]) -> HeaderValue {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(key);
    digest.update(KEY_SUFFIX.as_bytes());
    let text = STANDARD.encode(digest.finish());
    HeaderValue::try_from(text).expect("base64 is a header value")
}

/// The headers of the call: the token, from the protocol's name or a cookie, and where a script
/// comes from.
fn forwarded(request: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [header::ORIGIN, header::REFERER] {
        if let Some(value) = request.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let text = |name| request.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let of_protocol = text(header::SEC_WEBSOCKET_PROTOCOL)
        .and_then(|protocol| protocol.split_once("Bearer,"))
        .map(|(_, token)| token.trim_matches(' '));
    let cookies = text(header::COOKIE).unwrap_or_default();
    let of_cookie = cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix("token="));
    if let Some(token) = of_cookie.or(of_protocol)
        && let Ok(value) = HeaderValue::try_from(format!("Bearer {token}"))
    {
        headers.insert(header::AUTHORIZATION, value);
    }
    headers
}

/// Serves a WebSocket until its call or its client ends.
async fn serve(gateway: Gateway, upgrade: OnUpgrade, uri: http::Uri, headers: HeaderMap) {
    let Ok(connection) = upgrade.await else { return };
    let limit = gateway.handle.limits.grpc_bytes_max.saturating_mul(JSON_FACTOR);
    let limits =
        WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    let io = TokioIo::new(connection);
    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
    let (mut sink, mut source) = socket.split();
    let (requests, body) = mpsc::channel::<Bytes>(1);
    let read = async move {
        while let Some(Ok(message)) = source.next().await {
            let data = match message {
                Message::Text(text) => Bytes::from(text),
                Message::Binary(data) => data,
                Message::Close(_) => return,
                _ => continue,
            };
            let sent = requests.send(data).await.is_ok()
                && requests.send(Bytes::from_static(b"\n")).await.is_ok();
            // The call wants no more; the client still may go.
            if !sent {
                continue;
            }
        }
    };
    let body = ReceiverStream::new(body).map(|data| Ok::<_, Status>(Frame::data(data)));
    let mut request = Request::new(Body::new(StreamBody::new(body)));
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri);
    *request.headers_mut() = headers;
    let answer = async {
        let mut body = gateway.answer(request).await.into_body();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            for line in String::from_utf8_lossy(&data).lines().filter(|line| !line.is_empty()) {
                if sink.send(Message::text(line)).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = answer => {}
        () = read => {}
        () = gateway.handle.progress.wait_stopping() => {}
    }
    let _gone = sink.close().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_as_the_protocol_says() {
        // The example of RFC 6455, section 1.3.
        assert_eq!(accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_token_comes_in_the_protocol_or_in_a_cookie() {
        let token = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let found = forwarded(&headers);
            found.get("authorization").map(|value| value.to_str().unwrap().to_owned())
        };
        let expected = Some("Bearer t.1".to_owned());
        assert_eq!(token("sec-websocket-protocol", "Bearer, t.1"), expected);
        assert_eq!(token("sec-websocket-protocol", "Bearer,t.1"), expected);
        assert_eq!(token("cookie", "a=b; token=t.1"), expected);
        assert_eq!(token("sec-websocket-protocol", "other"), None);
    }
}
