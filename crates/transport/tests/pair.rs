//! Two members over loopback: everything that goes between them, and what happens when it cannot.

mod harness;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use api::{
    ids::{ClusterId, MemberId, RaftIndex},
    raftpb::{Message, MessageType, Snapshot, SnapshotMetadata},
};
use bytes::Bytes;
use harness::{CLUSTER, Member, append, message, pair, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
};
use transport::{
    SnapshotBody,
    config::{SNAPSHOTS_OF_STRANGERS_MAX, STREAM_MESSAGES_MAX},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_carry_everything_in_order() {
    let (a, b) = pair().await;
    let mut appends = Vec::new();
    for index in 0..3000 {
        appends.push(append(&a, &b, index, Bytes::from(vec![index as u8; index as usize % 300])));
    }
    for batch in appends.chunks(100) {
        let mut batch = batch.to_vec();
        batch.push(message(MessageType::MsgHeartbeat, &a, &b, 0));
        a.transport.send(batch);
        tokio::task::yield_now().await;
    }
    until("all messages", || b.received().len() == 3030).await;
    let received = b.received();
    let (got, heartbeats): (Vec<Message>, Vec<Message>) =
        received.into_iter().partition(|message| message.r#type() == MessageType::MsgApp);
    assert_eq!(got, appends);
    assert_eq!(heartbeats.len(), 30);
    assert!(a.sink.unreachable.lock().is_empty());
    let sent = || a.transport.stats().peer(b.id).sent_bytes.get();
    until("equal counts", || b.transport.stats().peer(a.id).received_bytes.get() == sent()).await;
    assert!(sent() >= 3000 * 150, "{}", sent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_arrive_whole() {
    let (a, b) = pair().await;
    let sizes = [3_000_000, 16 * 1024, 16 * 1024 - 1, 0, 700_000];
    let messages: Vec<Message> = (0..)
        .zip(sizes)
        .map(|(index, size)| append(&a, &b, index, Bytes::from(vec![index as u8; size])))
        .collect();
    a.transport.send(messages.clone());
    until("all entries", || b.received().len() == sizes.len()).await;
    assert_eq!(b.received(), messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_link_stays_up() {
    let (a, b) = pair().await;
    let since = (a.transport.active_since(b.id), b.transport.active_since(a.id));
    tokio::time::sleep(harness::timing().stalled * 2).await;
    assert_eq!(since, (a.transport.active_since(b.id), b.transport.active_since(a.id)));
    assert!(since.0.is_some() && a.transport.active_peers() == 1);
    assert!(b.received().is_empty(), "link heartbeats are not for raft");
    until("probes", || a.transport.stats().peer(b.id).round_trip.read().count > 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_know_us_is_reached_by_posts_and_can_answer() {
    let (a, b) = (Member::start(1).await, Member::start(2).await);
    a.knows(&b);
    a.transport.send(vec![message(MessageType::MsgHeartbeat, &a, &b, 5)]);
    until("the post", || b.received().len() == 1).await;
    assert_eq!(b.transport.peer_ids(), []);
    b.transport.send(vec![message(MessageType::MsgHeartbeatResp, &b, &a, 6)]);
    until("the answer", || a.received().len() == 1).await;
    assert_eq!(a.received()[0].index, 6);
    assert!(!a.transport.has_streams(b.id));
    assert_eq!(b.transport.active_since(a.id), None, "a remote is no peer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_comes_back_is_found_again() {
    let (a, mut b) = pair().await;
    b.transport.remove_all();
    b.stop_listening().await;
    until("loss", || a.transport.active_since(b.id).is_none()).await;
    assert_eq!(a.transport.stats().peer(b.id).active.get(), 0);
    until("unreachable", || {
        a.transport.send(vec![append(&a, &b, 0, Bytes::from_static(b"lost"))]);
        !a.sink.unreachable.lock().is_empty()
    })
    .await;
    b.listen_again().await;
    b.knows(&a);
    until("streams", || a.transport.has_streams(b.id) && b.transport.has_streams(a.id)).await;
    b.sink.messages.lock().clear();
    a.transport.send(vec![append(&a, &b, 1, Bytes::from_static(b"found"))]);
    until("delivery", || b.received().len() == 1).await;
    assert!(a.transport.stats().peer(b.id).disconnected.get() >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_costs_a_bounded_queue_and_is_cut_off() {
    let a = Member::start(1).await;
    let nowhere = "http://127.0.0.1:1".to_owned();
    a.transport.add_peer(MemberId(2), &[nowhere]).unwrap();
    let mut stuck = TcpStream::connect(a.address).await.unwrap();
    let request = "GET /raft/stream/message/2 HTTP/1.1\r\nHost: a\r\nX-Server-Version: 3.5.0\r\n\
         X-Etcd-Cluster-ID: c1\r\nX-Raft-To: 1\r\n\r\n";
    stuck.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    stuck.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");

    let payload = Bytes::from(vec![0; 32 * 1024]);
    let stats = a.transport.stats().peer(MemberId(2));
    let pushed = 3 * STREAM_MESSAGES_MAX;
    for index in 0..pushed as u64 {
        let to_two = Message { to: 2, ..append(&a, &a, index, payload.clone()) };
        a.transport.send(vec![to_two]);
    }
    let dropped = stats.sent_failures.get() as usize;
    assert!(dropped > STREAM_MESSAGES_MAX, "{dropped}");
    assert_eq!(a.sink.unreachable.lock().len(), dropped);
    assert!(stats.sent_bytes.get() < 64 << 20, "encoded ahead: {}", stats.sent_bytes.get());
    // Within the deadline of a write the connection is given up, and its queue with it.
    until("the cut", || stats.sent_failures.get() as usize > dropped).await;
    let mut rest = Vec::new();
    let _reset = tokio::time::timeout(Duration::from_secs(20), stuck.read_to_end(&mut rest))
        .await
        .expect("the connection was not closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_stream_replaces_the_older() {
    let (a, b) = pair().await;
    let mut taken = TcpStream::connect(a.address).await.unwrap();
    let request = "GET /raft/stream/message/2 HTTP/1.1\r\nHost: a\r\nX-Server-Version: 3.5.0\r\n\
         X-Etcd-Cluster-ID: c1\r\nX-Raft-To: 1\r\n\r\n";
    taken.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 15];
    taken.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    // B finds its stream ended, asks again, and so takes it back.
    let mut rest = Vec::new();
    taken.read_to_end(&mut rest).await.unwrap();
    until("streams", || a.transport.has_streams(b.id)).await;
    a.transport.send(vec![message(MessageType::MsgHeartbeat, &a, &b, 5)]);
    until("delivery", || b.received().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_learns_of_it_by_each_way() {
    let (a, b) = (Member::start(1).await, Member::start(2).await);
    b.sink.removed.lock().insert(a.id);
    a.knows(&b);
    until("410 to the stream", || a.sink.removed_calls.load(Relaxed) >= 2).await;
    assert!(a.sink.unreachable.lock().is_empty(), "nothing was posted yet");
    a.transport.send(vec![message(MessageType::MsgHeartbeat, &a, &b, 0)]);
    until("500 to the post", || !a.sink.unreachable.lock().is_empty()).await;
    assert!(b.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_clusters_are_not_talked_to() {
    let (a, b) = (Member::start(1).await, Member::start_in(2, ClusterId(0xc2)).await);
    a.knows(&b);
    b.knows(&a);
    a.transport.send(vec![message(MessageType::MsgHeartbeat, &a, &b, 0)]);
    until("refusal", || !a.sink.unreachable.lock().is_empty()).await;
    assert!(b.received().is_empty() && !a.transport.has_streams(b.id));
    assert_eq!(a.sink.removed_calls.load(Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_peer_is_silent_until_mended() {
    let (a, b) = pair().await;
    a.transport.cut(b.id);
    a.transport.send(vec![message(MessageType::MsgHeartbeat, &a, &b, 1)]);
    b.transport.send(vec![message(MessageType::MsgHeartbeat, &b, &a, 2)]);
    let stats = a.transport.stats().peer(b.id);
    until("arrival", || stats.received_bytes.get() > 0).await;
    a.transport.mend(b.id);
    a.transport.send(vec![message(MessageType::MsgHeartbeat, &a, &b, 3)]);
    b.transport.send(vec![message(MessageType::MsgHeartbeat, &b, &a, 4)]);
    until("delivery", || b.received().len() == 1 && a.received().len() == 1).await;
    assert_eq!((b.received()[0].index, a.received()[0].index), (3, 4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_come_and_go() {
    let (a, b) = pair().await;
    a.transport.remove_peer(b.id);
    a.transport.remove_peer(b.id);
    until("loss", || !b.transport.has_streams(a.id)).await;
    a.transport.send(vec![message(MessageType::MsgHeartbeat, &a, &b, 1)]);
    a.transport.add_peer(b.id, &["http://127.0.0.1:1".to_owned()]).unwrap();
    assert!(a.transport.add_peer(b.id, &["nonsense".to_owned()]).is_err());
    a.transport.update_peer(b.id, &b.urls()).unwrap();
    until("streams", || a.transport.has_streams(b.id) && b.transport.has_streams(a.id)).await;
    a.transport.stop();
    a.transport.add_peer(b.id, &b.urls()).unwrap();
    assert_eq!(a.transport.peer_ids(), []);
    until("loss", || b.transport.active_since(a.id).is_none()).await;
}

fn snapshot_message(from: &Member, to: &Member, index: u64) -> Message {
    let metadata = SnapshotMetadata { index, term: 1, conf_state: None };
    let data = Bytes::from_static(b"{\"members\":{}}");
    let snapshot = Some(Snapshot { data, metadata: Some(metadata) });
    Message { snapshot, ..message(MessageType::MsgSnap, from, to, 0) }
}

/// A database of `size` bytes that no two chunks of are equal.
fn database(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 7 + at / 4096) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_arrives_whole_before_its_message() {
    let (a, b) = pair().await;
    let bytes = database(5_000_001);
    let written = bytes.clone();
    let body = SnapshotBody::from_writer(&Handle::current(), move |out| {
        out.write_all(&written[..1_000_000])?;
        out.write_chunk(Bytes::copy_from_slice(&written[1_000_000..2_000_000]))?;
        out.write_all(&written[2_000_000..])
    });
    let sent = snapshot_message(&a, &b, 99);
    a.transport.send_snapshot(sent.clone(), bytes.len() as u64, body);
    until("status", || *a.sink.statuses.lock() == [(b.id, true)]).await;
    assert_eq!(b.received(), [sent]);
    assert!(*b.sink.saved.lock() == [(RaftIndex(99), bytes)]);
    let (sender, receiver) = (a.transport.stats().peer(b.id), b.transport.stats().peer(a.id));
    assert_eq!((sender.snapshot_send_success.get(), sender.snapshot_send_inflight.get()), (1, 0));
    assert_eq!(receiver.snapshot_receive_success.get(), 1);
    assert_eq!(receiver.snapshot_receive_inflight.get(), 0);
    assert_eq!(receiver.snapshot_receive_took.read().count, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_breaks_off_leaves_nothing() {
    let (a, b) = pair().await;
    let body = SnapshotBody::from_writer(&Handle::current(), move |out| {
        out.write_all(&database(1_000_000))?;
        Err(io::Error::other("the store went away"))
    });
    a.transport.send_snapshot(snapshot_message(&a, &b, 7), 2_000_000, body);
    until("status", || *a.sink.statuses.lock() == [(b.id, false)]).await;
    until("discard", || b.sink.discarded.load(Relaxed) == 1).await;
    assert!(b.received().is_empty() && b.sink.saved.lock().is_empty());
    assert_eq!(*a.sink.unreachable.lock(), [b.id]);
    assert_eq!(a.transport.stats().peer(b.id).snapshot_send_failures.get(), 1);
    until("count", || b.transport.stats().peer(a.id).snapshot_receive_failures.get() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_to_the_sender() {
    let (a, b) = pair().await;
    *b.sink.disk_fails_after.lock() = Some(100_000);
    let body =
        SnapshotBody::from_writer(&Handle::current(), move |out| out.write_all(&database(400_000)));
    a.transport.send_snapshot(snapshot_message(&a, &b, 7), 400_000, body);
    until("status", || *a.sink.statuses.lock() == [(b.id, false)]).await;
    assert!(b.received().is_empty() && b.sink.discarded.load(Relaxed) == 1);
    assert_eq!(b.transport.stats().peer(a.id).snapshot_receive_inflight.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transfer_reports_its_end() {
    let (a, b) = pair().await;
    let body = || {
        SnapshotBody::from_writer(&Handle::current(), |_| {
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        })
    };
    a.transport.send_snapshot(snapshot_message(&a, &b, 7), 0, body());
    a.transport.remove_peer(b.id);
    until("the end by removal", || *a.sink.statuses.lock() == [(b.id, false)]).await;
    a.transport.send_snapshot(snapshot_message(&a, &b, 7), 0, body());
    assert_eq!(*a.sink.statuses.lock(), [(b.id, false); 2], "an unknown peer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let hosts = ["127.0.0.1".to_owned()];
    let files = tls::self_signed::open(folder.path(), &hosts, 1).unwrap();
    let start = |id| {
        let server = tls::ServerOptions::new(&files.cert, &files.key);
        let client =
            tls::ClientOptions { insecure_skip_verify: true, ..tls::ClientOptions::default() };
        let dial = std::sync::Arc::new(tls::Connector::new(client).unwrap());
        let acceptor = tls::Acceptor::tls(server).unwrap();
        let bind = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let with = (dial as std::sync::Arc<dyn transport::Dial>, Some(acceptor));
        Member::start_with(MemberId(id), harness::CLUSTER, bind, harness::timing(), with)
    };
    let (a, b) = (start(1).await, start(2).await);
    a.knows(&b);
    b.knows(&a);
    until("streams", || a.transport.has_streams(b.id) && b.transport.has_streams(a.id)).await;
    let messages: Vec<Message> = (0..)
        .zip([1, 100_000, 2_000_000, 10])
        .map(|(index, size)| append(&a, &b, index, Bytes::from(database(size))))
        .collect();
    a.transport.send(messages.clone());
    let body =
        SnapshotBody::from_writer(&Handle::current(), |out| out.write_all(&database(900_000)));
    until("all entries", || b.received().len() == 4).await;
    assert_eq!(b.received(), messages);
    a.transport.send_snapshot(snapshot_message(&a, &b, 5), 900_000, body);
    until("status", || *a.sink.statuses.lock() == [(b.id, true)]).await;
    assert!(*b.sink.saved.lock() == [(RaftIndex(5), database(900_000))]);
    until("probes", || a.transport.stats().peer(b.id).round_trip.read().count > 1).await;

    let plain = Member::start(3).await;
    plain.transport.add_peer(b.id, &[format!("http://{}", b.address)]).unwrap();
    plain.transport.send(vec![message(MessageType::MsgHeartbeat, &plain, &b, 0)]);
    until("refusal", || !plain.sink.unreachable.lock().is_empty()).await;
    assert_eq!(b.received().len(), 5);
}

/// Connections that nothing is known of, each with the head of a database that never comes.
async fn hold_places(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /raft/snapshot HTTP/1.1\r\nHost: a\r\nX-Etcd-Cluster-ID: {CLUSTER}\r\n\
             X-Server-Version: 3.5.0\r\nX-Min-Cluster-Version: 3.0.0\r\n\
             Content-Length: 1000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_keep_a_database_of_a_member_away() {
    let (a, b) = pair().await;
    let failures = &b.transport.stats().unknown_snapshot_failures;
    let held = hold_places(b.address, SNAPSHOTS_OF_STRANGERS_MAX + 1).await;
    until("the last of them is refused", || failures.get() == 1).await;
    let body = SnapshotBody::from_writer(&Handle::current(), |out| out.write_all(&database(1000)));
    a.transport.send_snapshot(snapshot_message(&a, &b, 9), 1000, body);
    until("status", || *a.sink.statuses.lock() == [(b.id, true)]).await;
    assert!(*b.sink.saved.lock() == [(RaftIndex(9), database(1000))]);
    drop(held);
}
