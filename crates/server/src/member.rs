//! A running member: its threads, its tasks, its start and its end.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result};
use api::{
    etcdserverpb::{AlarmRequest, AlarmType, InternalRaftRequest, alarm_request::AlarmAction},
    ids::MemberId,
    membershippb, version,
};
use rand::Rng;
use replica::Node;
use tokio::net::TcpListener;

use crate::{
    bootstrap::{self, Parts},
    clock::Clock,
    driver::{
        NodeEvent,
        apply_loop::{ApplyEvent, ApplyLoop, Outlets},
        compaction::CompactionGate,
        lease_loop,
        node_loop::NodeLoop,
        storage_loop::{self, StorageEvent},
        wal_loop::{self, WalEvent},
        watch_loop,
    },
    handle::{Handle, Inner},
    http::{self, Surface},
    inbox::Inbox,
    metrics::Metrics,
    progress::Progress,
    read_gate::ReadGate,
    request_id::RequestIds,
    settings::Settings,
    waiters::Waiters,
};

/// Ticks between elections, fixed: `--election-timeout` over `--heartbeat-interval` in etcd's terms.
fn election_ticks(settings: &Settings) -> usize {
    let ticks = settings.limits.election_timeout.as_millis() / settings.heartbeat.as_millis();
    usize::try_from(ticks).expect("the configuration bounds the election timeout")
}

/// The threads of a member and the inboxes that end them.
pub(crate) struct Member {
    handle: Handle,
    wal: Arc<Inbox<WalEvent>>,
    apply: Arc<Inbox<ApplyEvent>>,
    storage: Arc<Inbox<StorageEvent>>,
    node_thread: JoinHandle<()>,
    wal_thread: JoinHandle<()>,
    apply_thread: JoinHandle<()>,
    storage_thread: JoinHandle<()>,
    watch_thread: JoinHandle<()>,
}

impl Member {
    /// Opens the data dir and starts the threads.
    pub(crate) fn start(settings: &Settings) -> Result<Member> {
        let parts = bootstrap::open(settings)?;
        tracing::info!(
            name = %settings.name,
            "data-dir" = %settings.data_dir.display(),
            "local-member-id" = %parts.member,
            "cluster-id" = %parts.cluster,
            "applied-index" = parts.recovered.applied.0,
            "starting an etcd server"
        );
        let Parts { member, cluster, backend, machine, wal, recovered } = parts;
        let handle = handle(settings, (member, cluster), backend, &machine, &recovered);
        storage_loop::refresh_size(&handle);
        let at = (recovered.applied, api::ids::Term(recovered.hard_state.term));
        let node_loop = node_loop(settings, member, recovered)?;
        let (wal_inbox, apply_inbox) = (node_loop.wal.clone(), node_loop.apply.clone());
        let storage_inbox = Arc::new(Inbox::new(usize::MAX));
        let outlets = Outlets {
            storage: storage_inbox.clone(),
            tasks: tokio::runtime::Handle::current(),
            slow: settings.slow_apply,
        };
        let thread = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(work).context("start a thread")
        };
        let (h, inbox) = (handle.clone(), wal_inbox.clone());
        let wal_thread = thread("wal", Box::new(move || wal_loop::run(&h, &inbox, wal)))?;
        let (h, inbox) = (handle.clone(), apply_inbox.clone());
        let apply_loop = ApplyLoop { machine, outlets, at };
        let apply_thread = thread("apply", Box::new(move || apply_loop.run(&h, &inbox)))?;
        let (h, inbox) = (handle.clone(), storage_inbox.clone());
        let storage_thread = thread("storage", Box::new(move || storage_loop::run(&h, &inbox)))?;
        let h = handle.clone();
        let watch_thread = thread("watch", Box::new(move || watch_loop::run(&h)))?;
        let h = handle.clone();
        let node_thread = thread("node", Box::new(move || node_loop.run(&h)))?;
        Ok(Member {
            handle,
            wal: wal_inbox,
            apply: apply_inbox,
            storage: storage_inbox,
            node_thread,
            wal_thread,
            apply_thread,
            storage_thread,
            watch_thread,
        })
    }

    /// Serves clients until `stop` resolves, then stops in etcd's order: streams and listeners,
    /// raft, apply, store.
    pub(crate) async fn serve(
        self,
        settings: &Settings,
        listeners: Listeners,
        stop: impl Future<Output = ()>,
    ) {
        let handle = self.handle.clone();
        let mut tasks = tokio::task::JoinSet::new();
        for listener in listeners.metrics {
            let http = settings.http.clone();
            tasks.spawn(http::serve(listener, Surface::Metrics, handle.clone(), http));
        }
        for listener in listeners.client {
            let http = settings.http.clone();
            tasks.spawn(http::serve(listener, Surface::Client, handle.clone(), http));
        }
        tasks.spawn(lease_loop::run(handle.clone()));
        tokio::spawn(publish(handle.clone(), settings.name.clone(), settings.client_urls.clone()));
        stop.await;
        handle.progress.set_stopping();
        while tasks.join_next().await.is_some() {}
        drop(listeners.peer);
        self.stop();
    }

    /// Ends the threads, each after what it was given before.
    fn stop(self) {
        let joined = "a thread that panics ends the process";
        self.handle.node.push_always(NodeEvent::Stop);
        self.node_thread.join().expect(joined);
        self.wal.push_always(WalEvent::Stop);
        self.wal_thread.join().expect(joined);
        self.apply.push_always(ApplyEvent::Stop);
        self.apply_thread.join().expect(joined);
        self.handle.watch.push_always(watch_loop::WatchCommand::Stop);
        self.watch_thread.join().expect(joined);
        self.storage.push_always(StorageEvent::Stop);
        self.storage_thread.join().expect(joined);
    }
}

/// The sockets, bound before the member starts.
pub(crate) struct Listeners {
    /// gRPC and HTTP for clients.
    pub(crate) client: Vec<TcpListener>,
    /// Metrics and health.
    pub(crate) metrics: Vec<TcpListener>,
    /// Held so that nobody else takes the address; a single member has no peers to serve.
    pub(crate) peer: Vec<TcpListener>,
}

fn handle(
    settings: &Settings,
    (member, cluster): (MemberId, api::ids::ClusterId),
    backend: Arc<dyn storage::Backend>,
    machine: &apply::StateMachine,
    recovered: &replica::Recovered,
) -> Handle {
    let shared = machine.shared().clone();
    let unfinished = shared.store.compacting().is_some();
    let compacted = shared.store.compact_revision();
    let finished = if unfinished { compacted - 1 } else { compacted };
    let unix_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let term = api::ids::Term(recovered.hard_state.term);
    Handle::new(Inner {
        member,
        cluster,
        ids: RequestIds::new(member, unix_ms),
        waiters: Waiters::new(),
        reads: ReadGate::new(),
        node: Arc::new(Inbox::new(settings.limits.node_inbox_max)),
        watch: Arc::new(Inbox::new(usize::MAX)),
        compactions: CompactionGate::new(finished),
        progress: Progress::new(recovered.applied, term),
        shared,
        window: storage::Window::new(),
        backend,
        limits: settings.limits.clone(),
        metrics: Metrics::new(),
        clock: Clock::start(),
        watch_backlog: Default::default(),
        watch_stats: parking_lot::Mutex::default(),
    })
}

fn node_loop(
    settings: &Settings,
    member: MemberId,
    recovered: replica::Recovered,
) -> Result<NodeLoop> {
    let (snapshot_index, _, conf_state) = recovered.snapshot.clone();
    let config = replica::Config {
        election_tick: election_ticks(settings),
        pre_vote: settings.pre_vote,
        waiting_timeout_ms: settings.limits.request_timeout.as_millis() as u64,
        ..replica::Config::new(member, rand::rng().random())
    };
    let alone = conf_state.voters.len() <= 1;
    let conf_index = recovered.applied;
    let mut node = Node::new(config, recovered).context("failed to start raft")?;
    if alone {
        node.advance_ticks(election_ticks(settings) - 1);
    }
    Ok(NodeLoop {
        node,
        wal: Arc::new(Inbox::new(usize::MAX)),
        apply: Arc::new(Inbox::new(usize::MAX)),
        tick: settings.heartbeat,
        conf_state,
        conf_index,
        snapshot_index,
        applied: conf_index,
    })
}

/// Publishes the member's name and client URLs through raft, again and again until it is accepted;
/// then clients are served. Decides the cluster version on the way.
async fn publish(handle: Handle, name: String, client_urls: Vec<String>) {
    const RETRY: Duration = Duration::from_millis(500);
    let cluster_member_attr_set = Some(membershippb::ClusterMemberAttrSetRequest {
        member_id: handle.member.0,
        member_attributes: Some(membershippb::Attributes {
            name: name.clone(),
            client_urls: client_urls.clone(),
        }),
    });
    let request = InternalRaftRequest { cluster_member_attr_set, ..Default::default() };
    while let Err(failure) = handle.propose(request.clone()).await {
        if handle.progress.stopping() {
            return;
        }
        tracing::warn!(error = %failure.message, "failed to publish local member through raft");
        tokio::time::sleep(RETRY).await;
    }
    tracing::info!(
        "local-member-id" = %handle.member,
        "local-member-attributes" = %format!("{{Name:{name} ClientURLs:{client_urls:?}}}"),
        "cluster-id" = %handle.cluster,
        "published local member to cluster through raft"
    );
    decide_version(&handle).await;
    handle.progress.set_ready();
    tracing::info!("ready to serve client requests");
    for url in client_urls {
        tracing::info!(
            traffic = "grpc+http",
            address = %url,
            "serving client traffic insecurely; this is strongly discouraged!"
        );
    }
}

/// A single member is its cluster's minimum: the version rises to its own.
async fn decide_version(handle: &Handle) {
    let decided = handle.shared.membership.read().cluster_version();
    if decided.is_some_and(|decided| decided.to_string() == version::CLUSTER) {
        return;
    }
    let ver = version::CLUSTER.to_owned();
    let cluster_version_set = Some(membershippb::ClusterVersionSetRequest { ver });
    let request = InternalRaftRequest { cluster_version_set, ..Default::default() };
    match handle.propose(request).await {
        Ok(_) => {
            tracing::info!("cluster-version" = version::CLUSTER, "updated cluster version");
        }
        Err(failure) => {
            tracing::warn!(error = %failure.message, "failed to set the cluster version");
        }
    }
}

/// Proposes the NOSPACE alarm of this member.
pub(crate) async fn raise_no_space(handle: &Handle) {
    let alarm = Some(AlarmRequest {
        action: AlarmAction::Activate as i32,
        member_id: handle.member.0,
        alarm: AlarmType::Nospace as i32,
    });
    let request = InternalRaftRequest { alarm, ..Default::default() };
    if let Err(failure) = handle.propose(request).await {
        tracing::warn!(error = %failure.message, "failed to raise the NOSPACE alarm");
    }
}
