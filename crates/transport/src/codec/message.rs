//! Frames of the message stream, also in front of a database on `/raft/snapshot`: eight bytes of
//! big-endian length, then a protobuf message.

use api::raftpb::Message;
use prost::Message as _;

use super::{Error, Input, MESSAGE_BYTES_MAX, Output};

/// Appends the frame of `message`.
pub fn encode_message(message: &Message, out: &mut Output) {
    let size = message.encoded_len();
    out.put_u64(size as u64);
    message.encode_raw(out.reserve(size));
}

/// Takes frames apart.
#[derive(Debug)]
pub struct MessageDecoder {
    limit: u64,
    /// The size of the frame whose length has been read.
    size: Option<usize>,
}

impl Default for MessageDecoder {
    fn default() -> MessageDecoder {
        MessageDecoder::with_limit(MESSAGE_BYTES_MAX)
    }
}

impl MessageDecoder {
    /// A decoder that refuses frames above `limit` bytes.
    pub fn with_limit(limit: u64) -> MessageDecoder {
        MessageDecoder { limit, size: None }
    }

    /// The next message, or `None` until more bytes come. After an error the stream is lost.
    pub fn decode(&mut self, input: &mut Input) -> Result<Option<Message>, Error> {
        let size = match self.size {
            Some(size) => size,
            None => {
                let Some(size) = input.take_u64() else { return Ok(None) };
                frame_size(size, self.limit)?
            }
        };
        self.size = Some(size);
        let Some(bytes) = input.take(size) else { return Ok(None) };
        self.size = None;
        Ok(Some(Message::decode(bytes)?))
    }
}

/// A claimed length as a size, refused above the limit.
pub(super) fn frame_size(claimed: u64, limit: u64) -> Result<usize, Error> {
    if claimed > limit {
        return Err(Error::LimitExceeded);
    }
    usize::try_from(claimed).map_err(|_| Error::LimitExceeded)
}
