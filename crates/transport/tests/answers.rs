//! The answers of the peer surface, request by request. The same table is asked of a real etcd,
//! if there is one.

mod harness;
#[path = "harness/reference.rs"]
mod reference;

use std::net::SocketAddr;

use api::{
    ids::MemberId,
    raftpb::{Message, MessageType, Snapshot, SnapshotMetadata},
};
use harness::{Member, until};
use prost::Message as _;
use reference::{Answer, Etcd, ask};

const TEXT: &str = "text/plain; charset=utf-8";

/// A request and the answer to it.
struct Case {
    what: &'static str,
    line: &'static str,
    /// Headers by name; `{cluster}` and `{member}` stand for the ids of who is asked.
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    status: u16,
    content_type: Option<&'static str>,
    answer: String,
    /// Whether the answer names the cluster.
    names_cluster: bool,
}

/// What a member of the same cluster and version sends.
const GOOD: [(&str, &str); 3] = [
    ("X-Etcd-Cluster-ID", "{cluster}"),
    ("X-Server-Version", "3.5.0"),
    ("X-Min-Cluster-Version", "3.0.0"),
];

fn case(what: &'static str, line: &'static str, status: u16, answer: &str) -> Case {
    Case {
        what,
        line,
        headers: GOOD.to_vec(),
        body: Vec::new(),
        status,
        content_type: Some(TEXT),
        answer: answer.to_owned(),
        names_cluster: true,
    }
}

impl Case {
    fn with(mut self, name: &'static str, value: &'static str) -> Case {
        self.headers.retain(|(key, _)| *key != name);
        self.headers.push((name, value));
        self
    }

    fn without(mut self, name: &'static str) -> Case {
        self.headers.retain(|(key, _)| *key != name);
        self
    }

    fn posting(mut self, body: impl Into<Vec<u8>>) -> Case {
        self.body = body.into();
        self
    }

    fn bare(mut self) -> Case {
        self.names_cluster = false;
        self
    }

    fn of_type(mut self, content_type: Option<&'static str>) -> Case {
        self.content_type = content_type;
        self
    }

    async fn ask(&self, address: SocketAddr, cluster: &str, member: &str) -> Option<Answer> {
        let mut request = format!("{} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", self.line);
        for (name, value) in &self.headers {
            let value = value.replace("{cluster}", cluster).replace("{member}", member);
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        ask(address, &[request.as_bytes(), b"\r\n", &self.body].concat()).await
    }

    fn check(&self, answer: &Answer, cluster: &str) {
        let what = self.what;
        assert_eq!((answer.status, &answer.body), (self.status, &self.answer), "{what}");
        assert_eq!(answer.header("content-type"), self.content_type, "{what}");
        let cluster = self.names_cluster.then_some(cluster);
        assert_eq!(answer.header("x-etcd-cluster-id"), cluster, "{what}");
        let nosniff = self.content_type == Some(TEXT);
        assert_eq!(answer.header("x-content-type-options").is_some(), nosniff, "{what}");
        let is_stream = self.line.contains("/stream/") && self.names_cluster;
        assert_eq!(answer.header("x-server-version").is_some(), is_stream, "{what}");
        if self.status == 405 {
            let allowed = if self.line.contains("/stream/") { "GET" } else { "POST" };
            assert_eq!(answer.header("allow"), Some(allowed), "{what}");
        }
    }
}

fn message(kind: MessageType, to: MemberId) -> Vec<u8> {
    let r#type = kind as i32;
    Message { r#type, from: 0x51, to: to.0, term: 1, ..Message::default() }.encode_to_vec()
}

/// A MsgSnap that has the metadata without which etcd ends itself.
fn snapshot(from: u64, to: MemberId) -> Vec<u8> {
    let metadata = SnapshotMetadata { index: 1, term: 1, conf_state: None };
    let snapshot = Some(Snapshot { metadata: Some(metadata), ..Snapshot::default() });
    let r#type = MessageType::MsgSnap as i32;
    Message { r#type, from, to: to.0, snapshot, ..Message::default() }.encode_to_vec()
}

fn framed(message: Vec<u8>) -> Vec<u8> {
    [&(message.len() as u64).to_be_bytes()[..], &message].concat()
}

fn cases(member: MemberId) -> Vec<Case> {
    let method = "Method Not Allowed\n";
    let incompatible = "incompatible version\n";
    let mismatch = "cluster ID mismatch\n";
    let failed = "error processing raft message\n";
    let other = MemberId(member.0 ^ 1);
    let heartbeat = |to| message(MessageType::MsgHeartbeat, to);
    let mut cases = vec![
        case("post: method", "GET /raft", 405, method).bare(),
        case("post: method before all", "PUT /raft", 405, method).bare().without(GOOD[0].0),
        case("post: no version is 2.0.0", "POST /raft", 412, incompatible).without(GOOD[1].0),
        case("post: too old", "POST /raft", 412, incompatible).with(GOOD[1].0, "2.3.8"),
        case("post: wants newer", "POST /raft", 412, incompatible).with(GOOD[2].0, "9.0.0"),
        case("post: version before cluster", "POST /raft", 412, incompatible)
            .with(GOOD[1].0, "2.3.8")
            .with(GOOD[0].0, "1"),
        case("post: other cluster", "POST /raft", 412, mismatch).with(GOOD[0].0, "1"),
        case("post: no cluster", "POST /raft", 412, mismatch).without(GOOD[0].0),
        case("post: no message", "POST /raft", 400, "error unmarshalling raft message\n")
            .posting("\u{8}"),
        case("post: to another", "POST /raft", 500, failed).posting(heartbeat(other)),
        case("post: local, ignored", "POST /raft", 204, "")
            .posting(message(MessageType::MsgHup, member))
            .of_type(None),
        case("post: taken", "POST /raft", 204, "").posting(heartbeat(member)).of_type(None),
        case("stream: method", "POST /raft/stream/message/51", 405, method).bare(),
        case("stream: other cluster", "GET /raft/stream/message/51", 412, mismatch)
            .with(GOOD[0].0, "1"),
        case("stream: kind", "GET /raft/stream/other/51", 404, "invalid path\n"),
        case("stream: deep", "GET /raft/stream/message/5/1", 404, "invalid path\n"),
        case("stream: no member", "GET /raft/stream/message/xyz", 404, "invalid from\n"),
        case("stream: large", "GET /raft/stream/message/11112222333344445", 404, "invalid from\n"),
        case("stream: unknown", "GET /raft/stream/msgapp/51", 404, "error sender not found\n")
            .with("X-Raft-To", "{member}"),
        case("snapshot: method", "GET /raft/snapshot", 405, method).bare(),
        case("snapshot: too old", "POST /raft/snapshot", 412, incompatible).without(GOOD[1].0),
        case(
            "snapshot: empty",
            "POST /raft/snapshot",
            400,
            "failed to decode raft message (EOF)\n",
        ),
        case("snapshot: kind", "POST /raft/snapshot", 400, "wrong raft message type\n")
            .posting(framed(heartbeat(member))),
        case("nothing there", "GET /raft/other", 404, "404 page not found\n").bare(),
        case("nothing there", "GET /raft/", 404, "404 page not found\n").bare(),
    ];
    let failed = "failed to process raft message (cannot process message to mismatch member)\n";
    cases.push(
        case("snapshot: to another", "POST /raft/snapshot", 500, failed)
            .posting(framed(snapshot(0x51, other))),
    );
    let cut = "failed to decode raft message (unexpected EOF)\n";
    cases.push(case("snapshot: cut", "POST /raft/snapshot", 400, cut).posting("\0\0\0"));
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_has_its_answer() {
    let member = Member::start(1).await;
    for case in cases(member.id) {
        let answer = case.ask(member.address, "c1", "1").await.expect(case.what);
        case.check(&answer, "c1");
    }
    assert_eq!(member.received().len(), 1, "one message was taken");
    let stats = member.transport.stats();
    assert_eq!(stats.unknown_received_failures.get(), 3);
    assert_eq!(stats.peer(MemberId(0x51)).snapshot_receive_failures.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_etcd_gives_the_same_answers() {
    let Some(binary) = reference::binary() else { return };
    let etcd = Etcd::start(&binary, &[], &[]);
    let members = b"GET /members HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut found = None;
    for _ in 0..200 {
        found = ask(etcd.peer, members).await.filter(|answer| answer.status == 200);
        if found.as_ref().is_some_and(|answer| answer.body.contains("\"id\"")) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let found = found.expect("the real etcd does not serve peers");
    let cluster = found.header("x-etcd-cluster-id").unwrap().to_owned();
    let json: serde_json::Value = serde_json::from_str(&found.body).unwrap();
    let member = MemberId(json[0]["id"].as_u64().unwrap());
    for case in cases(member) {
        let answer = case.ask(etcd.peer, &cluster, &member.to_string()).await.expect(case.what);
        case.check(&answer, &cluster);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_members_that_are_known() {
    let member = Member::start(1).await;
    let nowhere = ["http://127.0.0.1:1".to_owned()];
    member.transport.add_peer(MemberId(0x51), &nowhere).unwrap();
    member.sink.removed.lock().insert(MemberId(0x52));

    let known = case("to", "GET /raft/stream/message/51", 412, "to field mismatch\n");
    let of_kind = |kind: MessageType, from| {
        let r#type = kind as i32;
        Message { r#type, from, to: 1, ..Message::default() }.encode_to_vec()
    };
    let (failed, reason) = ("error processing raft message\n", "from removed member");
    let saved = format!("failed to process raft message (cannot process message {reason})\n");
    let empty = "failed to process raft message (no snapshot in it)\n";
    for case in [
        known.with("X-Raft-To", "2"),
        case("no to", "GET /raft/stream/msgapp/51", 412, "to field mismatch\n"),
        case("gone", "GET /raft/stream/message/52", 410, "removed member\n"),
        case("post from removed", "POST /raft", 500, failed)
            .posting(of_kind(MessageType::MsgHeartbeat, 0x52)),
        case("snapshot from removed", "POST /raft/snapshot", 500, &saved)
            .posting(framed(snapshot(0x52, member.id))),
        case("snapshot without one", "POST /raft/snapshot", 500, empty)
            .posting(framed(of_kind(MessageType::MsgSnap, 0x51))),
    ] {
        let answer = case.ask(member.address, "c1", "1").await.expect(case.what);
        case.check(&answer, "c1");
    }
    assert!(member.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_routes_are_not_ours_and_probes_are_answered() {
    let member = Member::start(1).await;
    for line in ["GET /members", "GET /", "POST /leases", "GET /raftx", "GET /version"] {
        let answer = case("route", line, 200, "not mine").ask(member.address, "c1", "1").await;
        assert_eq!(answer.unwrap().body, "not mine", "{line}");
    }
    for line in ["GET /raft/probing", "POST /raft/probing"] {
        let answer = case("probe", line, 200, "").ask(member.address, "c1", "1").await.unwrap();
        let health: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(health["OK"], true);
        assert!(health["Now"].as_str().unwrap().ends_with('Z') && answer.body.ends_with("}\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cannot_fill_the_list_of_remotes() {
    let member = Member::start(1).await;
    let stranger = Member::start(9).await;
    let urls: &'static str = stranger.urls().remove(0).leak();
    for id in 100..200 {
        let id: &'static str = format!("{id:x}").leak();
        let case = case("stranger", "POST /raft", 412, "").with("X-PeerURLs", urls);
        let taken = case.with("X-Server-From", id).ask(member.address, "c1", "1").await;
        assert_eq!(taken.unwrap().status, 500, "no body is a message to member 0");
    }
    let reply = |to| Message { from: 1, to, r#type: 9, ..Message::default() };
    member.transport.send((100..200).map(reply).collect());
    let limit = transport::config::REMOTES_MAX as u64;
    let stats = member.transport.stats();
    let refused = || (100..200).map(|id| stats.peer(MemberId(id)).sent_failures.get()).sum::<u64>();
    until("refusals", || refused() == limit).await;
    for bad in ["nonsense", "http://a", ","] {
        let bad = case("bad URLs", "POST /raft", 412, "").with("X-PeerURLs", bad);
        let answer = bad.with("X-Server-From", "777").ask(member.address, "c1", "1").await;
        assert!(answer.is_some(), "a bad URL must not end the member");
    }
}
