//! Follows the received bytes of an HTTP/2 connection and rewrites `:authority` literals that
//! begin with a scheme (RFC 9113 sections 3.4, 4.1, 6.2; RFC 7541 sections 5 and 6).
//!
//! A state machine over whatever pieces the reads deliver: frame heads, then the header block of
//! HEADERS frames field by field, so that only text at a true field boundary is looked at. Other
//! frames and strings are skipped by their length. Nothing here fails: bytes that are no proper
//! HTTP/2 pass unchanged, and the HTTP library judges them.
//!
//! grpc-go sends the authority as a literal in the first request and again when other headers
//! have pushed it out of the dynamic table. So a connection that had a value to rewrite is
//! followed to its end; one whose first [`LOOKED_AT_MAX`] HEADERS frames had none is left alone.

/// Most bytes the scanner leaves for the next call, plus one.
pub(super) const LOOKAHEAD_MAX: usize = 8;
/// HEADERS frames without a value to rewrite after which a connection is no longer followed.
pub(super) const LOOKED_AT_MAX: u8 = 8;

/// What a client sends first on an HTTP/2 connection.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const TYPE_HEADERS: u8 = 1;
const FLAG_PADDED: u8 = 0x08;
const FLAG_PRIORITY: u8 = 0x20;
/// Stream dependency and weight of a HEADERS frame with the PRIORITY flag.
const PRIORITY_BYTES: u32 = 5;
/// Index of `:authority` in the static table.
const AUTHORITY_INDEX: u8 = 1;

/// Codes of each length in the Huffman code of HPACK, from length 0. The code is canonical: the
/// counts alone tell where each symbol ends.
const HUFFMAN_COUNTS: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];
/// Huffman code of `/`, six bits; with the last bit set it is `3`.
const HUFFMAN_SLASH: (u32, u8) = (0b01_1000, 6);

/// A scheme as it stands at the begin of a literal.
struct Scheme {
    text: &'static [u8],
    /// The bits of the last byte of `text` that count.
    last_mask: u8,
    /// The byte, and its bits, whose flip turns `:` into `B`.
    colon: (usize, u8),
}

const PLAIN: [Scheme; 2] = [
    Scheme { text: b"http://", last_mask: 0xff, colon: (4, b':' ^ b'B') },
    Scheme { text: b"https://", last_mask: 0xff, colon: (5, b':' ^ b'B') },
];
const HUFFMAN: [Scheme; 2] = [
    Scheme { text: &[0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x00], last_mask: 0x80, colon: (3, 0x08) },
    Scheme { text: &[0x9d, 0x29, 0xad, 0x17, 0x18, 0x60], last_mask: 0xfc, colon: (4, 0x40) },
];

impl Scheme {
    /// Whether `value`, possibly cut short, agrees with the scheme as far as it goes.
    fn agrees(&self, value: &[u8]) -> bool {
        let last = self.text.len() - 1;
        self.text.iter().zip(value).enumerate().all(|(at, (ours, theirs))| {
            let mask = if at == last { self.last_mask } else { 0xff };
            theirs & mask == *ours
        })
    }
}

/// What the next byte is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Preface {
        matched: usize,
    },
    Head {
        head: [u8; FRAME_HEAD],
        have: usize,
    },
    /// Bytes of a frame that are of no interest.
    Skip {
        left: u32,
    },
    /// The length of a HEADERS frame's padding.
    PadLength {
        left: u32,
        priority: bool,
    },
    /// Stream dependency and weight.
    Priority {
        left: u32,
    },
    /// Inside a header block.
    Block(Field),
    /// Nothing is looked at any more.
    Off,
}

/// Where in a header block the scanner is.
#[derive(Clone, Copy, Debug)]
enum Field {
    /// A field begins.
    Start,
    /// Further bytes of an index or table size; a value follows if `literal`.
    IndexRest { literal: bool },
    /// The first byte of a string's length.
    Length { string: Kind },
    /// Further bytes of a string's length.
    LengthRest { string: Kind, huffman: bool, length: u32, shift: u32 },
    /// The text of a string of no interest.
    Text { string: Kind, left: u32 },
    /// The text of an `:authority` begins, long enough to hold a scheme.
    Judge { length: u32, huffman: bool },
    /// Inside an `:authority` that is rewritten: the bits of an unfinished Huffman symbol.
    Rewrite { left: u32, huffman: bool, code: u32, bits: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Value,
    Authority,
}

pub(super) struct Scanner {
    step: Step,
    /// Bytes left of the header block, while inside one.
    block: u32,
    /// Padding after the header block.
    padding: u32,
    /// HEADERS frames looked at.
    looked_at: u8,
    /// A value was rewritten on this connection.
    found: bool,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self {
            step: Step::Preface { matched: 0 },
            block: 0,
            padding: 0,
            looked_at: 0,
            found: false,
        }
    }

    /// Passes over `data`, the next bytes of the connection, and rewrites in place. Answers how
    /// many bytes are done; the rest (fewer than [`wanted`](Self::wanted)) must be given again,
    /// with more behind.
    pub(super) fn scan(&mut self, data: &mut [u8]) -> usize {
        let mut done = 0;
        while done < data.len() {
            match self.advance(&mut data[done..]) {
                0 => break,
                count => done += count,
            }
        }
        done
    }

    /// How many bytes `scan` needs at once after it left some.
    pub(super) fn wanted(&self) -> usize {
        match self.step {
            Step::Block(Field::Judge { length, huffman }) => lookahead(length, huffman),
            _ => 1,
        }
    }

    /// One step over `data`, which is not empty; answers the bytes passed.
    fn advance(&mut self, data: &mut [u8]) -> usize {
        match self.step {
            Step::Off => data.len(),
            Step::Preface { matched } => self.preface(matched, data),
            Step::Head { mut head, have } => {
                let count = data.len().min(FRAME_HEAD - have);
                head[have..have + count].copy_from_slice(&data[..count]);
                self.step = Step::Head { head, have: have + count };
                if have + count == FRAME_HEAD {
                    self.start_frame(&head);
                }
                count
            }
            Step::Skip { left } => {
                let count = fitting(left, data);
                self.skip(left - count as u32);
                count
            }
            Step::PadLength { left, priority } => {
                self.padding = u32::from(data[0]);
                self.after_pad_length(left - 1, priority);
                1
            }
            Step::Priority { left } => {
                let count = fitting(left, data);
                self.step = match left - count as u32 {
                    0 => self.block_or_end(),
                    left => Step::Priority { left },
                };
                count
            }
            Step::Block(field) => {
                let within = fitting(self.block, data);
                let count = self.field(field, &mut data[..within]);
                self.block -= count as u32;
                if self.block == 0 {
                    self.skip(self.padding);
                }
                count
            }
        }
    }

    fn preface(&mut self, matched: usize, data: &[u8]) -> usize {
        let rest = &PREFACE[matched..];
        let count = rest.len().min(data.len());
        self.step = match matched + count {
            _ if data[..count] != rest[..count] => Step::Off,
            matched if matched < PREFACE.len() => Step::Preface { matched },
            _ => next_frame(),
        };
        count
    }

    fn start_frame(&mut self, head: &[u8; FRAME_HEAD]) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let (kind, flags) = (head[3], head[4]);
        if kind != TYPE_HEADERS {
            return self.skip(length);
        }
        if !self.found && self.looked_at == LOOKED_AT_MAX {
            self.step = Step::Off;
            return;
        }
        self.looked_at = self.looked_at.saturating_add(1);
        self.padding = 0;
        let priority = flags & FLAG_PRIORITY != 0;
        if flags & FLAG_PADDED == 0 {
            self.after_pad_length(length, priority);
        } else if length == 0 {
            self.step = next_frame();
        } else {
            self.step = Step::PadLength { left: length, priority };
        }
    }

    /// `left` bytes of a HEADERS frame follow, the padding among them.
    fn after_pad_length(&mut self, left: u32, priority: bool) {
        let ahead = if priority { PRIORITY_BYTES } else { 0 };
        match left.checked_sub(ahead + self.padding) {
            None => self.skip(left),
            Some(block) => {
                self.block = block;
                self.step = match ahead {
                    0 => self.block_or_end(),
                    left => Step::Priority { left },
                };
            }
        }
    }

    fn block_or_end(&mut self) -> Step {
        if self.block > 0 {
            return Step::Block(Field::Start);
        }
        self.skip(self.padding);
        self.step
    }

    /// Leaves `left` bytes of the frame alone.
    fn skip(&mut self, left: u32) {
        self.step = if left == 0 { next_frame() } else { Step::Skip { left } };
    }

    /// One step inside a header block; `data` ends with the block at the latest.
    fn field(&mut self, field: Field, data: &mut [u8]) -> usize {
        let first = data[0];
        let (count, next) = match field {
            Field::Start => (1, start_field(first)),
            Field::IndexRest { literal } => (
                1,
                match (first & 0x80 != 0, literal) {
                    (true, _) => field,
                    (false, true) => Field::Length { string: Kind::Value },
                    (false, false) => Field::Start,
                },
            ),
            Field::Length { string } => {
                let (huffman, length) = (first & 0x80 != 0, u32::from(first & 0x7f));
                let next = match length {
                    0x7f => Field::LengthRest { string, huffman, length, shift: 0 },
                    _ => self.text(string, huffman, length, 1),
                };
                (1, next)
            }
            Field::LengthRest { string, huffman, length, shift } => {
                let length = length.saturating_add(u32::from(first & 0x7f) << shift);
                let next = match (first & 0x80 != 0, shift) {
                    (false, _) => self.text(string, huffman, length, 1),
                    // Longer than any frame.
                    (true, 21..) => Field::Text { string, left: u32::MAX },
                    (true, _) => Field::LengthRest { string, huffman, length, shift: shift + 7 },
                };
                (1, next)
            }
            Field::Text { string, left } => {
                let count = fitting(left, data);
                (count, after_text(string, left - count as u32))
            }
            Field::Judge { length, huffman } => match judge(length, huffman, data) {
                Verdict::Undecided => return 0,
                Verdict::Keep => {
                    let count = fitting(length, data);
                    (count, after_text(Kind::Authority, length - count as u32))
                }
                Verdict::Colon { at, bits } => {
                    self.found = true;
                    data[at] ^= bits;
                    rewrite(length, huffman, (0, 0), data)
                }
            },
            Field::Rewrite { left, huffman, code, bits } => {
                rewrite(left, huffman, (code, bits), data)
            }
        };
        self.step = Step::Block(next);
        count
    }

    /// A string's length is known; `taken` bytes of the block are not yet counted.
    fn text(&self, string: Kind, huffman: bool, length: u32, taken: u32) -> Field {
        let shortest = schemes(huffman)[0].text.len() as u32;
        let whole = length <= self.block - taken;
        if string == Kind::Authority && length >= shortest && whole {
            return Field::Judge { length, huffman };
        }
        after_text(string, length)
    }
}

/// How many of `data` the next `left` bytes cover.
fn fitting(left: u32, data: &[u8]) -> usize {
    data.len().min(left as usize)
}

fn next_frame() -> Step {
    Step::Head { head: [0; FRAME_HEAD], have: 0 }
}

fn schemes(huffman: bool) -> &'static [Scheme; 2] {
    if huffman { &HUFFMAN } else { &PLAIN }
}

/// Bytes of a value that must be seen to tell whether it begins with a scheme.
fn lookahead(length: u32, huffman: bool) -> usize {
    schemes(huffman)[1].text.len().min(length as usize)
}

/// The first byte of a field.
fn start_field(first: u8) -> Field {
    let (mask, literal) = match first {
        0x80.. => (0x7f, false),
        0x40.. => (0x3f, true),
        0x20.. => (0x1f, false),
        _ => (0x0f, true),
    };
    match (first & mask, literal) {
        (index, _) if index == mask => Field::IndexRest { literal },
        (_, false) => Field::Start,
        (0, true) => Field::Length { string: Kind::Name },
        (AUTHORITY_INDEX, true) => Field::Length { string: Kind::Authority },
        (_, true) => Field::Length { string: Kind::Value },
    }
}

/// What comes when `left` bytes of a string remain.
fn after_text(string: Kind, left: u32) -> Field {
    match (left, string) {
        (0, Kind::Name) => Field::Length { string: Kind::Value },
        (0, _) => Field::Start,
        _ => Field::Text { string, left },
    }
}

enum Verdict {
    /// More bytes are needed.
    Undecided,
    /// No scheme.
    Keep,
    /// A scheme: where its colon is.
    Colon { at: usize, bits: u8 },
}

fn judge(length: u32, huffman: bool, data: &[u8]) -> Verdict {
    let seen = fitting(length, data);
    let agreeing = schemes(huffman)
        .iter()
        .filter(|scheme| scheme.text.len() <= length as usize)
        .find(|scheme| scheme.agrees(&data[..seen]));
    match agreeing {
        None => Verdict::Keep,
        // The wait is for the longest scheme: held bytes are decided once.
        Some(_) if seen < lookahead(length, huffman) => Verdict::Undecided,
        Some(scheme) => Verdict::Colon { at: scheme.colon.0, bits: scheme.colon.1 },
    }
}

/// Turns every `/` among the next `left` bytes of a value into `3`.
fn rewrite(left: u32, huffman: bool, symbol: (u32, u8), data: &mut [u8]) -> (usize, Field) {
    let count = fitting(left, data);
    let (mut code, mut bits) = symbol;
    for byte in &mut data[..count] {
        if huffman {
            (code, bits) = rewrite_huffman(byte, code, bits);
        } else if *byte == b'/' {
            *byte = b'3';
        }
    }
    let next = match left - count as u32 {
        0 => Field::Start,
        left => Field::Rewrite { left, huffman, code, bits },
    };
    (count, next)
}

/// Follows the Huffman symbols through one byte; `code` is the `bits` bits of a begun symbol.
fn rewrite_huffman(byte: &mut u8, mut code: u32, mut bits: u8) -> (u32, u8) {
    for shift in (0..8).rev() {
        code = code << 1 | u32::from(*byte >> shift & 1);
        bits += 1;
        if (code, bits) == HUFFMAN_SLASH {
            *byte |= 1 << shift;
        }
        if is_symbol(code, bits) {
            (code, bits) = (0, 0);
        }
    }
    (code, bits)
}

/// Whether `code` of `bits` bits is a whole symbol, given that no shorter begin of it is one.
fn is_symbol(code: u32, bits: u8) -> bool {
    let mut end = 0;
    for count in &HUFFMAN_COUNTS[..=usize::from(bits)] {
        end = (end << 1) + count;
    }
    code < end
}
