//! Renewals against scripted servers.

use super::*;
use crate::{
    config::Config,
    endpoint::Endpoint,
    fake::{Fake, Step, send},
};

const METHOD: &str = "Lease/LeaseKeepAlive";

async fn client(server: &Fake) -> Client {
    let endpoint = Endpoint::parse(&server.address.to_string());
    Client::new(Config::new(vec![endpoint])).await.unwrap()
}

fn renewed(id: i64, ttl: i64) -> Step {
    send(&LeaseKeepAliveResponse { header: None, id, ttl })
}

#[tokio::test]
async fn renewals_survive_a_lost_connection_and_end_with_the_lease() {
    let server = Fake::start(|received| match received.before {
        0 | 2 => vec![renewed(4, 1)],
        1 => vec![Step::Break],
        _ => vec![renewed(4, 0)],
    })
    .await;
    let mut renewals = client(&server).await.keep_alive(4);
    assert_eq!(renewals.next().await.map(|answer| answer.ttl), Some(1));
    assert_eq!(renewals.next().await.map(|answer| answer.ttl), Some(1));
    assert!(renewals.next().await.is_none());
    assert!(renewals.next().await.is_none());
    assert_eq!(server.received(METHOD).len(), 4);
    assert_eq!(server.received(METHOD)[0].header("hasleader"), Some("true"));
}

#[tokio::test]
async fn without_an_answer_a_lease_is_lost_after_its_time() {
    let server = Fake::start(|received| match received.before {
        0 => vec![renewed(4, 1)],
        _ => Vec::new(),
    })
    .await;
    let mut renewals = client(&server).await.keep_alive(4);
    assert!(renewals.next().await.is_some());
    assert!(renewals.next().await.is_none());
    // It did try.
    assert!(server.received(METHOD).len() > 1);
}

#[tokio::test]
async fn one_renewal_tells_of_a_lease_that_is_gone() {
    let server = Fake::start(|received| match received.before {
        0 => vec![Step::Break],
        1 => vec![renewed(4, 30)],
        _ => vec![renewed(4, 0)],
    })
    .await;
    let client = client(&server).await;
    assert_eq!(client.keep_alive_once(4).await.unwrap().ttl, 30);
    let gone = client.keep_alive_once(4).await.unwrap_err();
    assert!(gone.is(api::error::Error::LeaseNotFound));
}
