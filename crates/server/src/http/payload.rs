//! The data of HTTP/2 streams: one run of bytes, or several that are sent as if they were one.
//!
//! The values of a long answer go out from where they are, without being put together before.
//!
//! Invariants: no part is empty; `remaining` is the bytes of all parts.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Parts shorter than this are put together: looking at one takes as long as copying so much.
pub(super) const SHARED_MIN_BYTES: usize = 512;

/// What the processor fetches at once.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// See the module.
pub(super) enum Payload {
    /// One run of bytes.
    Whole(Bytes),
    /// Several.
    Parts {
        /// What is left of them.
        parts: VecDeque<Bytes>,
        /// The bytes of that.
        remaining: usize,
    },
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload::Whole(bytes)
    }
}

impl Buf for Payload {
    fn remaining(&self) -> usize {
        match self {
            Payload::Whole(bytes) => bytes.len(),
            Payload::Parts { remaining, .. } => *remaining,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Payload::Whole(bytes) => bytes,
            Payload::Parts { parts, .. } => parts.front().map_or(&[], |part| part),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Payload::Whole(bytes) => bytes.chunks_vectored(slices),
            Payload::Parts { parts, .. } => {
                let count = slices.len().min(parts.len());
                for (slice, part) in slices.iter_mut().zip(parts) {
                    *slice = IoSlice::new(part);
                }
                // What comes after them is asked for next, when these are copied.
                parts.iter().skip(count).take(count).for_each(|part| fetch(part));
                count
            }
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Payload::Whole(bytes) => bytes.advance(count),
            Payload::Parts { parts, remaining } => {
                *remaining -= count;
                let mut left = count;
                while let Some(part) = parts.front_mut() {
                    if left < part.len() {
                        part.advance(left);
                        break;
                    }
                    left -= part.len();
                    parts.pop_front();
                }
            }
        }
    }
}

/// Has the processor fetch bytes that will be copied soon. They lie about in memory, and one after the
/// other they would be waited for.
#[cfg(target_arch = "x86_64")]
fn fetch(bytes: &[u8]) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};

    for line in bytes.chunks(LINE_BYTES) {
        // SAFETY: it is a hint, which reads nothing and cannot fail.
        unsafe { _mm_prefetch(line.as_ptr().cast(), _MM_HINT_T1) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch(_: &[u8]) {}

/// A payload in the making.
pub(super) struct Builder {
    parts: VecDeque<Bytes>,
    /// What was put together since the last part.
    short: BytesMut,
    /// Bytes of the parts.
    length: usize,
}

impl Builder {
    /// Nothing yet, with room for about so many parts, and for bytes that are put together.
    pub(super) fn with_capacity(parts: usize, short: usize) -> Builder {
        let parts = VecDeque::with_capacity(parts);
        Builder { parts, short: BytesMut::with_capacity(short), length: 0 }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.length + self.short.len()
    }

    /// Where to put bytes together.
    pub(super) fn short(&mut self) -> &mut BytesMut {
        &mut self.short
    }

    /// Adds bytes, which are shared unless they are few.
    pub(super) fn add(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_MIN_BYTES {
            self.short.put_slice(&bytes);
            return;
        }
        self.end_short();
        self.push(bytes);
    }

    /// What was added.
    pub(super) fn build(mut self) -> Payload {
        self.end_short();
        Payload::Parts { parts: self.parts, remaining: self.length }
    }

    fn end_short(&mut self) {
        if !self.short.is_empty() {
            let short = self.short.split().freeze();
            self.push(short);
        }
    }

    fn push(&mut self, part: Bytes) {
        self.length += part.len();
        self.parts.push_back(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload() -> (Payload, Vec<u8>) {
        let mut builder = Builder::with_capacity(1, 16);
        let mut all = Vec::new();
        for length in [3, 0, 600, 512, 511, 5, 4000] {
            let bytes = (0..length).map(|at| (at * 7 + length) as u8).collect::<Vec<_>>();
            builder.short().put_slice(b"head");
            all.extend_from_slice(b"head");
            all.extend_from_slice(&bytes);
            builder.add(bytes.into());
            assert_eq!(builder.len(), all.len());
        }
        builder.short().put_slice(b"tail");
        all.extend_from_slice(b"tail");
        (builder.build(), all)
    }

    #[test]
    fn the_parts_are_what_was_added_however_they_are_taken() {
        for step in [1, 2, 13, 511, 5000, 1 << 20] {
            let (mut payload, all) = payload();
            let mut taken = Vec::new();
            while payload.has_remaining() {
                assert_eq!(payload.remaining(), all.len() - taken.len());
                let mut slices = [IoSlice::new(&[]); 3];
                let count = payload.chunks_vectored(&mut slices);
                assert_eq!(*slices[0], *payload.chunk());
                let seen = slices[..count].iter().flat_map(|slice| slice.iter().copied());
                let seen = seen.collect::<Vec<_>>();
                assert!(!seen.is_empty());
                let some = seen.len().min(step);
                taken.extend_from_slice(&seen[..some]);
                payload.advance(some);
            }
            assert!(taken == all, "in steps of {step}");
            assert_eq!(payload.chunk(), b"");
            assert_eq!(payload.chunks_vectored(&mut [IoSlice::new(&[]); 3]), 0);
        }
    }

    #[test]
    fn long_parts_are_shared_and_let_go_of_as_they_go() {
        let long = Bytes::from(vec![1; SHARED_MIN_BYTES]);
        let few = long.slice(1..);
        let mut builder = Builder::with_capacity(2, 16);
        builder.add(few);
        builder.add(long.clone());
        let mut payload = builder.build();
        assert!(!long.is_unique());
        payload.advance(2 * SHARED_MIN_BYTES - 2);
        assert_eq!((payload.remaining(), payload.chunk()), (1, &long[1..2]));
        payload.advance(1);
        assert!(long.is_unique());
    }

    #[test]
    fn one_run_of_bytes_is_as_it_is() {
        let mut whole = Payload::from(Bytes::from_static(b"abc"));
        assert_eq!((whole.remaining(), whole.chunk()), (3, &b"abc"[..]));
        whole.advance(2);
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(whole.chunks_vectored(&mut slices), 1);
        assert_eq!(*slices[0], *b"c");
    }
}
