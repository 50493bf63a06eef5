//! Long answers, encoded piece by piece while they are sent.
//!
//! A list of thousands of keys shares its values with the store, or holds them once. Encoded as a whole
//! it would be in memory a second time until the slowest client has read it; so it is encoded as fast
//! as its client reads, and what has been sent is let go. Long values are not even copied into a piece.
//!
//! Invariant: the pieces together are the message as prost encodes it, behind gRPC's prefix.

use std::vec::IntoIter;

use api::{
    etcdserverpb::{DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse},
    kv::RawKeyValue,
};
use bytes::BufMut as _;
#[cfg(test)]
use bytes::{Buf as _, Bytes, BytesMut};
use prost::{
    Message,
    encoding::{self, WireType},
};

use super::{
    answer::PREFIX_BYTES,
    payload::{Builder, Payload, SHARED_MIN_BYTES},
};
use crate::lists::Share;

/// Messages from this length on are sent in pieces.
const LONG_BYTES: usize = 256 << 10;
/// About the length of a piece.
const PIECE_BYTES: usize = 128 << 10;
/// Room in a piece for what stands between long values.
const BETWEEN_BYTES: usize = 4 << 10;
/// The number of `RangeResponse.kvs`.
const KVS: u32 = 2;

/// A message as it goes out.
pub(super) trait Outgoing: Message + Sized {
    /// The pieces of a message of `length` bytes, if it is long and of a kind that has some.
    fn pieces(self, length: usize) -> Result<Pieces, Self> {
        let _short = length;
        Err(self)
    }
}

impl Outgoing for PutResponse {}
impl Outgoing for DeleteRangeResponse {}
impl Outgoing for TxnResponse {}

impl Outgoing for RangeResponse {
    fn pieces(self, length: usize) -> Result<Pieces, RangeResponse> {
        if length < LONG_BYTES {
            return Err(self);
        }
        let RangeResponse { header, kvs, more, count } = self;
        let head = RangeResponse { header, ..RangeResponse::default() };
        let tail = RangeResponse { more, count, ..RangeResponse::default() };
        let (head, tail) = (head.encode_to_vec(), tail.encode_to_vec());
        Ok(Pieces { length, head, kvs: kvs.into_iter(), tail: Some(tail), share: None })
    }
}

/// A long range answer that is not encoded yet.
pub(super) struct Pieces {
    length: usize,
    /// What comes first, until it is sent.
    head: Vec<u8>,
    kvs: IntoIter<RawKeyValue>,
    /// What comes last; `None` once all is sent.
    tail: Option<Vec<u8>>,
    /// What it takes of the room for long answers.
    share: Option<Share>,
}

impl Pieces {
    /// The length of the message, without its prefix.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Holds the answer's share until it is sent.
    pub(super) fn hold(&mut self, share: Option<Share>) {
        self.share = share;
    }

    /// Whether other answers may be waiting for this one.
    pub(super) fn is_waited_for(&self) -> bool {
        self.share.as_ref().is_some_and(Share::counts)
    }

    /// The client takes nothing for now: others do not wait for it any more.
    pub(super) fn stalled(&mut self) {
        self.share = None;
    }

    /// The message as one, behind its prefix.
    #[cfg(test)]
    fn whole(self) -> Bytes {
        let mut whole = BytesMut::new();
        self.for_each(|piece| whole.put(piece));
        whole.freeze()
    }
}

impl Iterator for Pieces {
    type Item = Payload;

    fn next(&mut self) -> Option<Payload> {
        self.tail.as_ref()?;
        let next = self.kvs.as_slice().first().map_or(0, |kv| kv.0.len());
        let mut piece = if next < SHARED_MIN_BYTES {
            Builder::with_capacity(2, PIECE_BYTES + (16 << 10))
        } else {
            Builder::with_capacity(2 * PIECE_BYTES / next + 2, BETWEEN_BYTES)
        };
        if !self.head.is_empty() {
            let prefixed = u32::try_from(self.length).expect("the length was looked at");
            debug_assert_eq!(PREFIX_BYTES, 5);
            piece.short().put_u8(0);
            piece.short().put_u32(prefixed);
            piece.short().put_slice(&std::mem::take(&mut self.head));
        }
        while piece.len() < PIECE_BYTES {
            let Some(RawKeyValue(kv)) = self.kvs.next() else {
                piece.short().put_slice(&self.tail.take()?);
                break;
            };
            encoding::encode_key(KVS, WireType::LengthDelimited, piece.short());
            encoding::encode_varint(kv.len() as u64, piece.short());
            piece.add(kv);
        }
        if let Some(share) = &mut self.share {
            share.sent(piece.len());
        }
        Some(piece.build())
    }
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::ResponseHeader;

    use super::*;

    fn answer(kvs: usize, bytes: usize) -> RangeResponse {
        let header = ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 };
        let kv = |at: usize| RawKeyValue(vec![at as u8; bytes + at % 7].into());
        RangeResponse {
            header: Some(header),
            kvs: (0..kvs).map(kv).collect(),
            more: true,
            count: 1 << 40,
        }
    }

    #[test]
    fn pieces_are_the_message() {
        for (kvs, bytes) in [(1, 300 << 10), (3, 200 << 10), (900, 509), (2000, 200), (300_000, 0)]
        {
            let answer = answer(kvs, bytes);
            let encoded = answer.encode_to_vec();
            let pieces = answer.pieces(encoded.len()).expect("it is long");
            assert_eq!(pieces.length(), encoded.len());
            let whole = pieces.whole();
            assert_eq!(whole[..PREFIX_BYTES][1..], (encoded.len() as u32).to_be_bytes());
            assert!(whole[PREFIX_BYTES..] == encoded[..], "{kvs} of {bytes}");
        }
    }

    #[test]
    fn pieces_are_made_as_they_are_taken() {
        let mut kvs = Vec::new();
        let value = Bytes::from(vec![7; 1000]);
        for _ in 0..1000 {
            kvs.push(RawKeyValue(value.clone()));
        }
        let answer = RangeResponse { kvs, ..RangeResponse::default() };
        let length = answer.encoded_len();
        let mut pieces = answer.pieces(length).expect("it is long");
        assert!(pieces.next().expect("the first").remaining() < PIECE_BYTES + 2000);
        assert!(pieces.kvs.len() > 800);
        assert_eq!(pieces.count(), 7);
        assert!(value.is_unique());
    }

    #[test]
    fn short_answers_are_sent_whole() {
        let short = answer(10, 100);
        let length = short.encoded_len();
        assert_eq!(short.pieces(length).err(), Some(answer(10, 100)));
    }
}
