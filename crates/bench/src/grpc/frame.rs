//! The framing of gRPC messages: one byte that says "compressed", four of length (big endian),
//! then the protobuf bytes. Source: the gRPC over HTTP/2 protocol description.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes before each message.
pub(crate) const HEADER_LEN: usize = 5;

/// An answer that is no sequence of plain gRPC messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The server compressed a message though it was never told that it may.
    Compressed(u8),
    /// The stream ended within a message.
    Truncated,
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compressed(flag) => write!(f, "message with compression flag {flag}"),
            Self::Truncated => f.write_str("stream ended within a message"),
        }
    }
}

/// Appends `message` with its header to `out`.
pub(crate) fn encode(message: &impl Message, out: &mut BytesMut) {
    let len = message.encoded_len();
    out.reserve(HEADER_LEN + len);
    out.put_u8(0);
    out.put_u32(u32::try_from(len).expect("a request of the generator stays below 4 GiB"));
    message.encode(out).expect("room was reserved");
}

/// Cuts a byte stream into messages. A message that lies within one chunk is not copied.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// The unread rest of the last chunk; empty while `joined` is in use.
    chunk: Bytes,
    /// Pieces of a message that spans chunks.
    joined: BytesMut,
}

impl Decoder {
    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if self.joined.is_empty() && self.chunk.is_empty() {
            self.chunk = chunk;
            return;
        }
        self.joined.extend_from_slice(&std::mem::take(&mut self.chunk));
        self.joined.extend_from_slice(&chunk);
    }

    /// The next whole message, `None` when more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let held: &[u8] = if self.joined.is_empty() { &self.chunk } else { &self.joined };
        let Some((flag, len)) = header(held) else { return Ok(None) };
        if flag != 0 {
            return Err(FrameError::Compressed(flag));
        }
        let total = HEADER_LEN + len;
        if held.len() < total {
            self.joined.reserve(total.saturating_sub(self.joined.len()));
            return Ok(None);
        }
        let framed = if self.joined.is_empty() {
            self.chunk.split_to(total)
        } else {
            self.joined.split_to(total).freeze()
        };
        Ok(Some(framed.slice(HEADER_LEN..)))
    }

    /// Checks that the stream ended between messages.
    pub(crate) fn finish(&self) -> Result<(), FrameError> {
        if self.chunk.is_empty() && self.joined.is_empty() {
            Ok(())
        } else {
            Err(FrameError::Truncated)
        }
    }
}

/// Flag and length of the message at the head of `held`.
fn header(held: &[u8]) -> Option<(u8, usize)> {
    let header = held.first_chunk::<HEADER_LEN>()?;
    let len = u32::from_be_bytes([header[1], header[2], header[3], header[4]]);
    Some((header[0], len as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::etcdserverpb::LeaseGrantRequest;

    fn framed(bodies: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        for body in bodies {
            out.push(0);
            out.extend_from_slice(&(body.len() as u32).to_be_bytes());
            out.extend_from_slice(body);
        }
        out
    }

    #[test]
    fn encodes_flag_length_and_body() {
        let mut out = BytesMut::new();
        encode(&LeaseGrantRequest { ttl: 5, id: 0 }, &mut out);
        assert_eq!(&out[..], [0, 0, 0, 0, 2, 8, 5]);
    }

    #[test]
    fn decodes_however_the_stream_is_cut() {
        let bodies: [&[u8]; 4] = [b"first", b"", b"third message", b"x"];
        let stream = framed(&bodies);
        for size in 1..=stream.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some(message) = decoder.next().expect("plain messages") {
                    seen.push(message);
                }
            }
            assert_eq!(seen, bodies, "chunks of {size}");
            assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn refuses_compressed_and_truncated() {
        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert_eq!(decoder.next(), Err(FrameError::Compressed(1)));

        let mut decoder = Decoder::default();
        decoder.push(Bytes::from_static(&[0, 0, 0, 0, 9, 1]));
        assert_eq!(decoder.next(), Ok(None));
        assert_eq!(decoder.finish(), Err(FrameError::Truncated));
    }
}
