//! Members for tests: a transport, a listener on loopback, and a sink that remembers.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    time::Duration,
};

use api::{
    ids::{ClusterId, MemberId, RaftIndex},
    raftpb::{Entry, Message, MessageType},
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle};
use transport::{
    Body, Config, Dial, Served, Sink, SnapshotReceiver, Timing, Transport, Versions,
    serve_connection,
};

pub const CLUSTER: ClusterId = ClusterId(0xc1);

/// Databases that arrived whole, with their index.
pub type Saved = Arc<Mutex<Vec<(RaftIndex, Vec<u8>)>>>;

/// A sink that remembers what it is told.
#[derive(Default)]
pub struct Recorder {
    pub messages: Mutex<Vec<Message>>,
    pub unreachable: Mutex<Vec<MemberId>>,
    pub statuses: Mutex<Vec<(MemberId, bool)>>,
    pub removed_calls: AtomicUsize,
    pub removed: Mutex<BTreeSet<MemberId>>,
    pub saved: Saved,
    pub discarded: Arc<AtomicUsize>,
    /// The next database fails after so many bytes.
    pub disk_fails_after: Mutex<Option<usize>>,
}

impl Sink for Recorder {
    fn message(&self, message: Message) -> bool {
        self.messages.lock().push(message);
        true
    }

    fn unreachable(&self, id: MemberId) {
        self.unreachable.lock().push(id);
    }

    fn snapshot_status(&self, id: MemberId, ok: bool) {
        self.statuses.lock().push((id, ok));
    }

    fn removed(&self) {
        self.removed_calls.fetch_add(1, Relaxed);
    }

    fn is_removed(&self, id: MemberId) -> bool {
        self.removed.lock().contains(&id)
    }

    fn receive_snapshot(
        &self,
        _from: MemberId,
        index: RaftIndex,
    ) -> io::Result<Box<dyn SnapshotReceiver>> {
        let (saved, discarded) = (self.saved.clone(), self.discarded.clone());
        let fails_after = self.disk_fails_after.lock().take();
        Ok(Box::new(File { index, bytes: Vec::new(), fails_after, saved, discarded, done: false }))
    }
}

struct File {
    index: RaftIndex,
    bytes: Vec<u8>,
    fails_after: Option<usize>,
    saved: Saved,
    discarded: Arc<AtomicUsize>,
    done: bool,
}

impl SnapshotReceiver for File {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.bytes.extend_from_slice(&chunk);
        match self.fails_after {
            Some(limit) if self.bytes.len() > limit => Err(io::Error::other("disk full")),
            _ => Ok(()),
        }
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.done = true;
        self.saved.lock().push((self.index, std::mem::take(&mut self.bytes)));
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.done {
            self.discarded.fetch_add(1, Relaxed);
        }
    }
}

/// A member without raft.
pub struct Member {
    pub id: MemberId,
    pub transport: Transport,
    pub sink: Arc<Recorder>,
    pub address: SocketAddr,
    pub tls: Option<tls::Acceptor>,
    listener: Option<JoinHandle<()>>,
}

/// Times short enough for tests.
pub fn timing() -> Timing {
    Timing {
        redial: Duration::from_millis(20),
        stalled: Duration::from_millis(700),
        link_heartbeat: Duration::from_millis(100),
        post: Duration::from_secs(5),
        probe: Duration::from_millis(50),
        probe_report_unhealthy: Duration::from_millis(80),
        probe_report_healthy: Duration::from_millis(80),
        ..Timing::default()
    }
}

pub fn plain() -> Arc<dyn Dial> {
    Arc::new(tls::Connector::plain(&tls::ClientOptions::default()))
}

impl Member {
    pub async fn start(id: u64) -> Member {
        Member::start_in(id, CLUSTER).await
    }

    pub async fn start_in(id: u64, cluster: ClusterId) -> Member {
        let bind = SocketAddr::from(([127, 0, 0, 1], 0));
        Member::start_with(MemberId(id), cluster, bind, timing(), (plain(), None)).await
    }

    pub async fn start_with(
        id: MemberId,
        cluster: ClusterId,
        bind: SocketAddr,
        timing: Timing,
        (dial, tls): (Arc<dyn Dial>, Option<tls::Acceptor>),
    ) -> Member {
        let listener = TcpListener::bind(bind).await.unwrap();
        let address = listener.local_addr().unwrap();
        let sink = Arc::new(Recorder::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let config = Config {
            member: id,
            cluster,
            versions: Versions::default(),
            peer_urls: vec![format!("{scheme}://{address}")],
            dial,
            runtime: Handle::current(),
            timing,
        };
        let transport = Transport::new(config, sink.clone());
        let mut member = Member { id, transport, sink, address, tls, listener: None };
        member.listen(listener);
        member
    }

    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        vec![format!("{scheme}://{}", self.address)]
    }

    /// Serves connections until [`Member::stop_listening`].
    fn listen(&mut self, listener: TcpListener) {
        let transport = self.transport.clone();
        let acceptor = self.tls.clone();
        self.listener = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (transport, acceptor) = (transport.clone(), acceptor.clone());
                connections.spawn(async move {
                    let acceptor = acceptor.unwrap_or_else(tls::Acceptor::plain);
                    let Ok((stream, _)) = acceptor.accept(stream).await else { return };
                    let answer = |request| {
                        let transport = transport.clone();
                        async move {
                            match transport.serve(request).await {
                                Served::Answer(answer) => answer,
                                Served::NotMine(_) => http::Response::new(Body::full("not mine")),
                            }
                        }
                    };
                    let stalled = timing().stalled;
                    let never = std::future::pending();
                    let _ended = serve_connection(stream, stalled, answer, never).await;
                });
            }
        }));
    }

    /// Closes the listener and every connection that it accepted.
    pub async fn stop_listening(&mut self) {
        let listener = self.listener.take().unwrap();
        listener.abort();
        let _aborted = listener.await;
    }

    /// Listens again at the same address.
    pub async fn listen_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }

    pub fn knows(&self, other: &Member) {
        self.transport.add_peer(other.id, &other.urls()).unwrap();
    }

    pub fn received(&self) -> Vec<Message> {
        self.sink.messages.lock().clone()
    }
}

/// Two members that know each other and whose streams are up.
pub async fn pair() -> (Member, Member) {
    let (a, b) = (Member::start(1).await, Member::start(2).await);
    a.knows(&b);
    b.knows(&a);
    until("streams", || a.transport.has_streams(b.id) && b.transport.has_streams(a.id)).await;
    (a, b)
}

/// Waits for a condition; the limit is only there to end a failing test.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for: {what}");
}

pub fn message(kind: MessageType, from: &Member, to: &Member, index: u64) -> Message {
    let r#type = kind as i32;
    Message { r#type, from: from.id.0, to: to.id.0, term: 1, index, ..Message::default() }
}

/// An append of one entry that follows the one at `index`.
pub fn append(from: &Member, to: &Member, index: u64, data: Bytes) -> Message {
    let entry = Entry { term: 1, index: index + 1, data, ..Entry::default() };
    let message = message(MessageType::MsgApp, from, to, index);
    Message { log_term: 1, entries: vec![entry], commit: index, ..message }
}
