//! Against sockets that answer what they are told to.

use std::sync::atomic::{AtomicUsize, Ordering};

use api::ids::{ClusterId, MemberId};
use membership::Member;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn client() -> PeerClient {
    PeerClient::new(Arc::new(tls::Connector::plain(&tls::ClientOptions::default())))
}

/// A member that answers each request with the same bytes, `per_connection` times on one connection.
/// Returns its URL and the count of connections.
async fn member(answer: Vec<u8>, per_connection: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = answer.clone();
            tokio::spawn(async move {
                for _ in 0..per_connection {
                    let mut request = Vec::new();
                    while !request.ends_with(b"\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => request.push(byte),
                            Err(_) => return,
                        }
                    }
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    (url, connections)
}

/// An answer with this body.
fn ok(body: &str) -> Vec<u8> {
    let cluster = "X-Etcd-Cluster-ID: cafe";
    format!("HTTP/1.1 200 OK\r\n{cluster}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn ask<'a>(url: &'a str, limit: Duration) -> Ask<'a> {
    let (headers, body) = (HeaderMap::new(), Bytes::new());
    Ask { method: Method::GET, url, path: "/x", headers, body, limit, answer_max: 10 }
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let (url, connections) = member(ok("hello"), usize::MAX).await;
    let client = client();
    for _ in 0..5 {
        let answer = client.ask(ask(&url, SECOND)).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (StatusCode::OK, "hello"));
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_is_replaced() {
    let (url, connections) = member(ok("hello"), 1).await;
    let client = client();
    for _ in 0..3 {
        client.ask(ask(&url, SECOND)).await.unwrap();
        // Until this side has noticed.
        while client.idle.lock().values().flatten().any(|kept| !kept.is_closed()) {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_is_too_long_late_or_absurd_is_an_error() {
    let client = client();
    let (url, _) = member(ok("more than ten bytes"), 1).await;
    let error = client.ask(ask(&url, SECOND)).await.err().unwrap();
    assert!(matches!(error, PeerError::TooLong(10)), "{error}");
    let (url, _) = member(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(), 2).await;
    let error = client.ask(ask(&url, Duration::from_millis(50))).await.err().unwrap();
    assert!(matches!(error, PeerError::Deadline), "{error}");
    let (url, _) = member(b"no HTTP at all\r\n\r\n".to_vec(), 1).await;
    let error = client.ask(ask(&url, SECOND)).await.err().unwrap();
    assert!(matches!(error, PeerError::Http(_)), "{error}");
    let error = client.ask(ask("ftp://a:1", SECOND)).await.err().unwrap();
    assert!(matches!(error, PeerError::Url(_)), "{error}");
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = client.ask(ask(&format!("http://{free}"), SECOND)).await.err().unwrap();
    assert!(matches!(error, PeerError::Dial(_)), "{error}");
}

#[tokio::test]
async fn the_first_url_that_answers_tells_the_cluster() {
    let client = client();
    let (broken, _) = member(ok("{}"), 9).await;
    let (empty, _) = member(ok("null\n"), 9).await;
    let (good, _) =
        member(ok("[{\"id\":7,\"peerURLs\":[\"http://a:1\"],\"name\":\"a\"}]\n"), 9).await;
    let urls = [broken.clone(), empty, good.clone()];
    let (cluster, members) = client.cluster_of(&urls, SECOND).await.expect("the third answers");
    assert_eq!(cluster, ClusterId(0xcafe));
    assert_eq!((members[0].id, members[0].name.as_str()), (MemberId(7), "a"));
    assert_eq!(client.cluster_of(&[broken], SECOND).await, None);
    assert_eq!(client.cluster_of(&[], SECOND).await, None);
}

#[tokio::test]
async fn versions_decide_who_may_join() {
    let client = client();
    let member_at = |url: &str| Member {
        id: MemberId(7),
        peer_urls: vec![url.to_owned()],
        ..Member::default()
    };
    let versions = r#"{"etcdserver":"3.5.30","etcdcluster":"3.5.0"}"#;
    let (url, _) = member(ok(versions), 9).await;
    let told = client.versions(&member_at(&url), SECOND).await.expect("it answers");
    assert_eq!((told.server.as_str(), told.cluster.as_str()), ("3.5.30", "3.5.0"));
    assert!(client.is_compatible(&[member_at(&url)], MemberId(8), SECOND).await);
    assert!(!client.is_compatible(&[member_at(&url)], MemberId(7), SECOND).await, "only itself");
    let (url, _) = member(ok(r#"{"etcdcluster":"3.9.0"}"#), 9).await;
    assert!(!client.is_compatible(&[member_at(&url)], MemberId(8), SECOND).await);
}

/// The ends of connections are noticed by the tasks that drive them.
#[tokio::test]
async fn connections_that_were_closed_are_forgotten() {
    let client = client();
    let (gone, _) = member(ok("once"), 1).await;
    let (stays, _) = member(ok("often"), 9).await;
    client.ask(ask(&gone, SECOND * 10)).await.unwrap();
    for _ in 0..1000 {
        client.ask(ask(&stays, SECOND * 10)).await.unwrap();
        let idle = client.idle.lock().keys().cloned().collect::<Vec<_>>();
        if idle == [stays.parse().unwrap()] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the closed connection is still kept");
}
