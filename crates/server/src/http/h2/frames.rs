//! Follows the frames of a connection over whatever pieces its bytes come in (RFC 9113 section 4.1).
//!
//! Invariant: nothing here fails or holds bytes; what is no proper HTTP/2 is for the library to judge.

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;

/// Frame types (RFC 9113 section 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Of a PING that answers one.
pub(super) const ACK: u8 = 1;

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// How far one direction of a connection was followed.
pub(super) struct Frames {
    head: [u8; HEAD_BYTES],
    have: usize,
    /// Bytes that are left of what is passed over.
    skip: usize,
}

impl Frames {
    /// Follows what comes after the first `skip` bytes.
    pub(super) fn after(skip: usize) -> Frames {
        Frames { head: [0; HEAD_BYTES], have: 0, skip }
    }

    /// Whether the last frame is whole.
    pub(super) fn is_whole(&self) -> bool {
        self.have == 0 && self.skip == 0
    }

    /// Takes the next bytes, and tells of each frame whose head ends in them.
    pub(super) fn follow(&mut self, mut bytes: &[u8], mut begun: impl FnMut(Head)) {
        loop {
            let passed = self.skip.min(bytes.len());
            self.skip -= passed;
            bytes = &bytes[passed..];
            if bytes.is_empty() {
                return;
            }
            let taken = (HEAD_BYTES - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have < HEAD_BYTES {
                return;
            }
            let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = self.head;
            self.have = 0;
            self.skip = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            begun(Head { kind, flags, stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]) });
        }
    }
}

/// A GOAWAY frame.
pub(super) fn go_away(last_stream: u32, reason: h2::Reason, words: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + words.len()).expect("a few words");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend(last_stream.to_be_bytes());
    frame.extend(u32::from(reason).to_be_bytes());
    frame.extend(words);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_in_any_pieces() {
        let mut bytes = b"preface".to_vec();
        bytes.extend([0, 0, 8, PING, ACK, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        bytes.extend([0, 0, 0, DATA, 1, 0x80, 0, 1, 3]);
        bytes.extend([0, 1, 0, HEADERS, 4, 0, 0, 0, 5]);
        bytes.extend([PING; 256]);
        let expected = [
            Head { kind: PING, flags: ACK, stream: 0 },
            Head { kind: DATA, flags: 1, stream: 0x103 },
            Head { kind: HEADERS, flags: 4, stream: 5 },
        ];
        for size in [1, 2, 3, 7, 9, 10, 64, bytes.len()] {
            let (mut frames, mut seen) = (Frames::after(7), Vec::new());
            for piece in bytes.chunks(size) {
                frames.follow(piece, |head| seen.push(head));
            }
            assert_eq!(seen, expected, "{size}");
            assert!(frames.is_whole());
            frames.follow(&[0], |_| {});
            assert!(!frames.is_whole());
        }
    }

    #[test]
    fn a_farewell_is_a_frame() {
        let frame = go_away(7, h2::Reason::ENHANCE_YOUR_CALM, b"enough");
        let mut frames = Frames::after(0);
        let mut seen = Vec::new();
        frames.follow(&frame, |head| seen.push(head));
        assert_eq!(seen, [Head { kind: GOAWAY, flags: 0, stream: 0 }]);
        assert!(frames.is_whole());
        assert_eq!(frame[9..], *b"\0\0\0\x07\0\0\0\x0benough");
    }
}
