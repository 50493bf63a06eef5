//! Calls that are passed on as they come: the bytes of one message to the cluster, the bytes of its
//! answers back, status and all. For every service but KV, Watch and Lease.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use client::client::Client;
use http::{HeaderMap, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt as _, Full};
use tonic::{Status, body::Body};

/// The largest message that a client may send, as etcd's gRPC library has it.
pub(crate) const REQUEST_MAX: usize = 4 << 20;
/// The bytes before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// What of a call's headers reaches the cluster.
const HEADERS: [&str; 9] = [
    "content-type",
    "te",
    "grpc-timeout",
    "grpc-encoding",
    "grpc-accept-encoding",
    "user-agent",
    "client-api-version",
    "hasleader",
    "token",
];

/// Limits of messages to and from the cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) send_max: usize,
    pub(crate) receive_max: usize,
}

/// Makes a call of a client a call of the cluster.
pub(crate) async fn forward(
    client: &Client,
    limits: Limits,
    is_stream: bool,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let message = read_message(body).await?;
    let size = message.len().saturating_sub(PREFIX);
    if size > limits.send_max {
        let max = limits.send_max;
        let text = format!("trying to send message larger than max ({size} vs. {max})");
        return Err(Status::resource_exhausted(text));
    }
    let mut request = Request::new(Body::new(Full::new(message)));
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = Uri::from(
        parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
    );
    for name in HEADERS {
        for value in parts.headers.get_all(name) {
            request.headers_mut().append(name, value.clone());
        }
    }
    let response = client.forward(request).await?;
    if is_stream {
        return Ok(response.map(Body::new));
    }
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers: Option<HeaderMap> = collected.trailers().cloned();
    let answer = collected.to_bytes();
    let (size, max) = (answer.len().saturating_sub(PREFIX), limits.receive_max);
    if size > max {
        let text = format!("grpc: received message larger than max ({size} vs. {max})");
        return Err(Status::resource_exhausted(text));
    }
    let mut response = Response::from_parts(parts, Body::empty());
    response.headers_mut().remove(header::CONTENT_LENGTH);
    // A failure may be all headers; it must stay so.
    if !answer.is_empty() || trailers.is_some() {
        let body = Full::new(answer).with_trailers(async move { trailers.map(Ok) });
        *response.body_mut() = Body::new(body);
    }
    Ok(response)
}

/// The one message of a call, with the bytes before it.
async fn read_message(mut body: Body) -> Result<Bytes, Status> {
    let (mut pieces, mut total) = (VecDeque::<Bytes>::new(), 0);
    let mut prefix = BytesMut::with_capacity(PREFIX);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if prefix.len() < PREFIX {
            prefix.extend_from_slice(&data[..data.len().min(PREFIX - prefix.len())]);
            if prefix.len() == PREFIX {
                let size = (&prefix[1..]).get_u32() as usize;
                if size > REQUEST_MAX {
                    return Err(too_large(size));
                }
            }
        }
        total += data.len();
        if total > PREFIX + REQUEST_MAX {
            return Err(too_large(total - PREFIX));
        }
        pieces.push_back(data);
    }
    let mut whole = BytesMut::with_capacity(total);
    pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
    Ok(whole.freeze())
}

fn too_large(size: usize) -> Status {
    let text = format!("grpc: received message larger than max ({size} vs. {REQUEST_MAX})");
    Status::resource_exhausted(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(size: u32, bytes: usize) -> Body {
        let mut whole = vec![0];
        whole.extend_from_slice(&size.to_be_bytes());
        whole.resize(PREFIX + bytes, 7);
        Body::new(Full::new(Bytes::from(whole)))
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_by_what_it_says_and_by_what_it_is() {
        assert_eq!(read_message(message(9, 9)).await.unwrap().len(), 14);
        let said = read_message(message(REQUEST_MAX as u32 + 1, 0)).await.unwrap_err();
        assert_eq!(said.message(), "grpc: received message larger than max (4194305 vs. 4194304)");
        assert!(read_message(message(9, REQUEST_MAX + 1)).await.is_err());
        assert_eq!(read_message(Body::empty()).await.unwrap().len(), 0);
    }
}
