//! Calls whose messages are compressed, and requests that are nearly calls: what etcd's gRPC library
//! makes of them.

use anyhow::Result;
use api::etcdserverpb::{self as pb, kv_client::KvClient, watch_client::WatchClient};
use bytes::Bytes;
use conformance::member::Member;
use tonic::{Code, codec::CompressionEncoding::Gzip};

#[tokio::test]
async fn gzip_is_understood_and_answered_in_kind() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let channel = member.client().await.channel;
    let mut kv = KvClient::new(channel.clone()).send_compressed(Gzip).accept_compressed(Gzip);
    let value = Bytes::from(vec![b'a'; 100_000]);
    let put = pb::PutRequest { key: "k".into(), value: value.clone(), ..Default::default() };
    kv.put(put.clone()).await?;
    let range = pb::RangeRequest { key: "k".into(), ..Default::default() };
    let got = kv.range(range.clone()).await?;
    assert_eq!(got.metadata().get("grpc-encoding").map(|kind| kind.as_bytes()), Some(&b"gzip"[..]));
    assert_eq!(got.into_inner().kvs[0].decode()?.value, value);
    // To accept it is not to ask for it.
    let mut plain = KvClient::new(channel.clone()).accept_compressed(Gzip);
    let got = plain.range(range).await?;
    assert_eq!(got.metadata().get("grpc-encoding"), None);
    assert_eq!(got.into_inner().kvs[0].decode()?.value, value);
    // What counts is the size of what was compressed.
    let refused = kv.put(pb::PutRequest { value: vec![0; 3_000_000].into(), ..put }).await;
    let refused = refused.expect_err("it is too large");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::ResourceExhausted,
            "grpc: received message after decompression larger than max 2097152"
        )
    );
    let create =
        pb::WatchCreateRequest { key: "k".into(), start_revision: 1, ..Default::default() };
    let create = pb::watch_request::RequestUnion::CreateRequest(create);
    let create = pb::WatchRequest { request_union: Some(create) };
    let mut watch = WatchClient::new(channel).send_compressed(Gzip).accept_compressed(Gzip);
    let requests = tokio_stream::StreamExt::chain(
        tokio_stream::once(create),
        tokio_stream::pending::<pb::WatchRequest>(),
    );
    let mut answers = watch.watch(requests).await?.into_inner();
    assert!(answers.message().await?.expect("an answer").created);
    let events = answers.message().await?.expect("an event").events;
    assert_eq!(events[0].kv.as_ref().expect("a key").decode()?.value, value);
    Ok(())
}

/// Sends one request over HTTP/2; the status and the headers of its answer.
async fn ask(
    member: &Member,
    method: &str,
    headers: &[(&str, &str)],
    body: &'static [u8],
) -> Result<(u16, http::HeaderMap)> {
    let url = member.client_url();
    let address = url.strip_prefix("http://").expect("it is served in the clear");
    let socket = tokio::net::TcpStream::connect(address).await?;
    let (client, connection) = h2::client::handshake(socket).await?;
    let driving = tokio::spawn(connection);
    let mut request =
        http::Request::builder().method(method).uri(format!("{url}/etcdserverpb.KV/Put"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (answer, mut stream) = client.ready().await?.send_request(request.body(())?, false)?;
    stream.send_data(Bytes::from_static(body), true)?;
    let answer = answer.await?;
    driving.abort();
    Ok((answer.status().as_u16(), answer.headers().clone()))
}

fn text<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().expect("it is text"))
}

#[tokio::test]
async fn what_is_nearly_a_call_writes_nothing() -> Result<()> {
    const PUT: &[u8] = b"\0\0\0\0\x06\x0a\x01k\x12\x01v";
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    let member = Member::under_test(&[]).await;
    let (status, headers) = ask(&member, "GET", &[GRPC], PUT).await?;
    assert_eq!((status, text(&headers, "grpc-status")), (405, "13"), "{headers:?}");
    let web = ("content-type", "application/grpc-web+proto");
    let (status, headers) = ask(&member, "POST", &[web], PUT).await?;
    assert_eq!((status, text(&headers, "grpc-status")), (404, ""), "{headers:?}");
    let unknown = ("grpc-encoding", "snappy");
    let (status, headers) = ask(&member, "POST", &[GRPC, unknown], b"\x01\0\0\0\x01x").await?;
    assert_eq!((status, text(&headers, "grpc-status")), (200, "12"), "{headers:?}");
    let message = text(&headers, "grpc-message");
    assert_eq!(message, "grpc: Decompressor is not installed for grpc-encoding \"snappy\"");
    // Over HTTP/1 there are no calls at all.
    let answer = conformance::plain::ask(
        &member,
        "POST /etcdserverpb.KV/Put",
        &[GRPC],
        std::str::from_utf8(PUT)?,
    )
    .await?;
    assert_eq!((answer.status, answer.body.as_str()), (404, "404 page not found\n"));
    let range = pb::RangeRequest { key: "k".into(), ..Default::default() };
    assert_eq!(member.client().await.kv.range(range).await?.into_inner().count, 0);
    Ok(())
}
