//! Captured and composed connections through the shim, cut at every place.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::{AuthorityShim, scanner::LOOKED_AT_MAX};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// All that etcdctl 3.4.37 sent for `--endpoints http://127.0.0.1:27380 defrag`: SETTINGS,
/// HEADERS, WINDOW_UPDATE, DATA, PING and so on.
const DEFRAG: &str = "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a00000004000000000000000004\
    010000000000007a0104000000018386459a60a924882d9dcb6571afa066a925a87510ac5f2cb60e6a4b527f4190\
    9d29aee30c044eae05c0b86e09d65e075f8b1d75d0620d263d4c4d65647a8b9acac8b4c7602bb2caecff40027465\
    864d833505b11f40899acac8b24d494f6a7f8669f7dd71c72d408d25062d495875996ee5b1063d5f03332e340000\
    05000100000001000000000000000806010000000002041010090e07070000040800000000000000000500000806\
    000000000002041010090e0707";
/// `http://127.0.0.1:27380` and what becomes of it, in Huffman code.
const HUFFMAN: (&str, &str) =
    ("9d29aee30c044eae05c0b86e09d65e07", "9d29aeeb2c844eae05c0b86e09d65e07");

fn bytes(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2));
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn replace(whole: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = whole.windows(old.len()).position(|window| window == old).unwrap();
    [&whole[..at], new, &whole[at + old.len()..]].concat()
}

/// The captured connection with its `:authority` given as a plain literal.
fn plain_defrag(authority: &[u8]) -> Vec<u8> {
    let huffman = [&[0x41, 0x90], bytes(HUFFMAN.0).as_slice()].concat();
    let plain = [&[0x41, authority.len() as u8], authority].concat();
    let mut whole = replace(&bytes(DEFRAG), &huffman, &plain);
    let length = PREFACE.len() + 9 + 9;
    whole[length + 2] = (0x7a + plain.len() - huffman.len()) as u8;
    whole
}

/// A stream that answers each read with one piece, and is not ready before it.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    ready: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ready = !self.ready;
        if self.ready {
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What a caller with buffers of `room` bytes reads of `pieces`.
fn through(pieces: impl IntoIterator<Item = Vec<u8>>, room: usize) -> Vec<u8> {
    let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
    let mut shim = AuthorityShim::new(Pieces { pieces, ready: false });
    let mut cx = Context::from_waker(Waker::noop());
    let mut answer = Vec::new();
    let mut memory = vec![0; room];
    loop {
        let mut buf = ReadBuf::new(&mut memory);
        match Pin::new(&mut shim).poll_read(&mut cx, &mut buf) {
            Poll::Pending => assert!(buf.filled().is_empty()),
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => return answer,
            Poll::Ready(Ok(())) => answer.extend_from_slice(buf.filled()),
        }
    }
}

fn cut(whole: &[u8], at: usize) -> [Vec<u8>; 2] {
    [whole[..at].to_vec(), whole[at..].to_vec()]
}

/// `sent` becomes `expected` whatever the pieces and buffers.
fn assert_becomes(sent: &[u8], expected: &[u8]) {
    for at in 0..=sent.len() {
        assert_eq!(through(cut(sent, at), 4096), expected, "cut at {at}");
        assert_eq!(through(cut(sent, at), 5), expected, "cut at {at}, small buffers");
    }
    for size in 1..12 {
        let pieces = || sent.chunks(size).map(<[u8]>::to_vec);
        assert_eq!(through(pieces(), 4096), expected, "pieces of {size}");
        assert_eq!(through(pieces(), 1), expected, "pieces of {size}, buffers of one byte");
    }
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frames.concat()].concat()
}

fn literal(first: u8, value: &[u8]) -> Vec<u8> {
    [&[first, value.len() as u8], value].concat()
}

#[test]
fn the_captured_huffman_form_is_rewritten() {
    let sent = bytes(DEFRAG);
    assert_becomes(&sent, &replace(&sent, &bytes(HUFFMAN.0), &bytes(HUFFMAN.1)));
}

#[test]
fn the_plain_form_is_rewritten() {
    let sent = plain_defrag(b"http://127.0.0.1:27380");
    assert_becomes(&sent, &plain_defrag(b"httpB33127.0.0.1:27380"));
    let sent = plain_defrag(b"https://[::1]:2379/");
    assert_becomes(&sent, &plain_defrag(b"httpsB33[::1]:23793"));
}

#[test]
fn every_slash_of_a_huffman_value_is_rewritten() {
    for (sent, expected) in [
        // http://127.0.0.1:27380/foo/bar
        (
            "9d29aee30c044eae05c0b86e09d65e03129cec463b3f",
            "9d29aeeb2c844eae05c0b86e09d65e03329cecc63b3f",
        ),
        // https://[::1]:2379/
        ("9d29ad171863ff772e07ff9704cbafb1", "9d29ad175967ff772e07ff9704cbafb3"),
        // http://{a}~|\/x : symbols of 11 to 19 bits
        ("9d29aee30c7ffe1fffbffdff9fffc18f3f", "9d29aeeb2cfffe1fffbffdff9fffc19f3f"),
        ("9d29aee30c7f", "9d29aeeb2cff"),
        ("9d29ad171863", "9d29ad175967"),
    ] {
        let whole = |value: &str, first: u8| {
            let value = bytes(value);
            let field = [&[first, 0x80 | value.len() as u8], value.as_slice()].concat();
            connection(&[frame(4, 0, &[]), frame(1, 4, &field)])
        };
        for first in [0x41, 0x01, 0x11] {
            assert_becomes(&whole(sent, first), &whole(expected, first));
        }
    }
}

#[test]
fn padding_and_priority_are_minded() {
    let block = |value| [&[0x83, 0x3f, 0xe1, 0x1f], literal(0x41, value).as_slice()].concat();
    let whole = |value| {
        let block = block(value);
        let padding = literal(0x41, b"http://padding");
        let pad = padding.len() as u8;
        connection(&[
            frame(1, 0x28, &[&[pad, 0, 0, 0, 0, 9], block.as_slice(), &padding].concat()),
            frame(1, 0x20, &[&[0x41, 5, 0, 0, 9], block.as_slice()].concat()),
            frame(1, 0x08, &[&[pad], block.as_slice(), &padding].concat()),
            frame(0, 0x08, &[&[pad], block.as_slice(), &padding].concat()),
            frame(1, 0x0c, &block),
        ])
    };
    let sent = whole(b"http://a");
    let rewritten = through([sent.clone()], 4096);
    let changed = sent.iter().zip(&rewritten).filter(|(sent, got)| sent != got).count();
    assert_eq!(changed, 3 * 3, "three frames with one value each");
    assert_becomes(&sent, &rewritten);
}

#[test]
fn nothing_else_is_touched() {
    let url = b"http://a/b";
    let field = literal(0x41, url);
    let headers = [
        literal(0x44, url),
        [literal(0x40, url), literal(0x41, b"http:8080")[1..].to_vec()].concat(),
        [literal(0x40, &field), field[1..].to_vec()].concat(),
        literal(0x41, b"127.0.0.1:2379/"),
        literal(0x41, b"http:/"),
        literal(0x41, b"https:/"),
        literal(0x41, b"httpx://a"),
        [&[0x7f, 1], &field[1..]].concat(),
        // Length runs past the frame.
        [&[0x41, 30], url.as_slice()].concat(),
        [&[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f], field.as_slice()].concat(),
        // http:/x/y/z/w
        [&[0x41, 0x89], bytes("9d29aee31e58f4c7b6").as_slice()].concat(),
    ];
    for header in headers {
        let sent = connection(&[frame(1, 4, &header), frame(0, 1, &field), frame(9, 4, &field)]);
        assert_becomes(&sent, &sent);
    }
    let request = b"GET / HTTP/1.1\r\nHost: http://a\r\n\r\n";
    let http1 = [request.as_slice(), &frame(1, 4, &field)].concat();
    assert_becomes(&http1, &http1);
}

#[test]
fn a_connection_without_a_find_is_left_alone() {
    let plain = |count: u8| vec![frame(1, 4, &literal(0x41, b"a:1")); usize::from(count)];
    let url = frame(1, 4, &literal(0x41, b"http://a:1"));
    let changed = frame(1, 4, &literal(0x41, b"httpB33a:1"));
    let late = [plain(LOOKED_AT_MAX), vec![url.clone()]].concat();
    assert_becomes(&connection(&late), &connection(&late));
    // One find, and the connection is followed to its end.
    let frames = |value: Vec<u8>| {
        let last = plain(LOOKED_AT_MAX - 1);
        let long = [plain(100), plain(100), plain(100)].concat();
        connection(&[last, vec![value.clone()], long, vec![value]].concat())
    };
    assert_eq!(through([frames(url)], 4096), frames(changed));
}

#[test]
fn a_stream_that_ends_inside_a_value_loses_nothing() {
    let sent = bytes(DEFRAG);
    let value = sent.windows(16).position(|window| window == bytes(HUFFMAN.0)).unwrap();
    for end in value..value + 6 {
        assert_eq!(through([sent[..end].to_vec()], 4096), sent[..end], "end at {end}");
    }
}

/// The authority that a service behind the HTTP library sees.
async fn served(sent: Vec<u8>) -> String {
    use hyper_util::{
        rt::{TokioExecutor, TokioIo},
        server::conn::auto,
    };
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let (seen_in, mut seen_out) = tokio::sync::mpsc::unbounded_channel();
    let service = hyper::service::service_fn(move |request: http::Request<_>| {
        let _: &hyper::body::Incoming = request.body();
        let authority = request.uri().authority().map(ToString::to_string);
        seen_in.send(authority.expect("an HTTP/2 request has one")).expect("the test listens");
        async { Ok::<_, std::convert::Infallible>(http::Response::new(String::new())) }
    });
    client.write_all(&sent).await.unwrap();
    let serving = tokio::spawn(async move {
        let io = TokioIo::new(AuthorityShim::new(server));
        let _ended = auto::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    });
    let drained = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await });
    // `None` once the library ends the connection without having served.
    let seen = tokio::time::timeout(Duration::from_secs(5), seen_out.recv()).await;
    serving.abort();
    drained.abort();
    seen.expect("an answer in time").expect("the request was served")
}

#[tokio::test]
async fn the_http_library_accepts_the_result() {
    assert_eq!(served(bytes(DEFRAG)).await, "httpB33127.0.0.1:27380");
    for (sent, expected) in [
        ("http://127.0.0.1:27380/foo/bar", "httpB33127.0.0.1:273803foo3bar"),
        ("https://[::1]:2379/", "httpsB33[::1]:23793"),
        ("localhost:2379", "localhost:2379"),
    ] {
        assert_eq!(served(plain_defrag(sent.as_bytes())).await, expected);
    }
}

/// A header block's fields; `:authority` literals only if `authority`.
fn fields(authority: bool) -> impl Strategy<Value = Vec<u8>> {
    let firsts: &[u8] = if authority { &[0x41, 0x01, 0x11] } else { &[0x42, 0x02, 0x12, 0x44] };
    let value = prop_oneof!["(http|https|)(:|://|)[a-z0-9/:]{0,12}", ".{0,8}"];
    let field = prop_oneof![
        any::<u8>().prop_map(|index| vec![0x80 | index]),
        (proptest::sample::select(firsts), value.clone())
            .prop_map(|(first, value)| literal(first, value.as_bytes())),
        (value.clone(), value).prop_map(|(name, value)| {
            [literal(0x40, name.as_bytes()), literal(0, value.as_bytes())[1..].to_vec()].concat()
        }),
    ];
    vec(field, 0..6).prop_map(|fields| fields.concat())
}

fn frames(authority: bool) -> impl Strategy<Value = Vec<u8>> {
    let frame = prop_oneof![
        fields(authority).prop_map(|block| frame(1, 4, &block)),
        fields(authority).prop_map(|block| frame(0, 1, &block)),
        (0_u8..2, 2_u8..12, vec(any::<u8>(), 0..20))
            .prop_map(|(flags, kind, payload)| frame(kind, flags, &payload)),
    ];
    vec(frame, 0..12).prop_map(|frames| connection(&frames))
}

fn pieces(whole: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut rest = whole;
    let mut pieces = Vec::new();
    for size in sizes {
        let (piece, after) = rest.split_at(rest.len().min(*size));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bytes_without_such_a_header_pass(
        noise in vec(any::<u8>(), 0..300),
        preface in any::<bool>(),
        sizes in vec(1_usize..40, 0..20),
        room in 1_usize..64,
    ) {
        let sent = if preface { [PREFACE, &noise].concat() } else { noise };
        prop_assert_eq!(through(pieces(&sent, &sizes), room), sent);
    }

    #[test]
    fn other_headers_pass(
        sent in frames(false),
        sizes in vec(1_usize..40, 0..20),
        room in 1_usize..64,
    ) {
        prop_assert_eq!(through(pieces(&sent, &sizes), room), sent);
    }

    #[test]
    fn pieces_make_no_difference(
        sent in frames(true),
        sizes in vec(1_usize..40, 0..20),
        room in 1_usize..64,
        noise in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        let mut sent = sent;
        for (at, byte) in noise {
            let at = at.index(sent.len());
            sent[at] = byte;
        }
        let whole = through([sent.clone()], 1 << 16);
        prop_assert_eq!(whole.len(), sent.len());
        prop_assert_eq!(through(pieces(&sent, &sizes), room), whole);
    }
}
