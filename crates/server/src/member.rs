//! A running member: its threads, its tasks, its start and its end.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::{Context, Result};
use api::{
    etcdserverpb::{AlarmRequest, AlarmType, InternalRaftRequest, alarm_request::AlarmAction},
    ids::MemberId,
};
use rand::Rng;
use replica::Node;
use tokio::sync::Semaphore;

use crate::{
    auth,
    bootstrap::{self, Parts},
    clock::Clock,
    cores::Cores,
    corruption,
    driver::{
        NodeEvent,
        applier::{self, Applier},
        apply_loop::{ApplyEvent, ApplyLoop, Outlets},
        compaction::CompactionGate,
        disk_watch::DiskWatch,
        lease_loop,
        node_loop::NodeLoop,
        storage_loop::{self, StorageEvent},
        wal_loop::{self, Logger, WalEvent},
        watch_loop,
    },
    handle::{Handle, Inner},
    http,
    inbox::Inbox,
    listen::{Bound, Listener},
    lists::Lists,
    metrics::Metrics,
    monitors, notify,
    peer_client::PeerClient,
    peers::{self, Peers},
    progress::Progress,
    publish,
    read_gate::ReadGate,
    request_id::RequestIds,
    settings::Settings,
    signals::Signals,
    starting,
    telemetry::Tracer,
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
    logger: Arc<Logger>,
    applier: Arc<Applier>,
    storage: Arc<Inbox<StorageEvent>>,
    node_thread: JoinHandle<()>,
    wal_thread: JoinHandle<()>,
    apply_thread: JoinHandle<()>,
    storage_thread: JoinHandle<()>,
    watch_thread: JoinHandle<()>,
}

impl Member {
    /// Opens the data dir and starts the threads.
    pub(crate) async fn start(settings: &Settings) -> Result<Member> {
        let client = peer_client(settings);
        let initialized = wal::Wal::exists(&*settings.fs, &settings.wal_dir);
        starting::announce(&settings.config, initialized.unwrap_or(false));
        let mut parts = bootstrap::open(settings, &client).await.inspect_err(|error| {
            tracing::error!(error = %format!("{error:#}"), "bootstrap failed");
        })?;
        let (remotes, founders) =
            (std::mem::take(&mut parts.remotes), std::mem::take(&mut parts.founders));
        let members = parts.members;
        tracing::info!(
            "local-member-id" = %parts.member,
            "local-server-version" = api::version::SERVER,
            "cluster-id" = %parts.cluster,
            "applied-index" = parts.recovered.applied.0,
            "starting etcd server"
        );
        let Parts { member, cluster, backend, machine, wal, .. } = parts;
        let Parts { recovered, had_data, .. } = parts;
        let id = (member, cluster);
        let handle = handle(settings, id, client, backend, &machine, &recovered)?;
        if had_data && settings.initial_corrupt_check {
            corruption::check_initially(&handle).await?;
        }
        start_network(&handle, settings, &remotes, &founders);
        storage_loop::refresh_size(&handle);
        let at = (recovered.applied, api::ids::Term(recovered.hard_state.term));
        let cut = recovered.snapshot.0;
        let storage_inbox = Arc::new(Inbox::new(usize::MAX));
        let outlets =
            Outlets { storage: storage_inbox.clone(), tasks: tokio::runtime::Handle::current() };
        let apply_loop = ApplyLoop { machine, outlets, at, cut, cut_now: false };
        let applier = Arc::new(Applier::new(apply_loop));
        let logger = wal_loop::logger(wal);
        let node_loop =
            node_loop(settings, (member, members), recovered, logger.clone(), applier.clone())?;
        let thread = |name: &str, work: Box<dyn FnOnce() + Send>| {
            // These are what a write passes through.
            let is_prompt = matches!(name, "node" | "wal" | "apply");
            let begin = if is_prompt { priority::be_prompt } else { || {} };
            let work = move || {
                begin();
                work();
            };
            std::thread::Builder::new().name(name.to_owned()).spawn(work).context("start a thread")
        };
        let (h, work) = (handle.clone(), logger.clone());
        let wal_thread = thread("wal", Box::new(move || wal_loop::run(&h, &work)))?;
        let (h, work) = (handle.clone(), applier.clone());
        let apply_thread = thread("apply", Box::new(move || applier::run(&work, &h)))?;
        let (h, inbox) = (handle.clone(), storage_inbox.clone());
        let storage_thread = thread("storage", Box::new(move || storage_loop::run(&h, &inbox)))?;
        let h = handle.clone();
        let watch_thread = thread("watch", Box::new(move || watch_loop::run(&h)))?;
        let h = handle.clone();
        let node_thread = thread("node", Box::new(move || node_loop.run(&h)))?;
        if members > 1 && settings.config.initial_election_tick_advance {
            tokio::spawn(advance_ticks(handle.clone(), election_ticks(settings)));
        }
        Ok(Member {
            handle,
            logger,
            applier,
            storage: storage_inbox,
            node_thread,
            wal_thread,
            apply_thread,
            storage_thread,
            watch_thread,
        })
    }

    /// What services hold of this member.
    #[cfg(test)]
    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves clients and peers until `stop` resolves or the member is removed from the cluster,
    /// then stops in etcd's order: leadership, streams and listeners, raft, apply, store, peers.
    pub(crate) async fn serve(
        self,
        settings: &Settings,
        listeners: Listeners,
        stop: impl Future<Output = ()>,
    ) {
        let handle = self.handle.clone();
        starting::serving(&settings.config, &handle);
        let mut peer_tasks = tokio::task::JoinSet::new();
        for (listener, acceptor) in listeners.peer {
            peer_tasks.spawn(peers::serve(
                listener,
                acceptor,
                handle.clone(),
                settings.peer_stalled,
            ));
        }
        // Those that stop may wait, too.
        let expiring = tokio::spawn(crate::handle::expire_waits(handle.clone()));
        let mut tasks = tokio::task::JoinSet::new();
        for bound in listeners.clients {
            let settings = settings.http.clone();
            tasks.spawn(http::serve(bound, handle.clone(), settings, listeners.cores.clone()));
        }
        tasks.spawn(lease_loop::run(handle.clone()));
        tasks.spawn(crate::v2::sync(handle.clone()));
        tasks.spawn(auth::sweep(handle.clone()));
        tasks.spawn(notify::run(handle.clone()));
        monitors::spawn(&handle, &settings.monitors, &mut tasks);
        tokio::spawn(publish::run(
            handle.clone(),
            settings.name.clone(),
            settings.client_urls.clone(),
        ));
        tokio::select! {
            () = stop => handle.hand_over_leadership().await,
            () = handle.progress.wait_removed() => {
                let error = "the member has been permanently removed from the cluster";
                tracing::warn!(error, "server error");
                tracing::warn!("data-dir used by this member must be removed");
            }
        }
        handle.progress.set_stopping();
        while tasks.join_next().await.is_some() {}
        self.stop();
        handle.waiters.forget();
        handle.network.stop();
        handle.progress.set_peers_stopping();
        while peer_tasks.join_next().await.is_some() {}
        expiring.abort();
        handle.tracer.close().await;
    }

    /// Ends the threads, each after what it was given before.
    fn stop(self) {
        let joined = "a thread that panics ends the process";
        self.handle.node.push_always(NodeEvent::Stop);
        self.node_thread.join().expect(joined);
        self.logger.give(WalEvent::Stop);
        self.wal_thread.join().expect(joined);
        self.applier.give(ApplyEvent::Stop);
        self.apply_thread.join().expect(joined);
        self.handle.watch.push_always(watch_loop::WatchCommand::Stop);
        self.watch_thread.join().expect(joined);
        self.storage.push_always(StorageEvent::Stop);
        self.storage_thread.join().expect(joined);
    }
}

/// The sockets, bound before the member starts.
pub(crate) struct Listeners {
    /// gRPC and HTTP for clients, metrics and health.
    pub(crate) clients: Vec<Bound>,
    /// The threads that serve clients.
    pub(crate) cores: Arc<Cores>,
    /// The other members.
    pub(crate) peer: Vec<(Listener, tls::Acceptor)>,
}

fn handle(
    settings: &Settings,
    (member, cluster): (MemberId, api::ids::ClusterId),
    peers: PeerClient,
    backend: Arc<dyn storage::Backend>,
    machine: &apply::StateMachine,
    recovered: &replica::Recovered,
) -> Result<Handle> {
    let shared = machine.shared().clone();
    let unfinished = shared.store.compacting().is_some();
    let compacted = shared.store.compact_revision();
    let finished = if unfinished { compacted - 1 } else { compacted };
    let unix_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let term = api::ids::Term(recovered.hard_state.term);
    Ok(Handle::new(Inner {
        member,
        cluster,
        ids: RequestIds::new(member, unix_ms),
        waiters: Waiters::new(),
        reads: ReadGate::new(),
        node: Arc::new(Inbox::new(settings.limits.node_inbox_max)),
        watch: Arc::new(Inbox::new(usize::MAX)),
        compactions: CompactionGate::new(finished),
        damaged: crate::damage::Damaged::default(),
        progress: Progress::new(recovered.applied, term),
        shared,
        auth: auth::Gate::new(&settings.config)?,
        window: storage::Window::new(),
        backend,
        limits: settings.limits.clone(),
        metrics: Metrics::new(&settings.config),
        clock: Clock::start(),
        tracer: Tracer::start(&settings.config.tracing),
        watch_backlog: Default::default(),
        watch_stats: parking_lot::Mutex::default(),
        signals: Signals::new(),
        v2_stats: crate::v2_stats::V2Stats::new(&settings.name, settings.config.enable_v2),
        peers,
        network: Peers::default(),
        snapshots: Arc::new(Semaphore::new(settings.limits.snapshot_streams_max)),
        snap_dir: settings.data_dir.join("member/snap"),
        fs: settings.fs.clone(),
        lists: Lists::start().context("start threads that read")?,
        tasks: tokio::runtime::Handle::current(),
    }))
}

/// Opens connections to other members.
fn dialer(settings: &Settings) -> tls::Connector {
    let connector = settings.security.peer_connector();
    match &settings.peer_server_name {
        Some(name) => connector.with_server_name(name),
        None => connector,
    }
}

fn peer_client(settings: &Settings) -> PeerClient {
    PeerClient::new(Arc::new(dialer(settings)))
}

/// Begins to talk to the members that are known: those of the store, those that found the cluster
/// with this one, and those that a joining member was told of.
fn start_network(
    handle: &Handle,
    settings: &Settings,
    remotes: &[membership::Member],
    founders: &[membership::Member],
) {
    let config = transport::Config {
        member: handle.member,
        cluster: handle.cluster,
        versions: transport::Versions::default(),
        peer_urls: settings.peer_urls.clone(),
        dial: Arc::new(dialer(settings)),
        runtime: handle.tasks.clone(),
        timing: transport::Timing {
            stalled: settings.peer_stalled,
            ..transport::Timing::default()
        },
    };
    let sink = Arc::new(peers::MemberSink(handle.clone()));
    handle.network.start(transport::Transport::new(config, sink));
    for member in remotes.iter().filter(|member| member.id != handle.member) {
        handle.network.add_remote(member.id, &member.peer_urls);
    }
    let membership = handle.shared.membership.read().clone();
    let known = membership.members().chain(founders);
    for member in known.filter(|member| member.id != handle.member) {
        handle.network.add(member.id, &member.peer_urls);
    }
}

/// Lets the first election come early, once this member hears others: a leader would have been heard
/// of meanwhile.
async fn advance_ticks(handle: Handle, election_ticks: usize) {
    const POLL: Duration = Duration::from_millis(50);
    const POLLS: u32 = 100;
    for _ in 0..POLLS {
        tokio::time::sleep(POLL).await;
        if handle.progress.stopping() {
            return;
        }
        let active = handle.network.active_count();
        if active > 1 {
            let ticks = election_ticks.saturating_sub(2);
            tracing::info!(
                "local-member-id" = %handle.member,
                "forward-ticks" = ticks,
                "election-ticks" = election_ticks,
                "active-remote-members" = active,
                "initialized peer connections; fast-forwarding election ticks"
            );
            handle.node.push_always(NodeEvent::AdvanceTicks(ticks));
            return;
        }
    }
}

fn node_loop(
    settings: &Settings,
    (member, members): (MemberId, usize),
    recovered: replica::Recovered,
    logger: Arc<Logger>,
    applier: Arc<Applier>,
) -> Result<NodeLoop> {
    let conf_state = recovered.snapshot.2.clone();
    let config = replica::Config {
        election_tick: election_ticks(settings),
        pre_vote: settings.pre_vote,
        waiting_timeout_ms: settings.limits.request_timeout.as_millis() as u64,
        ..replica::Config::new(member, rand::rng().random())
    };
    let conf_index = recovered.applied;
    let mut node = Node::new(config, recovered).context("failed to start raft")?;
    if members <= 1 {
        node.advance_ticks(election_ticks(settings) - 1);
    }
    Ok(NodeLoop {
        node,
        logger,
        applier,
        tick: settings.heartbeat,
        conf_state,
        conf_index,
        memory_index: conf_index,
        applied: conf_index,
        cut: None,
        flushed: api::ids::RaftIndex(0),
        disk: DiskWatch::new(settings.limits.election_timeout),
        whole_until: None,
        store_sent_at: None,
        role: replica::Role::Follower,
        restored: api::ids::RaftIndex(0),
        ticked_at: None,
        given: 0,
        saved: 0,
        saved_here: None,
    })
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
