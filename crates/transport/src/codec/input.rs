//! Received chunks seen as one run of bytes, without joining what need not be joined.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// Bytes received and not yet decoded.
///
/// A piece that lies within one chunk is taken without copying it.
#[derive(Debug, Default)]
pub struct Input {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl Input {
    /// No bytes.
    pub fn new() -> Input {
        Input::default()
    }

    /// Adds received bytes at the end.
    pub fn push(&mut self, chunk: Bytes) {
        self.len += chunk.len();
        if !chunk.is_empty() {
            self.chunks.push_back(chunk);
        }
    }

    /// How many bytes are there.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True without bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes the first byte.
    pub fn take_u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// Takes a big-endian integer of eight bytes.
    pub fn take_u64(&mut self) -> Option<u64> {
        Some(self.take(8)?.get_u64())
    }

    /// Takes the first `size` bytes, or nothing when fewer have come.
    pub fn take(&mut self, size: usize) -> Option<Bytes> {
        if self.len < size {
            return None;
        }
        self.len -= size;
        let first = match self.chunks.front_mut() {
            Some(first) if size < first.len() => return Some(first.split_to(size)),
            Some(first) if size == first.len() => return self.chunks.pop_front(),
            Some(first) => first,
            None => return Some(Bytes::new()),
        };
        if size == 0 {
            return Some(Bytes::new());
        }
        let mut joined = BytesMut::with_capacity(size);
        joined.extend_from_slice(first);
        self.chunks.pop_front();
        while joined.len() < size {
            let next = self.chunks.front_mut().expect("`len` counts the bytes of all chunks");
            let wanted = (size - joined.len()).min(next.len());
            joined.extend_from_slice(&next.split_to(wanted));
            if next.is_empty() {
                self.chunks.pop_front();
            }
        }
        Some(joined.freeze())
    }

    /// Everything that is left, chunk by chunk.
    pub fn into_chunks(self) -> impl Iterator<Item = Bytes> {
        self.chunks.into_iter()
    }
}
