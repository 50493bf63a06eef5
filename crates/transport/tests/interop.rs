//! A real etcd at the other end: the member here answers as a follower would.

mod harness;
#[path = "harness/reference.rs"]
mod reference;

use std::{io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use api::{
    ids::{ClusterId, MemberId},
    raftpb::{Message, MessageType, Snapshot, SnapshotMetadata},
};
use harness::{Member, plain, until};
use reference::{Etcd, binary, free_address};
use tokio::{runtime::Handle, task::JoinHandle};
use transport::{SnapshotBody, Timing};

const TOKEN: &str = "etcd-cluster";
/// What the file format of a database starts with, behind the header of its first page.
const BBOLT_MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();

fn answer_to(message: &Message) -> Option<Message> {
    use MessageType::*;
    let last = message.entries.last().map_or(message.index, |entry| entry.index);
    let (kind, index) = match message.r#type() {
        MsgPreVote => (MsgPreVoteResp, 0),
        MsgVote => (MsgVoteResp, 0),
        MsgApp => (MsgAppResp, last),
        MsgHeartbeat => (MsgHeartbeatResp, 0),
        MsgSnap => (MsgAppResp, message.snapshot.as_ref()?.metadata.as_ref()?.index),
        _ => return None,
    };
    let (to, from, term) = (message.from, message.to, message.term);
    let context = message.context.clone();
    let r#type = kind as i32;
    Some(Message { r#type, to, from, term, index, context, ..Message::default() })
}

/// A follower that has nothing below `first`: it asks for what comes before.
fn reject_before(message: &Message, first: u64) -> Option<Message> {
    let is_append = message.r#type() == MessageType::MsgApp;
    let mut answer = answer_to(message)?;
    if is_append && message.index < first {
        (answer.reject, answer.reject_hint, answer.index) = (true, 0, message.index);
    }
    Some(answer)
}

/// Answers everything that arrives, by `reply`.
fn follow(
    member: &Arc<Member>,
    reply: impl Fn(&Message) -> Option<Message> + Send + 'static,
) -> JoinHandle<()> {
    let member = member.clone();
    tokio::spawn(async move {
        let mut answered = 0;
        loop {
            let arrived: Vec<Message> = member.sink.messages.lock()[answered..].to_vec();
            answered += arrived.len();
            member.transport.send(arrived.iter().filter_map(&reply).collect());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
}

async fn fake(id: MemberId, cluster: ClusterId, bind: SocketAddr) -> Arc<Member> {
    let dial = (plain(), None);
    Arc::new(Member::start_with(id, cluster, bind, Timing::default(), dial).await)
}

fn has_entry(messages: &[Message], data: &[u8]) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(data.len()).any(|window| window == data);
    messages.iter().any(|message| message.entries.iter().any(|entry| holds(&entry.data)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_etcd_leads_a_cluster_of_itself_and_us() {
    let Some(binary) = binary() else { return };
    let address = free_address();
    let url = format!("http://{address}");
    let etcd = Etcd::start(&binary, &[("fake", url.clone())], &[]);
    let real_urls = [format!("http://{}", etcd.peer)];
    let real = membership::member_id(&real_urls, TOKEN, None);
    let ours = membership::member_id(&[url], TOKEN, None);
    let cluster = membership::cluster_id([real, ours]);

    let member = fake(ours, cluster, address).await;
    member.transport.add_peer(real, &real_urls).unwrap();
    let follower = follow(&member, answer_to);
    until("streams", || member.transport.has_streams(real)).await;
    etcd.call("/v3/kv/put", r#"{"key":"a2V5","value":"dmFsdWUtb2YtYS1wdXQ="}"#).await;
    assert!(has_entry(&member.received(), b"value-of-a-put"));
    let came = |kind| member.received().iter().any(|message| message.r#type() == kind);
    assert!(came(MessageType::MsgVote));
    until("heartbeats", || came(MessageType::MsgHeartbeat)).await;

    // Large values go both through msgappv2 frames and around its buffers.
    let large = "A".repeat(1_200_000);
    etcd.call("/v3/kv/put", &format!(r#"{{"key":"a2V5","value":"{large}"}}"#)).await;
    for count in 0..50 {
        let json = format!(r#"{{"key":"a2V5","value":"{}"}}"#, "QUJD".repeat(count));
        etcd.call("/v3/kv/put", &json).await;
    }

    // A database from a member that does not lead is taken, and ignored by raft.
    let term = member.received().last().unwrap().term;
    let metadata = SnapshotMetadata { index: 1, term: 1, conf_state: None };
    let snapshot = Some(Snapshot { metadata: Some(metadata), ..Snapshot::default() });
    let r#type = MessageType::MsgSnap as i32;
    let message =
        Message { r#type, from: ours.0, to: real.0, term, snapshot, ..Message::default() };
    let body = SnapshotBody::from_writer(&Handle::current(), |out| out.write_all(&[7; 3_000_000]));
    member.transport.send_snapshot(message, 3_000_000, body);
    until("the end of the transfer", || !member.sink.statuses.lock().is_empty()).await;
    assert_eq!(*member.sink.statuses.lock(), [(real, true)]);
    assert!(etcd.log().contains("received and saved database snapshot"));
    assert!(member.sink.unreachable.lock().is_empty());
    assert!(member.transport.active_since(real).is_some());
    follower.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_etcd_sends_its_database() {
    let Some(binary) = binary() else { return };
    let version = std::process::Command::new(&binary).arg("--version").output().unwrap();
    let is_new = !String::from_utf8_lossy(&version.stdout).contains("etcd Version: 3.5");
    let catch_up = if is_new {
        "--snapshot-catchup-entries"
    } else {
        "--experimental-snapshot-catchup-entries"
    };
    let etcd = Etcd::start(&binary, &[], &["--snapshot-count", "10", catch_up, "2"]);
    for _ in 0..if is_new { 130 } else { 40 } {
        etcd.call("/v3/kv/put", r#"{"key":"a2V5","value":"dmFsdWU="}"#).await;
    }
    let address = free_address();
    let json = format!(r#"{{"peerURLs":["http://{address}"],"isLearner":true}}"#);
    let added = etcd.call("/v3/cluster/member/add", &json).await;
    let id = |value: &serde_json::Value| value.as_str().unwrap().parse::<u64>().unwrap();
    let (ours, cluster) = (id(&added["member"]["ID"]), id(&added["header"]["cluster_id"]));
    let real = MemberId(id(&added["header"]["member_id"]));

    let member = fake(MemberId(ours), ClusterId(cluster), address).await;
    member.transport.add_peer(real, &[format!("http://{}", etcd.peer)]).unwrap();
    let saved = member.sink.saved.clone();
    let follower = follow(&member, move |message| {
        let first = saved.lock().first().map_or(u64::MAX, |(index, _)| index.0);
        reject_before(message, first)
    });
    until("the database", || !member.sink.saved.lock().is_empty()).await;
    etcd.call("/v3/kv/put", r#"{"key":"a2V5","value":"YWZ0ZXItdGhlLXNuYXBzaG90"}"#).await;
    until("the entry after", || has_entry(&member.received(), b"after-the-snapshot")).await;

    let (index, database) = member.sink.saved.lock()[0].clone();
    assert!(database.len() >= 8192 && database[16..20] == BBOLT_MAGIC);
    let received = member.received();
    let snapshot = received.iter().find_map(|message| message.snapshot.clone()).unwrap();
    assert_eq!(snapshot.metadata.as_ref().unwrap().index, index.0);
    assert!(snapshot.metadata.unwrap().conf_state.unwrap().learners == [ours]);
    assert!(String::from_utf8_lossy(&snapshot.data).contains(&address.to_string()));
    until("its log", || etcd.log().contains("sent database snapshot")).await;
    follower.abort();
}
