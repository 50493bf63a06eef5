//! Calls against a small server that answers as it is told.

use crate::{
    grpc::{
        channel::{Channel, Keep},
        method::Method,
        status::Failure,
        stream,
        target::Target,
    },
    runtime::block_on,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use tokio::net::TcpListener;

/// What the server sends back: chunks of the body, then the status as trailers; without chunks the
/// status comes in the head.
#[derive(Clone)]
struct Script {
    chunks: Vec<Vec<u8>>,
    status: &'static str,
    text: &'static str,
}

fn target(endpoint: &str) -> Target {
    Target::plain(crate::args::parse_endpoint(endpoint).expect("host:port"))
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Serves one connection by `script`; returns the endpoint.
async fn serve(script: Script) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
    let endpoint = listener.local_addr().expect("bound").to_string();
    tokio::task::spawn_local(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
        while let Some(Ok((request, respond))) = connection.accept().await {
            assert_eq!(request.headers()["te"], "trailers");
            tokio::task::spawn_local(answer(script.clone(), respond));
        }
    });
    endpoint
}

async fn answer(script: Script, mut respond: h2::server::SendResponse<Bytes>) {
    let mut status = HeaderMap::new();
    status.insert("grpc-status", HeaderValue::from_static(script.status));
    status.insert("grpc-message", HeaderValue::from_static(script.text));
    let mut head = Response::new(());
    if script.chunks.is_empty() {
        *head.headers_mut() = status;
        respond.send_response(head, true).expect("open");
        return;
    }
    let mut body = respond.send_response(head, false).expect("open");
    for chunk in script.chunks {
        body.send_data(chunk.into(), false).expect("open");
    }
    body.send_trailers(status).expect("open");
}

fn call(script: Script, keep: Keep) -> Result<(usize, Bytes), Failure> {
    block_on(async {
        let endpoint = serve(script).await;
        let mut channel = Channel::connect(&target(&endpoint)).await.expect("connects");
        let answer = channel.unary(Method::Put, framed(b"ask").into(), keep).await?;
        Ok((answer.bytes, answer.message))
    })
    .expect("runtime")
}

#[test]
fn an_answer_is_counted_or_kept() {
    let whole = framed(b"some message");
    let cut = vec![whole[..3].to_vec(), whole[3..9].to_vec(), whole[9..].to_vec()];
    for chunks in [vec![whole.clone()], cut] {
        let script = Script { chunks, status: "0", text: "" };
        assert_eq!(call(script.clone(), Keep::Nothing), Ok((17, Bytes::new())));
        assert_eq!(call(script, Keep::Message), Ok((17, Bytes::from_static(b"some message"))));
    }
}

#[test]
fn a_status_is_read_from_trailers_and_from_the_head() {
    let failure = Err(Failure::Status { code: 11, text: "etcdserver: past %".into() });
    let text = "etcdserver: past %25";
    let alone = Script { chunks: vec![], status: "11", text };
    assert_eq!(call(alone, Keep::Nothing), failure);
    let trailing = Script { chunks: vec![framed(b"x")], status: "11", text };
    assert_eq!(call(trailing, Keep::Message), failure);
}

#[test]
fn a_missing_message_is_a_failure_only_to_who_wants_it() {
    let empty = Script { chunks: vec![vec![]], status: "0", text: "" };
    assert_eq!(call(empty.clone(), Keep::Nothing), Ok((0, Bytes::new())));
    assert!(matches!(call(empty, Keep::Message), Err(Failure::Transport(_))));
}

#[test]
fn a_stream_gives_its_messages_and_then_its_end() {
    block_on(async {
        let both = [framed(b"one"), framed(b"two")].concat();
        let chunks = vec![both[..4].to_vec(), both[4..].to_vec()];
        let endpoint = serve(Script { chunks, status: "0", text: "" }).await;
        let mut channel = Channel::connect(&target(&endpoint)).await.expect("connects");
        let (mut sender, mut receiver) =
            stream::open(&mut channel, Method::Watch).await.expect("opens");
        sender.send(framed(b"ask").into()).expect("open");
        assert_eq!(receiver.next().await, Ok(Some(Bytes::from_static(b"one"))));
        assert_eq!(receiver.next().await, Ok(Some(Bytes::from_static(b"two"))));
        assert_eq!(receiver.next().await, Ok(None));
        assert_eq!(receiver.next().await, Ok(None));
        assert!(sender.close().is_err(), "the server has ended the call");
    })
    .expect("runtime");
}

#[test]
fn nobody_listening_is_an_error() {
    let outcome = block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
        let endpoint = listener.local_addr().expect("bound").to_string();
        drop(listener);
        Channel::connect(&target(&endpoint)).await.map(|_| ())
    });
    assert!(outcome.expect("runtime").is_err());
}
