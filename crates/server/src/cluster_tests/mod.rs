//! Clusters of members in one process: real threads, sockets and files, no clients but the handle.

mod asked;
mod corrupt;
mod disk;
mod failures;
mod lists;
mod logins;
mod membership;
mod snapshots;
mod start;
mod traced;

use std::{future::Future, time::Duration};

use api::{
    etcdserverpb::{InternalRaftRequest, PutRequest},
    ids::MemberId,
    range::KeyRange,
};
use config::{Config, GoDuration};
use mvcc::RangeQuery;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use crate::{
    handle::Handle,
    listen,
    member::{Listeners, Member},
    settings::Settings,
};

/// How long anything may take before a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running member.
struct Running {
    handle: Handle,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// A cluster under test. Members are numbered from 1.
struct Rig {
    dir: tempfile::TempDir,
    ports: Vec<u16>,
    members: Vec<Option<Running>>,
    /// What all members are started with.
    config: Config,
    /// The client port of each member, where clients are served.
    client_ports: Vec<u16>,
}

/// Ports that were free a moment ago, below those that the kernel gives to outgoing connections:
/// while a member is stopped nobody takes its own.
fn free_ports(count: usize) -> Vec<u16> {
    let mut listeners = Vec::new();
    while listeners.len() < count {
        let port = rand::random_range(10_000..32_000);
        listeners.extend(std::net::TcpListener::bind(("127.0.0.1", port)));
    }
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Waits until a condition holds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("it never came to be that {what}"));
}

/// Tries again until it succeeds.
async fn persist<T, F: Future<Output = Result<T, crate::status::Failure>>>(
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> T {
    let tries = async {
        loop {
            match attempt().await {
                Ok(done) => return done,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let done = tokio::time::timeout(PATIENCE, tries).await;
    done.unwrap_or_else(|_| panic!("it never worked to {what}"))
}

impl Drop for Rig {
    /// Members that a failed test leaves behind abort the process when their files go.
    fn drop(&mut self) {
        if self.members.iter().any(Option::is_some) {
            self.dir.disable_cleanup(true);
        }
    }
}

impl Rig {
    /// A rig with room for `size` members, none of them started.
    fn new(size: usize) -> Rig {
        let mut config = Config::default();
        config.heartbeat_interval_ms = 50;
        config.election_timeout_ms = 500;
        config.initial_cluster_token = "rig".into();
        config.backend_batch_interval = GoDuration::from_millis(10);
        config.unsafe_no_fsync = true;
        Rig {
            dir: tempfile::tempdir().unwrap(),
            ports: free_ports(size),
            members: (0..size).map(|_| None).collect(),
            config,
            client_ports: Vec::new(),
        }
    }

    /// The same, where members will serve clients.
    fn serving(size: usize) -> Rig {
        let mut rig = Rig::new(size);
        rig.client_ports = free_ports(size);
        rig
    }

    fn client_url(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}", self.client_ports[number - 1])
    }

    /// A rig whose members have all started as one new cluster.
    async fn started(size: usize) -> Rig {
        let mut rig = Rig::new(size);
        rig.start_all().await;
        rig
    }

    async fn start_all(&mut self) {
        for number in 1..=self.ports.len() {
            self.start(number).await;
        }
        self.wait_ready().await;
    }

    async fn wait_ready(&self) {
        for running in self.members.iter().flatten() {
            let ready = running.handle.progress.wait_ready();
            tokio::time::timeout(PATIENCE, ready).await.expect("a member becomes ready");
        }
    }

    fn peer_url(&self, number: usize) -> String {
        format!("http://127.0.0.1:{}", self.ports[number - 1])
    }

    fn data_dir(&self, number: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("m{number}"))
    }

    fn settings(&self, number: usize) -> Settings {
        self.settings_of(number, 1..=self.ports.len(), "new")
    }

    fn settings_of(
        &self,
        number: usize,
        founders: impl IntoIterator<Item = usize>,
        state: &str,
    ) -> Settings {
        let url = self.peer_url(number);
        let cluster = founders.into_iter().map(|n| format!("m{n}={}", self.peer_url(n)));
        let mut config = self.config.clone();
        config.name = format!("m{number}");
        config.data_dir = self.data_dir(number).display().to_string();
        config.initial_cluster = cluster.collect::<Vec<_>>().join(",");
        config.initial_cluster_state = state.into();
        config.listen_peer_urls.set(&url, "").unwrap();
        config.initial_advertise_peer_urls.set(&url, "").unwrap();
        if !self.client_ports.is_empty() {
            config.listen_client_urls.set(&self.client_url(number), "").unwrap();
        }
        Settings::new(&config).unwrap()
    }

    async fn start(&mut self, number: usize) {
        self.try_start(number, self.settings(number)).await.unwrap();
    }

    async fn try_start(&mut self, number: usize, settings: Settings) -> anyhow::Result<()> {
        assert!(self.members[number - 1].is_none(), "member {number} runs already");
        let peer = listen::bind_peers(&settings.config, &settings.security).await?;
        let clients = match self.client_ports.is_empty() {
            true => Vec::new(),
            false => listen::bind_clients(&settings.config, &settings.security).await?,
        };
        let member = Member::start(&settings).await?;
        let handle = member.handle();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let cores = std::sync::Arc::new(crate::cores::Cores::start().unwrap());
            let listeners = Listeners { clients, cores, peer };
            let stop = async { drop(stopped.await) };
            member.serve(&settings, listeners, stop).await;
        });
        self.members[number - 1] = Some(Running { handle, stop, task });
        Ok(())
    }

    /// Stops a member as an operator does. Its data dir can be used again afterwards.
    async fn stop(&mut self, number: usize) {
        let Running { handle, stop, task } = self.members[number - 1].take().expect("it runs");
        drop(handle);
        let _ended_by_itself = stop.send(());
        tokio::time::timeout(PATIENCE, task).await.expect("a member stops").unwrap();
        self.wait_unlocked(number).await;
    }

    /// The store is locked until the last task that knew the member has ended.
    async fn wait_unlocked(&self, number: usize) {
        let store = self.data_dir(number).join("member/snap/oxetcd");
        eventually("a stopped member lets go of its store", || {
            let options = storage::engine::LmdbOptions::default();
            storage::engine::LmdbBackend::open(&store, options).is_ok()
        })
        .await;
    }

    /// Stops what runs; each test ends with it.
    async fn end(mut self) {
        for number in self.numbers() {
            self.stop(number).await;
        }
    }

    fn handle(&self, number: usize) -> &Handle {
        &self.members[number - 1].as_ref().expect("it runs").handle
    }

    fn numbers(&self) -> Vec<usize> {
        (1..=self.members.len()).filter(|number| self.members[number - 1].is_some()).collect()
    }

    fn number_of(&self, id: MemberId) -> Option<usize> {
        self.numbers().into_iter().find(|number| self.handle(*number).member == id)
    }

    /// The member that all of `among` take for the leader.
    async fn leader_among(&self, among: &[usize]) -> usize {
        let leader = || {
            let mut seen = among.iter().map(|number| self.handle(*number).progress.leader());
            let first = seen.next()?;
            (first != MemberId(0) && seen.all(|leader| leader == first)).then_some(first)
        };
        eventually("members agree on a leader", || leader().is_some()).await;
        let leader = leader();
        match leader.and_then(|leader| self.number_of(leader)) {
            Some(number) => number,
            None => Box::pin(self.leader_among(among)).await,
        }
    }

    async fn leader(&self) -> usize {
        self.leader_among(&self.numbers()).await
    }

    /// A member that runs and does not lead.
    async fn follower(&self) -> usize {
        let leader = self.leader().await;
        self.numbers().into_iter().find(|number| *number != leader).expect("several members run")
    }

    /// Puts a key by way of a member, until it works.
    async fn put(&self, number: usize, key: &str, value: &str) {
        let put = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        let request = InternalRaftRequest { put: Some(put), ..InternalRaftRequest::default() };
        persist("put a key", || self.handle(number).propose(request.clone())).await;
    }

    /// The value that a member has, without asking the others.
    fn value(&self, number: usize, key: &str) -> Option<String> {
        let key = bytes::Bytes::copy_from_slice(key.as_bytes());
        let query = RangeQuery::new(KeyRange::Single(key));
        let answer = self.handle(number).shared.store.range(&query).unwrap();
        let kv = answer.kvs.first()?.decode().unwrap();
        Some(String::from_utf8(kv.value.to_vec()).unwrap())
    }

    /// Waits until all members have applied the same, and compares what they have.
    async fn assert_equal(&self) {
        let numbers = self.numbers();
        eventually("all members have applied the same", || {
            let mut applied = numbers.iter().map(|n| self.handle(*n).progress.applied());
            let first = applied.next();
            applied.all(|index| Some(index) == first)
        })
        .await;
        let hashes: Vec<_> = numbers
            .iter()
            .map(|number| self.handle(*number).shared.store.hash_kv(0).unwrap())
            .collect();
        assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:?}");
        let members = |number: usize| -> Vec<_> {
            self.handle(number).shared.membership.read().members().cloned().collect()
        };
        assert!(numbers.windows(2).all(|pair| members(pair[0]) == members(pair[1])));
    }

    /// Keeps a member from hearing and being heard.
    fn isolate(&self, number: usize) {
        self.each_link(number, transport::Transport::cut);
    }

    /// Ends that.
    fn rejoin(&self, number: usize) {
        self.each_link(number, transport::Transport::mend);
    }

    fn each_link(&self, number: usize, change: fn(&transport::Transport, MemberId)) {
        let id = self.handle(number).member;
        for other in self.numbers().into_iter().filter(|other| *other != number) {
            let other = self.handle(other);
            change(&other.network.transport().expect("it runs"), id);
            change(&self.handle(number).network.transport().expect("it runs"), other.member);
        }
    }
}
