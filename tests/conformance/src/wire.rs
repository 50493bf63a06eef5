//! gRPC calls below the generated stubs: any bytes as the message, any method as the target.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

/// Sends `body` as the single message of a unary call to `path` (`/package.Service/Method`).
pub async fn unary(channel: Channel, path: &str, body: Bytes) -> Result<Bytes, Status> {
    unary_with(channel, path, Request::new(body)).await
}

/// The same for a body with metadata.
pub async fn unary_with(
    channel: Channel,
    path: &str,
    request: Request<Bytes>,
) -> Result<Bytes, Status> {
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(path).expect("the caller gives a path");
    let answer = grpc.unary(request, path, Plain).await?;
    Ok(answer.into_inner())
}

/// Sends `bodies` as the messages of a streaming call and answers the first message received, or
/// `None` when the stream ends without one.
pub async fn streaming(
    channel: Channel,
    path: &str,
    bodies: Vec<Bytes>,
) -> Result<Option<Bytes>, Status> {
    streaming_with(channel, path, Request::new(bodies)).await
}

/// The same for bodies with metadata.
pub async fn streaming_with(
    channel: Channel,
    path: &str,
    request: Request<Vec<Bytes>>,
) -> Result<Option<Bytes>, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(path).expect("the caller gives a path");
    let messages = request.map(tokio_stream::iter);
    grpc.streaming(messages, path, Plain).await?.into_inner().message().await
}

/// A codec that leaves messages as they are.
#[derive(Clone, Copy, Debug, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Plain;
    type Decoder = Plain;

    fn encoder(&mut self) -> Plain {
        Plain
    }

    fn decoder(&mut self) -> Plain {
        Plain
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
