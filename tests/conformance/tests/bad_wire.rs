//! Bytes that are no request: unknown methods, garbage, damage, endless nesting. The server
//! answers each with an error and goes on.
//!
//! Source: texts of grpc-go, as etcd 3.5 and 3.7 send them.

use anyhow::Result;
use api::etcdserverpb::{self as pb, request_op::Request};
use bytes::Bytes;
use conformance::{client::Client, member::Member, wire};
use prost::Message;
use rand::{Rng, RngCore, SeedableRng, rngs::StdRng};
use tonic::{Code, Status};

/// Checks code and text of an error.
#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, message: &str) {
    let status = result.expect_err(message);
    assert_eq!((status.code(), status.message()), (code, message));
}

/// Writes and reads: the server is alive, and nothing else was written meanwhile.
async fn assert_alive(member: &mut Member, expected_revision: i64) -> Result<()> {
    let mut client = member.client().await;
    assert_eq!(client.put("alive", "yes").await?, expected_revision);
    assert!(client.get("alive").await?.is_some());
    member.assert_sound();
    Ok(())
}

fn put(key: &str) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.to_owned().into(), ..Default::default() };
    pb::RequestOp { request: Some(Request::RequestPut(put)) }
}

fn range(key: &str) -> pb::RequestOp {
    let range = pb::RangeRequest { key: key.to_owned().into(), ..Default::default() };
    pb::RequestOp { request: Some(Request::RequestRange(range)) }
}

fn delete(key: &str, range_end: &str) -> pb::RequestOp {
    let delete = pb::DeleteRangeRequest {
        key: key.to_owned().into(),
        range_end: range_end.to_owned().into(),
        ..Default::default()
    };
    pb::RequestOp { request: Some(Request::RequestDeleteRange(delete)) }
}

fn nested(txn: pb::TxnRequest) -> pb::RequestOp {
    pb::RequestOp { request: Some(Request::RequestTxn(txn)) }
}

fn success(success: Vec<pb::RequestOp>) -> pb::TxnRequest {
    pb::TxnRequest { success, ..Default::default() }
}

#[tokio::test]
async fn unknown_methods_and_services() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let channel = member.client().await.channel;
    let code = Code::Unimplemented;
    for (path, message) in [
        ("/etcdserverpb.KV/Nothing", "unknown method Nothing for service etcdserverpb.KV"),
        ("/etcdserverpb.KV/range", "unknown method range for service etcdserverpb.KV"),
        ("/etcdserverpb.Lease/Put", "unknown method Put for service etcdserverpb.Lease"),
        ("/etcdserverpb.Kv/Range", "unknown service etcdserverpb.Kv"),
        ("/Nothing/Range", "unknown service Nothing"),
        ("/a/b/c", "unknown service a/b"),
        ("/x/", "unknown service x"),
    ] {
        assert_error(wire::unary(channel.clone(), path, Bytes::new()).await, code, message);
    }
    let path = "/Range";
    let message = "malformed method name: \"/Range\"";
    assert_error(wire::unary(channel.clone(), path, Bytes::new()).await, code, message);
    assert_alive(&mut member, 2).await
}

/// How long a call may take counts from its headers on: also while its message comes.
#[tokio::test]
async fn a_deadline_passes_while_the_message_comes() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let url = member.client_url();
    let address = url.strip_prefix("http://").expect("it is served in the clear");
    let socket = tokio::net::TcpStream::connect(address).await?;
    let (client, connection) = h2::client::handshake(socket).await?;
    let driving = tokio::spawn(connection);
    for path in ["/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Compact"] {
        let request = http::Request::post(format!("{url}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "200m")
            .body(())?;
        let (answer, mut body) = client.clone().ready().await?.send_request(request, false)?;
        body.send_data(Bytes::from_static(b"\0\0\0\0\x09part"), false)?;
        // etcd 3.5 takes the stream back, which a client whose time is up does not see either.
        let passed = match answer.await {
            Ok(answer) => answer.headers().get("grpc-status").is_some_and(|code| code == "4"),
            Err(error) => error.reason() == Some(h2::Reason::CANCEL),
        };
        assert!(passed, "{path}");
    }
    drop(client);
    driving.abort();
    assert_alive(&mut member, 2).await
}

/// A chain of nested transactions, encoded from the outside in: the stub would recurse itself.
fn nested_chain(depth: usize) -> Bytes {
    let mut lengths = vec![0usize];
    for level in 0..depth {
        let op = 1 + prost::length_delimiter_len(lengths[level]) + lengths[level];
        lengths.push(1 + prost::length_delimiter_len(op) + op);
    }
    let mut bytes = Vec::with_capacity(lengths[depth]);
    for level in (0..depth).rev() {
        let op = 1 + prost::length_delimiter_len(lengths[level]) + lengths[level];
        // TxnRequest.success, then RequestOp.request_txn.
        bytes.push(0x12);
        prost::encode_length_delimiter(op, &mut bytes).expect("a vector grows");
        bytes.push(0x22);
        prost::encode_length_delimiter(lengths[level], &mut bytes).expect("a vector grows");
    }
    bytes.into()
}

#[tokio::test]
async fn endless_nesting() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let channel = member.client().await.channel;
    for depth in [129, 1_000, 10_000, 180_000] {
        let body = nested_chain(depth);
        assert!(body.len() < 2 << 20, "{depth}: {}", body.len());
        let result = wire::unary(channel.clone(), "/etcdserverpb.KV/Txn", body).await;
        let status = result.expect_err("deeper than any budget");
        assert!(matches!(status.code(), Code::InvalidArgument | Code::Internal), "{status}");
    }
    assert_alive(&mut member, 2).await
}

/// Every method, with whether its client sends a stream.
const METHODS: &[(&str, bool)] = &[
    ("/etcdserverpb.KV/Range", false),
    ("/etcdserverpb.KV/Put", false),
    ("/etcdserverpb.KV/DeleteRange", false),
    ("/etcdserverpb.KV/Txn", false),
    ("/etcdserverpb.KV/Compact", false),
    ("/etcdserverpb.Watch/Watch", true),
    ("/etcdserverpb.Lease/LeaseGrant", false),
    ("/etcdserverpb.Lease/LeaseRevoke", false),
    ("/etcdserverpb.Lease/LeaseKeepAlive", true),
    ("/etcdserverpb.Lease/LeaseTimeToLive", false),
    ("/etcdserverpb.Cluster/MemberAdd", false),
    ("/etcdserverpb.Cluster/MemberRemove", false),
    ("/etcdserverpb.Cluster/MemberUpdate", false),
    ("/etcdserverpb.Cluster/MemberPromote", false),
    ("/etcdserverpb.Maintenance/HashKV", false),
    ("/etcdserverpb.Maintenance/MoveLeader", false),
    ("/etcdserverpb.Maintenance/Downgrade", false),
    ("/etcdserverpb.Maintenance/Alarm", false),
];

/// Bytes that no message is encoded to: each breaks off, or has a field 0, or a wire type 7.
fn broken(rng: &mut StdRng) -> Bytes {
    let mut bytes = vec![0; rng.random_range(0..40)];
    rng.fill_bytes(&mut bytes);
    match rng.random_range(0..4) {
        // Field 1 claims more bytes than follow.
        0 => bytes.splice(0..0, [0x0a, 0xff, 0xff, 0x03]).for_each(drop),
        // Field 0.
        1 => bytes.splice(0..0, [0x00]).for_each(drop),
        // A wire type that does not exist.
        2 => bytes.splice(0..0, [0x0f]).for_each(drop),
        // A number that never ends.
        _ => bytes = vec![0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    }
    bytes.into()
}

#[tokio::test]
async fn garbage_in_place_of_messages() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let channel = member.client().await.channel;
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..20 {
        for (path, streams) in METHODS {
            let body = broken(&mut rng);
            let result = if *streams {
                wire::streaming(channel.clone(), path, vec![body.clone()]).await.map(|_| ())
            } else {
                wire::unary(channel.clone(), path, body.clone()).await.map(|_| ())
            };
            let status = result.expect_err("no message is encoded like this");
            assert_eq!(status.code(), Code::Internal, "{round} {path} {body:?}: {status}");
        }
    }
    assert_alive(&mut member, 2).await
}

/// Cuts and changes a sound message: what comes out may be sound again and is then obeyed, so the
/// only claim is that the server lives.
#[tokio::test]
async fn damaged_messages_end_no_server() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let Client { channel, .. } = member.client().await;
    let mut rng = StdRng::seed_from_u64(2);
    let txn = pb::TxnRequest {
        compare: vec![pb::Compare { key: "c".into(), ..Default::default() }],
        success: vec![put("a"), range("b"), delete("c", "d"), nested(success(vec![put("e")]))],
        failure: vec![range("f")],
    };
    let sound = txn.encode_to_vec();
    let mut answered = 0;
    for _ in 0..1500 {
        let mut body = sound.clone();
        for _ in 0..rng.random_range(1..3) {
            let at = rng.random_range(0..body.len());
            body[at] = rng.random();
        }
        if rng.random_bool(0.2) {
            body.truncate(rng.random_range(0..body.len()));
        }
        let result = wire::unary(channel.clone(), "/etcdserverpb.KV/Txn", body.into()).await;
        answered += usize::from(result.is_ok());
        if let Err(status) = result {
            assert_ne!(status.code(), Code::Unavailable, "{status}");
        }
    }
    assert!(answered > 50, "the damage is so great that nothing was tried: {answered}");
    let mut client = member.client().await;
    client.put("alive", "yes").await?;
    member.assert_sound();
    Ok(())
}
