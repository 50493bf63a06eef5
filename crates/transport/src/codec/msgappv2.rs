//! msgappv2, the stream of MsgApp: a predictable append leaves out everything that both sides know.
//!
//! ```text
//! 0                                                              link heartbeat
//! 1  count:u64  { size:u64 Entry }*count  commit:u64             AppEntries
//! 2  size:u64  Message                                           MsgApp
//! ```
//!
//! Integers are big-endian. **Invariant:** encoder and decoder of a connection hold the same term
//! and index: those of the last entry that went over it, 0 and 0 at first.

use api::{
    ids::MemberId,
    raftpb::{Entry, Message, MessageType},
};
use bytes::BufMut;
use prost::{Message as _, encoding};

use super::{
    Error, Input, MESSAGE_BYTES_MAX, Output, is_link_heartbeat, link_heartbeat,
    message::frame_size, output::SHARED_BYTES_MIN,
};

const LINK_HEARTBEAT: u8 = 0;
const APP_ENTRIES: u8 = 1;
const APP: u8 = 2;
/// Number of the field `data` of an entry, the last one that an entry encodes.
const ENTRY_DATA: u32 = 4;
/// Entries that are made room for before they come.
const ENTRIES_RESERVED_MAX: u64 = 1024;

/// The term and index that both ends of a connection have reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Reached {
    term: u64,
    index: u64,
}

impl Reached {
    fn after(message: &Message) -> Reached {
        let index = message.entries.last().map_or(message.index, |entry| entry.index);
        Reached { term: message.term, index }
    }

    /// True when the receiver can work out all but the entries and the commit index.
    fn predicts(self, message: &Message) -> bool {
        self.index == message.index
            && self.term == message.log_term
            && message.log_term == message.term
    }
}

/// The sending end of one connection.
#[derive(Debug, Default)]
pub struct MsgAppV2Encoder {
    reached: Reached,
}

impl MsgAppV2Encoder {
    /// The encoder of a new connection.
    pub fn new() -> MsgAppV2Encoder {
        MsgAppV2Encoder::default()
    }

    /// Appends the frame of a MsgApp or a link heartbeat.
    pub fn encode(&mut self, message: &Message, out: &mut Output) {
        if is_link_heartbeat(message) {
            out.reserve(1).put_u8(LINK_HEARTBEAT);
        } else if self.reached.predicts(message) {
            out.reserve(1).put_u8(APP_ENTRIES);
            out.put_u64(message.entries.len() as u64);
            for entry in &message.entries {
                encode_entry(entry, out);
            }
            out.put_u64(message.commit);
            self.reached.index = self.reached.index.wrapping_add(message.entries.len() as u64);
        } else {
            let size = message.encoded_len();
            out.reserve(1).put_u8(APP);
            out.put_u64(size as u64);
            message.encode_raw(out.reserve(size));
            self.reached = Reached::after(message);
        }
    }
}

/// The bytes of `Entry::encode`, with a large payload shared instead of copied.
fn encode_entry(entry: &Entry, out: &mut Output) {
    let size = entry.encoded_len();
    out.put_u64(size as u64);
    if entry.data.len() < SHARED_BYTES_MIN {
        entry.encode_raw(out.reserve(size));
        return;
    }
    let head =
        Entry { r#type: entry.r#type, term: entry.term, index: entry.index, ..Entry::default() };
    let buffer = out.reserve(size - entry.data.len());
    head.encode_raw(buffer);
    encoding::encode_key(ENTRY_DATA, encoding::WireType::LengthDelimited, buffer);
    encoding::encode_varint(entry.data.len() as u64, buffer);
    out.put_bytes(&entry.data);
}

/// What of a frame has been read.
#[derive(Debug)]
enum State {
    Kind,
    EntryCount,
    EntrySize(Append),
    EntryBytes(Append, usize),
    Commit(Append),
    MessageSize,
    MessageBytes(usize),
}

/// An AppEntries frame under way.
#[derive(Debug)]
struct Append {
    entries: Vec<Entry>,
    left: u64,
    bytes: u64,
}

/// The receiving end of one connection.
#[derive(Debug)]
pub struct MsgAppV2Decoder {
    local: MemberId,
    remote: MemberId,
    reached: Reached,
    state: State,
}

impl MsgAppV2Decoder {
    /// The decoder of a new connection to `local` from `remote`.
    pub fn new(local: MemberId, remote: MemberId) -> MsgAppV2Decoder {
        MsgAppV2Decoder { local, remote, reached: Reached::default(), state: State::Kind }
    }

    /// The next message, or `None` until more bytes come. After an error the stream is lost.
    pub fn decode(&mut self, input: &mut Input) -> Result<Option<Message>, Error> {
        loop {
            let state = std::mem::replace(&mut self.state, State::Kind);
            match self.step(state, input)? {
                Step::Done(message) => return Ok(Some(message)),
                Step::Next(state) => self.state = state,
                Step::Starved(state) => {
                    self.state = state;
                    return Ok(None);
                }
            }
        }
    }

    fn step(&mut self, state: State, input: &mut Input) -> Result<Step, Error> {
        Ok(match state {
            State::Kind => match input.take_u8() {
                None => Step::Starved(State::Kind),
                Some(LINK_HEARTBEAT) => Step::Done(link_heartbeat()),
                Some(APP_ENTRIES) => Step::Next(State::EntryCount),
                Some(APP) => Step::Next(State::MessageSize),
                Some(kind) => return Err(Error::UnknownType(kind)),
            },
            State::EntryCount => match input.take_u64() {
                None => Step::Starved(State::EntryCount),
                Some(count) => Step::Next(Append::of(count)?.next()),
            },
            State::EntrySize(mut append) => match input.take_u64() {
                None => Step::Starved(State::EntrySize(append)),
                Some(size) => {
                    let size = frame_size(size, MESSAGE_BYTES_MAX)?;
                    append.charge(size as u64)?;
                    Step::Next(State::EntryBytes(append, size))
                }
            },
            State::EntryBytes(mut append, size) => match input.take(size) {
                None => Step::Starved(State::EntryBytes(append, size)),
                Some(bytes) => {
                    append.entries.push(Entry::decode(bytes)?);
                    append.left -= 1;
                    Step::Next(append.next())
                }
            },
            State::Commit(append) => match input.take_u64() {
                None => Step::Starved(State::Commit(append)),
                Some(commit) => Step::Done(self.predicted(append.entries, commit)),
            },
            State::MessageSize => match input.take_u64() {
                None => Step::Starved(State::MessageSize),
                Some(size) => Step::Next(State::MessageBytes(frame_size(size, MESSAGE_BYTES_MAX)?)),
            },
            State::MessageBytes(size) => match input.take(size) {
                None => Step::Starved(State::MessageBytes(size)),
                Some(bytes) => {
                    let message = Message::decode(bytes)?;
                    self.reached = Reached::after(&message);
                    Step::Done(message)
                }
            },
        })
    }

    fn predicted(&mut self, entries: Vec<Entry>, commit: u64) -> Message {
        let Reached { term, index } = self.reached;
        self.reached.index = index.wrapping_add(entries.len() as u64);
        Message {
            r#type: MessageType::MsgApp as i32,
            from: self.remote.0,
            to: self.local.0,
            term,
            log_term: term,
            index,
            entries,
            commit,
            ..Message::default()
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "lives for one step only")]
enum Step {
    Done(Message),
    Next(State),
    Starved(State),
}

impl Append {
    fn of(count: u64) -> Result<Append, Error> {
        let mut append = Append { entries: Vec::new(), left: count, bytes: 0 };
        append.charge(count.saturating_mul(size_of::<Entry>() as u64))?;
        append.entries.reserve(count.min(ENTRIES_RESERVED_MAX) as usize);
        Ok(append)
    }

    /// Counts bytes that the frame takes in memory against the limit of a message.
    fn charge(&mut self, bytes: u64) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MESSAGE_BYTES_MAX { Err(Error::LimitExceeded) } else { Ok(()) }
    }

    fn next(self) -> State {
        if self.left == 0 { State::Commit(self) } else { State::EntrySize(self) }
    }
}
