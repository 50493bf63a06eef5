//! Encoded frames on their way to a connection: small pieces joined, large payloads shared.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// From this size on a payload is handed on as it is; below, copying costs less than another
/// segment.
pub(super) const SHARED_BYTES_MIN: usize = 16 * 1024;
/// What the buffer grows by: several small frames fit without another allocation.
const BUFFER_BYTES: usize = 4 * 1024;

/// Encoded bytes as a queue of segments.
#[derive(Debug, Default)]
pub struct Output {
    segments: VecDeque<Bytes>,
    open: BytesMut,
    len: usize,
}

impl Output {
    /// No bytes.
    pub fn new() -> Output {
        Output::default()
    }

    /// How many bytes wait in all segments.
    pub fn len(&self) -> usize {
        self.len + self.open.len()
    }

    /// True without bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The buffer to encode `size` more bytes into.
    pub(super) fn reserve(&mut self, size: usize) -> &mut BytesMut {
        if self.open.capacity() - self.open.len() < size {
            self.open.reserve(size.max(BUFFER_BYTES));
        }
        &mut self.open
    }

    /// Adds a big-endian integer.
    pub(super) fn put_u64(&mut self, value: u64) {
        self.reserve(8).put_u64(value);
    }

    /// Adds a payload: shared when it is large, copied when it is small.
    pub(super) fn put_bytes(&mut self, payload: &Bytes) {
        if payload.len() < SHARED_BYTES_MIN {
            self.reserve(payload.len()).extend_from_slice(payload);
            return;
        }
        self.close();
        self.len += payload.len();
        self.segments.push_back(payload.clone());
    }

    /// The next segment to write.
    pub fn pop(&mut self) -> Option<Bytes> {
        if self.segments.is_empty() {
            self.close();
        }
        let segment = self.segments.pop_front()?;
        self.len -= segment.len();
        Some(segment)
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let segment = self.open.split().freeze();
            self.len += segment.len();
            self.segments.push_back(segment);
        }
    }
}
