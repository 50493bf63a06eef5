//! Long lists whose clients do not read them.

use api::etcdserverpb::RangeRequest;
use bytes::{BufMut as _, Bytes, BytesMut};
use client::{client::Client, config::Config as ClientConfig, endpoint::Endpoint};
use prost::Message as _;
use tokio::time::timeout;

use super::*;
use crate::limits::LONG_ANSWERS_BYTES;

const KEYS: usize = 300;
const VALUE_BYTES: usize = 16 << 10;
/// Together more than what is held in memory of answers that are taken.
const STALLED: usize = 2 + LONG_ANSWERS_BYTES / (KEYS * VALUE_BYTES);

fn all() -> RangeRequest {
    RangeRequest { key: "k".into(), range_end: "l".into(), ..Default::default() }
}

/// Asks for all keys on a connection of its own; takes the head of the answer and no more of it than
/// fits into the first window.
async fn stalled(port: u16) -> http::Response<h2::RecvStream> {
    let socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://127.0.0.1:{port}/etcdserverpb.KV/Range"));
    let request = request.header("content-type", "application/grpc").body(()).unwrap();
    let (answer, mut body) = sender.send_request(request, false).unwrap();
    let message = all().encode_to_vec();
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(&message);
    body.send_data(framed.freeze(), true).unwrap();
    answer.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_their_lists_keep_nobody_waiting() {
    let mut rig = Rig::serving(1);
    rig.start_all().await;
    rig.leader().await;
    let value = "v".repeat(VALUE_BYTES);
    for number in 0..KEYS {
        rig.put(1, &format!("k{number}"), &value).await;
    }
    let endpoint = Endpoint::parse(&rig.client_url(1));
    let client = Client::new(ClientConfig::new(vec![endpoint])).await.unwrap();
    let port = rig.client_ports[0];
    let mut answers = Vec::new();
    for _ in 0..STALLED {
        answers.push(timeout(PATIENCE, stalled(port)).await.expect("others wait for it"));
    }
    let put = PutRequest { key: "other".into(), value: "v".into(), ..Default::default() };
    timeout(PATIENCE, client.put(put)).await.expect("a put waits").unwrap();
    let listed = timeout(PATIENCE, client.range(all())).await.expect("a list waits").unwrap();
    assert_eq!(listed.count, i64::try_from(KEYS).unwrap());
    // Those who come back to their answers find all of them.
    for answer in answers {
        let mut body = answer.into_body();
        let mut bytes = 0;
        while let Some(data) = body.data().await {
            let data: Bytes = data.unwrap();
            bytes += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        assert!(bytes > KEYS * VALUE_BYTES);
        let status = body.trailers().await.unwrap().expect("an answer ends with its status");
        assert_eq!(status["grpc-status"], "0");
    }
    drop(client);
    rig.end().await;
}
