//! Watches against scripted servers.

use api::{etcdserverpb::WatchRequest, kv::KeyValue};

use super::*;
use crate::{
    config::Config,
    endpoint::Endpoint,
    fake::{Fake, Received, Step, send},
};

const METHOD: &str = "Watch/Watch";

async fn client(server: &Fake) -> Client {
    let endpoint = Endpoint::parse(&server.address.to_string());
    Client::new(Config::new(vec![endpoint])).await.unwrap()
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

fn created(revision: i64) -> Step {
    send(&Message { header: header(revision), created: true, ..Message::default() })
}

fn event(revision: i64) -> Event {
    let kv = KeyValue { key: "k".into(), mod_revision: revision, ..KeyValue::default() };
    Event { kv: Some(kv.to_raw()), ..Event::default() }
}

fn events(revisions: &[i64], fragment: bool) -> Step {
    send(&Message {
        header: header(*revisions.last().unwrap()),
        events: revisions.iter().copied().map(event).collect(),
        fragment,
        ..Message::default()
    })
}

/// The revision that a request asks to begin at.
fn start(received: &Received) -> i64 {
    match received.decode::<WatchRequest>().request_union {
        Some(RequestUnion::CreateRequest(create)) => create.start_revision,
        other => panic!("not a request to create: {other:?}"),
    }
}

fn revisions(response: &WatchResponse) -> Vec<i64> {
    let decode = |event: &Event| event.kv.as_ref().unwrap().decode().unwrap().mod_revision;
    response.events.iter().map(decode).collect()
}

#[tokio::test]
async fn a_lost_watch_begins_after_what_was_delivered() {
    let server = Fake::start(|received| match received.before {
        0 => vec![created(5), Step::Break],
        1 => vec![created(5), events(&[6, 7], false), Step::Break],
        2 => vec![created(9), events(&[8, 8], true), Step::Break],
        _ => vec![created(9), events(&[8, 8], true), events(&[8, 9], false)],
    })
    .await;
    let mut watcher = client(&server).await.watch(WatchCreateRequest::default()).await;
    assert_eq!(revisions(&watcher.next().await.unwrap()), [6, 7]);
    // Half a revision is never delivered, and never twice.
    assert_eq!(revisions(&watcher.next().await.unwrap()), [8, 8, 8, 9]);
    let starts: Vec<_> = server.received(METHOD).iter().map(start).collect();
    assert_eq!(starts, [0, 6, 8, 8]);
}

#[tokio::test]
async fn a_given_revision_is_kept_until_events_pass_it() {
    let server = Fake::start(|received| match received.before {
        0 => vec![created(20), Step::Break],
        1 => vec![created(20), events(&[3], false), Step::Break],
        _ => vec![created(20)],
    })
    .await;
    let request = WatchCreateRequest { start_revision: 3, ..WatchCreateRequest::default() };
    let mut watcher = client(&server).await.watch(request).await;
    assert_eq!(revisions(&watcher.next().await.unwrap()), [3]);
    let waiting = tokio::spawn(async move { watcher.next().await.is_none() });
    while server.received(METHOD).len() < 3 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    let starts: Vec<_> = server.received(METHOD).iter().map(start).collect();
    assert_eq!(starts, [3, 3, 4]);
}

#[tokio::test]
async fn progress_is_told_and_moves_the_watch_on() {
    let server = Fake::start(|received| match received.before {
        0 => vec![created(5)],
        1 => vec![
            send(&Message { header: header(12), watch_id: NO_WATCH, ..Message::default() }),
            Step::Break,
        ],
        _ => vec![created(12)],
    })
    .await;
    let mut watcher = client(&server).await.watch(WatchCreateRequest::default()).await;
    watcher.progress_handle().request().await;
    let progress = watcher.next().await.unwrap();
    assert!(progress.is_progress() && progress.header.revision == 12);
    let waiting = tokio::spawn(async move { watcher.next().await.is_none() });
    while server.received(METHOD).len() < 3 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert_eq!(start(&server.received(METHOD)[2]), 13);
}

#[tokio::test]
async fn the_end_of_a_watch_has_its_reason() {
    let refused = |reason: &str| {
        send(&Message {
            created: true,
            canceled: true,
            watch_id: NO_WATCH,
            cancel_reason: reason.to_owned(),
            ..Message::default()
        })
    };
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    let server = Fake::start(move |received| match received.before {
        0 => vec![refused(denied)],
        1 => vec![refused("etcdserver: mvcc: required revision has been compacted")],
        2 => vec![
            created(9),
            send(&Message { compact_revision: 7, canceled: true, ..Message::default() }),
        ],
        3 => vec![created(9), send(&Message { canceled: true, ..Message::default() })],
        4 => crate::fake::fail(api::error::Error::NoLeader),
        _ => vec![Step::Status(12, "unknown service")],
    })
    .await;
    let client = client(&server).await;
    let mut ends = Vec::new();
    for _ in 0..6 {
        let mut watcher = client.watch(WatchCreateRequest::default()).await;
        let response = watcher.next().await;
        assert!(response.as_ref().is_none_or(|response| response.canceled));
        ends.push(response.and_then(|response| response.error()).map(|error| error.to_string()));
        assert!(watcher.next().await.is_none());
    }
    let texts: Vec<_> = ends.iter().map(|end| end.as_deref().unwrap_or("-")).collect();
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    let unknown = "rpc error: code = Unimplemented desc = unknown service";
    assert_eq!(texts, [denied, compacted, compacted, "-", "etcdserver: no leader", unknown]);
}
