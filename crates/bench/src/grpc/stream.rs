//! A call whose messages flow both ways: watch and lease keep-alive.

use crate::grpc::{
    channel::{Channel, body_of},
    frame::Decoder,
    method::Method,
    status::{self, Failure},
};
use bytes::Bytes;
use h2::{RecvStream, SendStream, client::ResponseFuture};

/// The sending side. Dropping it before [`Sender::close`] resets the stream.
#[derive(Debug)]
pub(crate) struct Sender(SendStream<Bytes>);

impl Sender {
    /// Sends one framed message.
    pub(crate) fn send(&mut self, framed: Bytes) -> Result<(), Failure> {
        Ok(self.0.send_data(framed, false)?)
    }

    /// Says that no more messages will come.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        Ok(self.0.send_data(Bytes::new(), true)?)
    }
}

/// The receiving side.
#[derive(Debug)]
pub(crate) struct Receiver {
    state: State,
    decoder: Decoder,
}

#[derive(Debug)]
enum State {
    /// etcd sends its head with the first message, which may need one from us first.
    Head(ResponseFuture),
    Body(RecvStream),
    Ended,
}

/// Opens a stream of `method`.
pub(crate) async fn open(
    channel: &mut Channel,
    method: Method,
) -> Result<(Sender, Receiver), Failure> {
    let (sender, response) = channel.open(method).await?;
    let receiver = Receiver { state: State::Head(response), decoder: Decoder::default() };
    Ok((Sender(sender), receiver))
}

impl Receiver {
    /// The next message; `None` when the server ended the stream with status OK.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(message) = self.decoder.next()? {
                return Ok(Some(message));
            }
            match &mut self.state {
                State::Head(response) => {
                    let response = response.await?;
                    self.state = State::Body(body_of(response)?);
                }
                State::Body(body) => match body.data().await {
                    Some(chunk) => {
                        let chunk = chunk?;
                        body.flow_control().release_capacity(chunk.len())?;
                        self.decoder.push(chunk);
                    }
                    None => {
                        let trailers = body.trailers().await?;
                        self.state = State::Ended;
                        self.decoder.finish()?;
                        trailers.as_ref().and_then(status::of_headers).unwrap_or(Ok(()))?;
                    }
                },
                State::Ended => return Ok(None),
            }
        }
    }
}
