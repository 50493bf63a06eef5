//! Clients that ping more often than `--grpc-keepalive-min-time` allows are sent away.
//!
//! Source: what etcd 3.7.1 answers to the same frames.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use conformance::member::Member;
use h2::{Ping, PingPong, RecvStream, SendStream, client::SendRequest};
use http::Request;

/// A connection, its pings, and the task that drives it.
struct Connection {
    sender: SendRequest<Bytes>,
    pings: PingPong,
    driving: tokio::task::JoinHandle<Result<(), h2::Error>>,
    url: String,
}

impl Connection {
    async fn open(member: &Member) -> Result<Connection> {
        let url = member.client_url();
        let address = url.strip_prefix("http://").expect("it is served in the clear");
        let socket = tokio::net::TcpStream::connect(address).await?;
        let (sender, mut connection) = h2::client::handshake(socket).await?;
        let pings = connection.ping_pong().expect("nobody has it yet");
        Ok(Connection { sender, pings, driving: tokio::spawn(connection), url })
    }

    /// Pings so many times, so far apart; returns how many were answered.
    async fn ping(&mut self, times: usize, apart: Duration) -> usize {
        for answered in 0..times {
            if self.pings.ping(Ping::opaque()).await.is_err() {
                return answered;
            }
            tokio::time::sleep(apart).await;
        }
        times
    }

    /// Why the connection was ended.
    async fn end(self) -> (Option<h2::Reason>, String) {
        drop(self.sender);
        let error = self.driving.await.expect("no panic").expect_err("it was ended");
        (error.reason(), error.to_string())
    }

    async fn call(&mut self, path: &str, message: &[u8], last: bool) -> Result<Call> {
        let request = Request::post(format!("{}/etcdserverpb.{path}", self.url))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (answer, mut body) = self.sender.clone().ready().await?.send_request(request, false)?;
        let mut framed = vec![0, 0, 0, 0, u8::try_from(message.len())?];
        framed.extend(message);
        body.send_data(framed.into(), last)?;
        Ok(Call { _body: body, answer: answer.await?.into_body() })
    }

    /// A watch that was acknowledged.
    async fn watch(&mut self) -> Result<Call> {
        // WatchRequest.create_request.key
        let mut watch = self.call("Watch/Watch", b"\x0a\x03\x0a\x01k", false).await?;
        watch.answer.data().await.expect("an answer")?;
        Ok(watch)
    }

    /// A read that was answered.
    async fn range(&mut self) -> Result<()> {
        let mut call = self.call("KV/Range", b"\x0a\x01k", true).await?;
        while let Some(piece) = call.answer.data().await {
            piece?;
        }
        call.answer.trailers().await?;
        Ok(())
    }
}

struct Call {
    _body: SendStream<Bytes>,
    answer: RecvStream,
}

#[track_caller]
fn assert_sent_away((reason, text): (Option<h2::Reason>, String)) {
    assert_eq!(reason, Some(h2::Reason::ENHANCE_YOUR_CALM), "{text}");
    assert!(text.contains("too_many_pings"), "{text}");
}

const NOT_APART: Duration = Duration::ZERO;

#[tokio::test]
async fn a_client_without_calls_may_hardly_ping() -> Result<()> {
    let mut member = Member::under_test(&["--grpc-keepalive-min-time=1ms"]).await;
    let mut connection = Connection::open(&member).await?;
    // The fourth one is too much; it may be answered before the connection ends.
    let answered = connection.ping(20, Duration::from_millis(5)).await;
    assert!(matches!(answered, 3..=5), "{answered}");
    assert_sent_away(connection.end().await);
    member.assert_sound();
    Ok(())
}

#[tokio::test]
async fn a_client_with_a_call_may_ping_as_often_as_the_flag_says() -> Result<()> {
    let mut member = Member::under_test(&["--grpc-keepalive-min-time=1ms"]).await;
    let mut connection = Connection::open(&member).await?;
    let _watch = connection.watch().await?;
    assert_eq!(connection.ping(20, Duration::from_millis(5)).await, 20);
    connection.driving.abort();

    for flag in ["--grpc-keepalive-min-time=1h", "--grpc-keepalive-min-time=0"] {
        let mut member = Member::under_test(&[flag]).await;
        let mut connection = Connection::open(&member).await?;
        let watch = connection.watch().await?;
        // The first one follows an answer, and is the one before the second.
        let answered = connection.ping(20, NOT_APART).await;
        assert!(matches!(answered, 3..=5), "{answered} {flag}");
        drop(watch);
        assert_sent_away(connection.end().await);
        member.assert_sound();
    }
    member.assert_sound();
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_answered_may_ping() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut connection = Connection::open(&member).await?;
    for _ in 0..20 {
        connection.range().await?;
        assert_eq!(connection.ping(2, NOT_APART).await, 2);
    }
    connection.range().await?;
    let answered = connection.ping(20, NOT_APART).await;
    assert!(matches!(answered, 3..=5), "{answered}");
    assert_sent_away(connection.end().await);
    member.assert_sound();
    Ok(())
}
