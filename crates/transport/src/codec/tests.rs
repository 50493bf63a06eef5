//! Frames against the bytes that etcd 3.5 and 3.7 write for the same messages (`testdata/`), and
//! properties: round trips over any cut into chunks, and any bytes at all.

use api::{
    ids::MemberId,
    raftpb::{ConfState, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata},
};
use bytes::Bytes;
use proptest::prelude::*;

use super::{output::SHARED_BYTES_MIN, *};

const LOCAL: MemberId = MemberId(2);
const REMOTE: MemberId = MemberId(1);

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn entries(term: u64, first: u64, data: &[&str]) -> Vec<Entry> {
    let entry = |(at, data): (usize, &&str)| Entry {
        term,
        index: first + at as u64,
        data: Bytes::copy_from_slice(data.as_bytes()),
        ..Entry::default()
    };
    data.iter().enumerate().map(entry).collect()
}

fn app(term: u64, log_term: u64, index: u64, commit: u64, entries: Vec<Entry>) -> Message {
    let (from, to) = (REMOTE.0, LOCAL.0);
    let r#type = MessageType::MsgApp as i32;
    Message { r#type, from, to, term, log_term, index, commit, entries, ..Message::default() }
}

/// What the files of msgappv2 hold.
fn appends() -> Vec<Message> {
    let mut conf = entries(5, 24, &["conf0"]);
    conf[0].r#type = EntryType::EntryConfChange as i32;
    let long = format!("{}0", "x".repeat(40));
    vec![
        link_heartbeat(),
        app(5, 4, 20, 18, entries(5, 21, &["a0", "a1"])),
        app(5, 5, 22, 20, entries(5, 23, &["b0"])),
        app(5, 5, 23, 22, conf),
        app(5, 5, 24, 24, Vec::new()),
        link_heartbeat(),
        app(5, 5, 10, 24, entries(5, 11, &["c0"])),
        app(6, 5, 11, 24, entries(6, 12, &["d0"])),
        app(6, 6, 12, 25, entries(6, 13, &[&long])),
    ]
}

/// What the files of the message stream hold.
fn messages() -> Vec<Message> {
    let of = |kind: MessageType, term| Message {
        r#type: kind as i32,
        from: REMOTE.0,
        to: LOCAL.0,
        term,
        ..Message::default()
    };
    let conf_state = ConfState { voters: vec![1, 2], learners: vec![3], ..ConfState::default() };
    let metadata = SnapshotMetadata { conf_state: Some(conf_state), index: 1234, term: 4 };
    let snapshot = Snapshot { data: Bytes::from_static(b"{}"), metadata: Some(metadata) };
    vec![
        link_heartbeat(),
        Message {
            from: 0x8e9e_05c5_2164_694d,
            to: 0x91bc_3c39_8fb3_c146,
            commit: 9,
            context: Bytes::from_static(&[0, 0, 0, 0, 0, 0, 1, 2]),
            ..of(MessageType::MsgHeartbeat, 3)
        },
        Message { log_term: 3, index: 77, ..of(MessageType::MsgPreVote, 4) },
        Message {
            log_term: 3,
            index: 77,
            reject: true,
            reject_hint: 70,
            ..of(MessageType::MsgAppResp, 4)
        },
        Message { entries: entries(0, 0, &["value"]), ..of(MessageType::MsgProp, 0) },
        Message { snapshot: Some(snapshot), ..of(MessageType::MsgSnap, 4) },
    ]
}

/// etcd 3.5 writes an empty snapshot into messages that have none.
fn without_empty_snapshots(messages: Vec<Message>) -> Vec<Message> {
    let is_snapshot = |message: &Message| message.r#type() == MessageType::MsgSnap;
    let clean = |message: Message| match is_snapshot(&message) {
        true => message,
        false => Message { snapshot: None, ..message },
    };
    messages.into_iter().map(clean).collect()
}

/// Decodes everything, fed in chunks of `size` bytes.
fn decode_all(
    mut decode: impl FnMut(&mut Input) -> Result<Option<Message>, Error>,
    bytes: &[u8],
    size: usize,
) -> Result<Vec<Message>, Error> {
    let mut input = Input::new();
    let mut messages = Vec::new();
    for chunk in bytes.chunks(size.max(1)) {
        input.push(Bytes::copy_from_slice(chunk));
        while let Some(message) = decode(&mut input)? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn decode_appends(bytes: &[u8], size: usize) -> Result<Vec<Message>, Error> {
    let mut decoder = MsgAppV2Decoder::new(LOCAL, REMOTE);
    decode_all(|input| decoder.decode(input), bytes, size)
}

fn decode_messages(bytes: &[u8], size: usize) -> Result<Vec<Message>, Error> {
    let mut decoder = MessageDecoder::default();
    decode_all(|input| decoder.decode(input), bytes, size)
}

fn collect(mut out: Output) -> Vec<u8> {
    let len = out.len();
    let mut all = Vec::new();
    while let Some(segment) = out.pop() {
        all.extend_from_slice(&segment);
    }
    assert_eq!((all.len(), out.len(), out.is_empty()), (len, 0, true));
    all
}

fn encode_appends(messages: &[Message]) -> Vec<u8> {
    let mut encoder = MsgAppV2Encoder::new();
    let mut out = Output::new();
    messages.iter().for_each(|message| encoder.encode(message, &mut out));
    collect(out)
}

fn encode_messages(messages: &[Message]) -> Vec<u8> {
    let mut out = Output::new();
    messages.iter().for_each(|message| encode_message(message, &mut out));
    collect(out)
}

#[test]
fn appends_of_real_etcd_are_read() {
    for hex in [
        include_str!("../../testdata/msgappv2_3.5.hex"),
        include_str!("../../testdata/msgappv2_3.7.hex"),
    ] {
        let bytes = bytes_of(hex);
        for size in [1, 7, bytes.len()] {
            let decoded = decode_appends(&bytes, size).unwrap();
            assert_eq!(without_empty_snapshots(decoded), appends());
        }
    }
}

#[test]
fn messages_of_real_etcd_are_read() {
    for hex in [
        include_str!("../../testdata/message_3.5.hex"),
        include_str!("../../testdata/message_3.7.hex"),
    ] {
        let bytes = bytes_of(hex);
        for size in [1, 7, bytes.len()] {
            let decoded = decode_messages(&bytes, size).unwrap();
            assert_eq!(without_empty_snapshots(decoded), messages());
        }
    }
}

#[test]
fn written_bytes_are_those_of_etcd_3_7() {
    let appends_there = bytes_of(include_str!("../../testdata/msgappv2_3.7.hex"));
    assert_eq!(encode_appends(&appends()), appends_there);
    let messages_there = bytes_of(include_str!("../../testdata/message_3.7.hex"));
    assert_eq!(encode_messages(&messages()), messages_there);
}

#[test]
fn large_payloads_are_shared_and_small_ones_joined() {
    let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);
    let mut message = app(1, 0, 0, 0, Vec::new());
    message.log_term = 0;
    let mut encoder = MsgAppV2Encoder::new();
    encoder.encode(&Message { term: 0, ..message.clone() }, &mut Output::new());
    let mut list = entries(0, 1, &["small", "", "small"]);
    list[1].data = large.clone();
    let mut out = Output::new();
    encoder.encode(&Message { term: 0, entries: list.clone(), ..message }, &mut out);
    let segments: Vec<Bytes> = std::iter::from_fn(|| out.pop()).collect();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[1].as_ptr(), large.as_ptr(), "the payload was copied");
    let plain: Vec<u8> = prost::Message::encode_to_vec(&list[1]);
    assert!(segments[0].ends_with(&plain[..plain.len() - large.len()]));

    let mut input = Input::new();
    input.push(Bytes::from_static(b"ab"));
    let whole = Bytes::from_static(b"cdef");
    input.push(whole.clone());
    assert_eq!(input.take(3).unwrap(), "abc");
    let rest = input.take(3).unwrap();
    assert_eq!((rest.as_ref(), rest.as_ptr()), (&b"def"[..], whole[1..].as_ptr()));
}

#[test]
fn claims_above_the_limit_are_refused_before_memory_is_taken() {
    let huge = u64::MAX.to_be_bytes();
    let frame = |kind: u8, numbers: &[[u8; 8]]| [&[kind][..], &numbers.concat()].concat();
    let over = (MESSAGE_BYTES_MAX + 1).to_be_bytes();
    for bytes in [frame(1, &[huge]), frame(1, &[1u64.to_be_bytes(), over]), frame(2, &[over])] {
        assert!(matches!(decode_appends(&bytes, 3), Err(Error::LimitExceeded)));
    }
    let half = (MESSAGE_BYTES_MAX / 2).to_be_bytes();
    let mut decoder = MsgAppV2Decoder::new(LOCAL, REMOTE);
    let mut input = Input::new();
    input.push(Bytes::from(frame(1, &[8u64.to_be_bytes(), half])));
    assert!(decoder.decode(&mut input).unwrap().is_none(), "waits for bytes it made no room for");
    assert!(matches!(decode_messages(&over, 8), Err(Error::LimitExceeded)));
    let mut small = MessageDecoder::with_limit(3);
    assert!(decode_all(|input| small.decode(input), &[0, 0, 0, 0, 0, 0, 0, 4], 8).is_err());
    assert!(matches!(decode_appends(&[3], 1), Err(Error::UnknownType(3))));
}

prop_compose! {
    fn any_entry()(
        term in 0u64..3, index in any::<u64>(), kind in 0i32..4,
        data in prop::collection::vec(any::<u8>(), 0..40), large in any::<bool>(),
    ) -> Entry {
        let data = if large && index % 8 == 0 { vec![1; SHARED_BYTES_MIN + 1] } else { data };
        Entry { r#type: kind, term, index, data: data.into() }
    }
}

prop_compose! {
    /// Appends of which many follow from the one before.
    fn any_append()(
        entries in prop::collection::vec(any_entry(), 0..4), term in 0u64..3, log_term in 0u64..3,
        index in 0u64..4, commit in any::<u64>(), link in 0..8,
    ) -> Message {
        match link {
            0 => link_heartbeat(),
            _ => app(term, log_term, index, commit, entries),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn appends_survive_any_cut(list in prop::collection::vec(any_append(), 0..12), size in 1usize..90) {
        let bytes = encode_appends(&list);
        prop_assert_eq!(decode_appends(&bytes, size).unwrap(), list);
    }

    #[test]
    fn messages_survive_any_cut(list in prop::collection::vec(any_append(), 0..12), size in 1usize..90) {
        let bytes = encode_messages(&list);
        prop_assert_eq!(decode_messages(&bytes, size).unwrap(), list);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..50) {
        let _message = decode_messages(&bytes, size);
        let _append = decode_appends(&bytes, size);
    }

    #[test]
    fn damaged_frames_are_read_without_a_panic(
        list in prop::collection::vec(any_append(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        size in 1usize..90,
    ) {
        let mut bytes = encode_appends(&list);
        let mut framed = encode_messages(&list);
        for (at, value) in damage {
            *at.get_mut(&mut bytes) = value;
            *at.get_mut(&mut framed) = value;
        }
        let _append = decode_appends(&bytes, size);
        let _message = decode_messages(&framed, size);
    }
}
