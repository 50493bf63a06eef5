//! Frames of the peer protocol as pure code: bytes in, raft messages out, and back (spec http.md
//! section 4.3).
//!
//! Decoders are fed chunks as they arrive and keep what is unfinished; what they hold is bounded by
//! the bytes that really came, never by a length that a peer only claims. Encoders hand large
//! payloads on without copying them.

mod input;
mod message;
mod msgappv2;
mod output;
#[cfg(test)]
mod tests;

use api::raftpb::{Message, MessageType};

pub use input::Input;
pub use message::{MessageDecoder, encode_message};
pub use msgappv2::{MsgAppV2Decoder, MsgAppV2Encoder};
pub use output::Output;

/// The largest message that a stream carries.
pub const MESSAGE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// The largest message in front of a database on `/raft/snapshot`.
pub const SNAPSHOT_MESSAGE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Why bytes of a peer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A frame of a kind that msgappv2 does not have.
    #[error("failed to parse type {0} in msgappv2 stream")]
    UnknownType(u8),
    /// A frame larger than the limit.
    #[error("rafthttp: error limit exceeded")]
    LimitExceeded,
    /// The bytes of a frame are not the protobuf message they should be.
    #[error("failed to unmarshal Raft message: {0}")]
    Malformed(#[from] prost::DecodeError),
}

/// The message that keeps an idle stream alive: raft never sends one without a sender.
pub fn link_heartbeat() -> Message {
    Message { r#type: MessageType::MsgHeartbeat as i32, ..Message::default() }
}

/// True for a message that means nothing but "the link is alive".
pub fn is_link_heartbeat(message: &Message) -> bool {
    message.r#type == MessageType::MsgHeartbeat as i32 && message.from == 0 && message.to == 0
}
