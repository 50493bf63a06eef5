//! The codecs of peer streams: bytes of any kind are read without a panic, the same however they are
//! cut; what an encoder writes is read back as it was.
//!
//! The first byte says which: even, raw bytes for both decoders; odd, messages of the input's making.

use api::{
    ids::MemberId,
    raftpb::{Entry, Message, MessageType},
};
use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use transport::codec::{
    Input, MessageDecoder, MsgAppV2Decoder, MsgAppV2Encoder, Output, encode_message,
    is_link_heartbeat,
};

const LOCAL: MemberId = MemberId(2);
const REMOTE: MemberId = MemberId(1);

/// Runs an input.
pub fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    if how % 2 == 0 {
        let cut = usize::from(how / 2).max(1);
        let whole = read(rest, usize::MAX);
        assert_eq!(read(rest, cut), whole, "the same bytes in other pieces");
        return;
    }
    let mut source = Unstructured::new(rest);
    let Ok(messages) = Vec::<Piece>::arbitrary(&mut source) else { return };
    write(&messages, usize::from(how / 2).max(1));
}

/// What both decoders make of bytes in pieces of `cut`: messages, and whether it ended in an error.
fn read(bytes: &[u8], cut: usize) -> [(Vec<Message>, bool); 2] {
    let mut v2 = MsgAppV2Decoder::new(LOCAL, REMOTE);
    let mut plain = MessageDecoder::with_limit(1 << 20);
    [drain(bytes, cut, |input| v2.decode(input)), drain(bytes, cut, |input| plain.decode(input))]
}

fn drain(
    bytes: &[u8],
    cut: usize,
    mut decode: impl FnMut(&mut Input) -> Result<Option<Message>, transport::codec::Error>,
) -> (Vec<Message>, bool) {
    let mut input = Input::new();
    let mut messages = Vec::new();
    for chunk in bytes.chunks(cut.min(bytes.len().max(1))) {
        input.push(Bytes::copy_from_slice(chunk));
        loop {
            match decode(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return (messages, true),
            }
        }
    }
    (messages, false)
}

/// A message in the making. On this stream only appends and heartbeats of the link travel.
#[derive(Arbitrary, Debug)]
struct Piece {
    heartbeat: bool,
    term: u8,
    index: u16,
    log_term: u8,
    commit: u16,
    follows: bool,
    entries: Vec<(u8, Vec<u8>)>,
}

impl Piece {
    fn message(&self, before: &mut Option<(u64, u64, u64)>) -> Message {
        if self.heartbeat {
            return transport::codec::link_heartbeat();
        }
        // The short form of the frame is for an append that follows the one before.
        let (term, index, log_term) = match *before {
            Some(before) if self.follows => before,
            _ => (u64::from(self.term), u64::from(self.index), u64::from(self.log_term)),
        };
        let entries: Vec<Entry> = self
            .entries
            .iter()
            .zip(1..)
            .map(|((_, data), n)| Entry {
                index: index + n,
                term,
                data: data.clone().into(),
                ..Entry::default()
            })
            .collect();
        let last = entries.last().map_or((index, log_term), |entry| (entry.index, entry.term));
        *before = Some((term, last.0, last.1));
        Message {
            r#type: MessageType::MsgApp as i32,
            from: REMOTE.0,
            to: LOCAL.0,
            term,
            log_term,
            index,
            commit: u64::from(self.commit),
            entries,
            ..Message::default()
        }
    }
}

fn write(pieces: &[Piece], cut: usize) {
    let mut before = None;
    let messages: Vec<Message> = pieces.iter().map(|piece| piece.message(&mut before)).collect();
    let (mut v2, mut out, mut plain) = (MsgAppV2Encoder::new(), Output::new(), Output::new());
    for message in &messages {
        v2.encode(message, &mut out);
        encode_message(message, &mut plain);
    }
    let all = |mut out: Output| {
        let mut bytes = Vec::new();
        while let Some(segment) = out.pop() {
            bytes.extend_from_slice(&segment);
        }
        bytes
    };
    let mut decoder = MsgAppV2Decoder::new(LOCAL, REMOTE);
    let (read, broken) = drain(&all(out), cut, |input| decoder.decode(input));
    assert!(!broken && read.len() == messages.len(), "msgappv2: {messages:?} became {read:?}");
    for (read, sent) in read.iter().zip(&messages) {
        assert_eq!(is_link_heartbeat(read), is_link_heartbeat(sent));
        assert_eq!(read, sent);
    }
    let mut decoder = MessageDecoder::with_limit(1 << 30);
    let (read, broken) = drain(&all(plain), cut, |input| decoder.decode(input));
    assert!(!broken && read == messages, "message: {messages:?} became {read:?}");
}
