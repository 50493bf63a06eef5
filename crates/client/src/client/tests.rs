//! Calls against scripted servers: what is repeated, what is not, and who is asked.

use api::{
    error::Error as Etcd,
    etcdserverpb::{
        AuthenticateResponse, PutRequest, PutResponse, RangeResponse, SnapshotResponse,
        StatusRequest, StatusResponse,
    },
};
use tokio::net::TcpListener;
use tonic::Code;

use super::*;
use crate::{
    fake::{Fake, Received, Step, answer, fail, send},
    kv,
};

fn config(addresses: &[std::net::SocketAddr]) -> Config {
    let endpoints = addresses.iter().map(|address| Endpoint::parse(&address.to_string()));
    Config::new(endpoints.collect())
}

async fn client(servers: &[&Fake]) -> Client {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    Client::new(config(&addresses)).await.unwrap()
}

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() }
}

/// A script that answers every unary call it knows.
fn obliging(received: &Received) -> Vec<Step> {
    match received.method.as_str() {
        "KV/Put" => answer(&PutResponse::default()),
        "KV/Range" => answer(&RangeResponse { count: 7, ..RangeResponse::default() }),
        "Maintenance/Status" => answer(&StatusResponse::default()),
        "Auth/Authenticate" => {
            let token = format!("token-{}", received.before);
            answer(&AuthenticateResponse { token, ..AuthenticateResponse::default() })
        }
        other => panic!("no script for {other}"),
    }
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_not_sent_again() {
    let server = Fake::start(|_| vec![Step::Break]).await;
    let error = client(&[&server]).await.put(put("a")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(server.received("KV/Put").len(), 1);
}

#[tokio::test]
async fn a_read_whose_connection_breaks_is_sent_again() {
    let server = Fake::start(|received| match received.before {
        0 | 1 => vec![Step::Break],
        _ => obliging(received),
    })
    .await;
    let read = client(&[&server]).await.range(kv::get("a")).await.unwrap();
    assert_eq!(read.count, 7);
    assert_eq!(server.received("KV/Range").len(), 3);
}

#[tokio::test]
async fn a_write_goes_to_whoever_is_up() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    // Accepts connections and never says a word of HTTP/2.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let live = Fake::start(obliging).await;
    let addresses = [dead, mute.local_addr().unwrap(), live.address];
    let client = Client::new(config(&addresses)).await.unwrap();
    for _ in 0..4 {
        client.put(put("a")).await.unwrap();
    }
    assert_eq!(live.received("KV/Put").len(), 4);
    assert_eq!(live.connections(), 1);
}

#[tokio::test]
async fn calls_take_turns_and_wait_for_a_server_that_comes_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let early = Client::new(config(&[address])).await.unwrap();
    let waiting = tokio::spawn(async move { early.put(put("a")).await });
    tokio::task::yield_now().await;
    let late = Fake::serve(TcpListener::bind(address).await.unwrap(), obliging);
    waiting.await.unwrap().unwrap();

    let other = Fake::start(obliging).await;
    let both = client(&[&late, &other]).await;
    while late.received("Maintenance/Status").is_empty()
        || other.received("Maintenance/Status").is_empty()
    {
        both.status(StatusRequest {}).await.unwrap();
    }
}

#[tokio::test]
async fn a_learner_is_passed_over() {
    let learner = Fake::start(|_| fail(Etcd::NotSupportedForLearner)).await;
    let voter = Fake::start(obliging).await;
    let client = client(&[&learner, &voter]).await;
    while learner.received("KV/Put").is_empty() {
        client.put(put("a")).await.unwrap();
    }
}

#[tokio::test]
async fn a_password_becomes_a_token_again_when_it_is_refused() {
    let server = Fake::start(|received| match received.method.as_str() {
        "KV/Put" if received.header("token") == Some("token-0") => fail(Etcd::InvalidAuthToken),
        _ => obliging(received),
    })
    .await;
    let mut config = config(&[server.address]);
    config.credentials =
        Some(Credentials::Password { name: "u".to_owned(), password: "p".to_owned() });
    let client = Client::new(config).await.unwrap();
    client.put(put("a")).await.unwrap();
    client.put(put("b")).await.unwrap();
    let tokens: Vec<_> = server
        .received("KV/Put")
        .iter()
        .map(|put| put.header("token").map(str::to_owned))
        .collect();
    let [old, new] = ["token-0", "token-1"].map(|token| Some(token.to_owned()));
    assert_eq!(tokens, [old, new.clone(), new]);
    assert_eq!(server.received("Auth/Authenticate").len(), 2);
}

#[tokio::test]
async fn wrong_credentials_make_no_client_and_none_are_needed_without_authentication() {
    let refusing = Fake::start(|_| fail(Etcd::AuthFailed)).await;
    let mut settings = config(&[refusing.address]);
    settings.credentials =
        Some(Credentials::Password { name: "u".to_owned(), password: "p".to_owned() });
    let error = Client::new(settings.clone()).await.err().unwrap();
    assert!(error.is(Etcd::AuthFailed));
    let open = Fake::start(|_| fail(Etcd::AuthNotEnabled)).await;
    settings.endpoints = config(&[open.address]).endpoints;
    assert!(Client::new(settings.clone()).await.is_ok());
    settings.endpoints.clear();
    assert_eq!(Client::new(settings).await.err(), Some(Error::NoEndpoints));
}

#[tokio::test]
async fn metadata_of_calls() {
    let server = Fake::start(obliging).await;
    let client = client(&[&server]).await;
    client.put(put("a")).await.unwrap();
    let full = client.require_leader().with_v2_keys().with_timeout(Duration::from_secs(60));
    full.put(put("b")).await.unwrap();
    let [plain, full] = &server.received("KV/Put")[..] else { panic!("two puts") };
    assert_eq!(plain.header("client-api-version"), Some("3.7"));
    assert_eq!((plain.header("hasleader"), plain.header("grpc-timeout")), (None, None));
    assert_eq!(full.header("hasleader"), Some("true"));
    assert_eq!(
        (plain.header("oxetcd-v2-keys"), full.header("oxetcd-v2-keys")),
        (None, Some("true"))
    );
    assert!(full.header("grpc-timeout").is_some());
}

#[tokio::test]
async fn a_deadline_ends_a_call_and_says_why_nothing_was_connected() {
    let silent = Fake::start(|_| Vec::new()).await;
    let timeout = Duration::from_millis(100);
    let error = client(&[&silent]).await.with_timeout(timeout).put(put("a")).await.unwrap_err();
    assert_eq!(error, Error::DeadlineExceeded { connecting: None });
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nobody = Client::new(config(&[dead])).await.unwrap();
    let error = nobody.with_timeout(timeout).range(kv::get("a")).await.unwrap_err();
    let why =
        format!("transport: Error while dialing: dial tcp {dead}: connect: connection refused");
    assert_eq!(error, Error::DeadlineExceeded { connecting: Some(why) });
}

/// The timer alone would give it a millisecond, in which a server on the same machine answers.
#[tokio::test]
async fn a_deadline_that_has_passed_ends_a_call_before_it_begins() {
    let server = Fake::start(obliging).await;
    let client = client(&[&server]).await;
    client.put(put("a")).await.unwrap();
    let late = client.with_timeout(Duration::from_nanos(1));
    tokio::time::sleep(Duration::from_millis(1)).await;
    let error = late.put(put("b")).await.unwrap_err();
    assert_eq!(error, Error::DeadlineExceeded { connecting: None });
    assert_eq!(server.received("KV/Put").len(), 1);
}

#[tokio::test]
async fn messages_have_limits() {
    let server = Fake::start(obliging).await;
    let mut small = config(&[server.address]);
    (small.max_request_bytes, small.max_recv_bytes) = (5, 1);
    let client = Client::new(small).await.unwrap();
    let error = client.put(put("a")).await.unwrap_err();
    assert_eq!(error.message(), "trying to send message larger than max (6 vs. 5)");
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(server.received("KV/Put").is_empty());
    let error = client.range(kv::get("a")).await.unwrap_err();
    assert_eq!(error.message(), "grpc: received message larger than max (2 vs. 1)");
}

#[tokio::test]
async fn a_refused_stream_was_not_processed_and_goes_out_again() {
    let server = Fake::start(|received| match received.before {
        0 => vec![Step::Refuse],
        _ => obliging(received),
    })
    .await;
    client(&[&server]).await.put(put("a")).await.unwrap();
    assert_eq!(server.received("KV/Put").len(), 2);
}

#[tokio::test]
async fn a_snapshot_begins_again_until_its_first_piece() {
    let piece = |text: &'static str| {
        send(&SnapshotResponse { blob: text.into(), ..SnapshotResponse::default() })
    };
    let server = Fake::start(move |received| match received.before {
        0 => vec![Step::Break],
        1 => vec![piece("one"), piece("two"), Step::Status(0, "")],
        _ => vec![piece("three"), Step::Break],
    })
    .await;
    let client = client(&[&server]).await;
    let mut whole = client.snapshot().await.unwrap();
    let mut blobs = Vec::new();
    while let Some(piece) = whole.next().await.unwrap() {
        blobs.push(piece.blob);
    }
    assert_eq!(blobs, ["one", "two"]);
    let mut torn = client.snapshot().await.unwrap();
    assert_eq!(torn.next().await.unwrap().unwrap().blob, "three");
    assert_eq!(torn.next().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn endpoints_can_be_replaced() {
    let (first, second) = (Fake::start(obliging).await, Fake::start(obliging).await);
    let client = client(&[&first]).await;
    client.put(put("a")).await.unwrap();
    client.set_endpoints(config(&[second.address]).endpoints).unwrap();
    client.put(put("b")).await.unwrap();
    assert_eq!((first.received("KV/Put").len(), second.received("KV/Put").len()), (1, 1));
    assert_eq!(client.set_endpoints(Vec::new()), Err(Error::NoEndpoints));
}
