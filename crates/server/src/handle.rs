//! What services hold of the member: propose a change, pass the read gate, look at shared state.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    error::Error,
    etcdserverpb::{InternalRaftRequest, RequestHeader, ResponseHeader},
    ids::{ClusterId, MemberId, Term},
};
use apply::{Response, Shared};
use auth::Identity;
use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    auth::Gate,
    clock::Clock,
    driver::{NodeEvent, WatchCommand, compaction::CompactionGate, watch_loop::Backlog},
    inbox::Inbox,
    limits::Limits,
    lists::Lists,
    metrics::{Metrics, request_name},
    peer_client::PeerClient,
    peers::Peers,
    progress::Progress,
    proposal::Proposal,
    read_gate::ReadGate,
    request_id::RequestIds,
    signals::Signals,
    slow,
    status::Failure,
    telemetry::{self, Tracer},
    waiters::{Ended, Wait, Waiters},
};

/// How often waits are looked at.
const EXPIRY: Duration = Duration::from_millis(100);

/// The outcome of a proposal: what apply made of it.
pub(crate) type Outcome = Result<Response, Failure>;

/// Counts a proposal while somebody waits for it.
struct Pending<'a>(&'a IntGauge);

impl Pending<'_> {
    fn new(gauge: &IntGauge) -> Pending<'_> {
        gauge.inc();
        Pending(gauge)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request under way through raft.
struct Sent<'a> {
    wait: Wait<'a, Outcome>,
    name: &'static str,
    began: Instant,
    began_ms: u64,
    had_leader: bool,
    _pending: Pending<'a>,
}

/// Ends the waits whose time is up, for ever.
pub(crate) async fn expire_waits(handle: Handle) {
    let mut ticks = tokio::time::interval(EXPIRY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.waiters.expire(handle.clock.now_ms());
    }
}

/// A cheap clone of everything a service needs.
#[derive(Clone)]
pub(crate) struct Handle {
    inner: Arc<Inner>,
}

/// The parts of a running member that services share.
pub(crate) struct Inner {
    pub(crate) member: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) ids: RequestIds,
    pub(crate) waiters: Waiters<Outcome>,
    pub(crate) reads: ReadGate,
    pub(crate) node: Arc<Inbox<NodeEvent>>,
    pub(crate) watch: Arc<Inbox<WatchCommand>>,
    pub(crate) compactions: CompactionGate,
    pub(crate) damaged: crate::damage::Damaged,
    pub(crate) progress: Progress,
    pub(crate) shared: Shared,
    /// Long reads of it.
    pub(crate) lists: Lists,
    pub(crate) auth: Gate,
    pub(crate) window: storage::Window,
    pub(crate) backend: Arc<dyn storage::Backend>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    /// The spans of calls.
    pub(crate) tracer: Tracer,
    pub(crate) watch_backlog: Backlog,
    pub(crate) watch_stats: Mutex<Option<watch::hub::Stats>>,
    pub(crate) signals: Signals,
    pub(crate) v2_stats: crate::v2_stats::V2Stats,
    pub(crate) peers: PeerClient,
    /// The connections to the other members.
    pub(crate) network: Peers,
    /// Snapshots of the store that may be sent to clients at once.
    pub(crate) snapshots: Arc<Semaphore>,
    /// `member/snap` in the data dir.
    pub(crate) snap_dir: PathBuf,
    /// Where the log and the files of snapshots are.
    pub(crate) fs: Arc<dyn vfs::Fs>,
    /// Where work that threads of the driver hand off runs.
    pub(crate) tasks: tokio::runtime::Handle,
}

impl std::ops::Deref for Handle {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Handle {
    /// Shares `inner`.
    pub(crate) fn new(inner: Inner) -> Handle {
        Handle { inner: Arc::new(inner) }
    }

    /// Takes a request through raft and returns what applying it answered (spec raft-server.md,
    /// section 4): backpressure, size, propose, wait.
    pub(crate) fn propose(
        &self,
        request: InternalRaftRequest,
    ) -> impl Future<Output = Outcome> + Send + '_ {
        // Not within the future: see `Proposal`.
        let proposal = Proposal::from(request);
        async move {
            self.check_pressure()?;
            self.propose_for(Identity::nobody(), proposal).await
        }
    }

    /// The same for a request of `who`, after the check of pressure.
    pub(crate) async fn propose_for(&self, who: Identity, proposal: Proposal) -> Outcome {
        let sent = self.send(who, proposal, None)?;
        self.outcome(sent).await
    }

    /// The same for a request that only the leader of a term may propose.
    pub(crate) async fn propose_in(
        &self,
        who: Identity,
        proposal: Proposal,
        as_leader_of: Term,
    ) -> Outcome {
        let sent = self.send(who, proposal, Some(as_leader_of))?;
        self.outcome(sent).await
    }

    /// Registers a wait for the request `id`, for as long as a request may take.
    pub(crate) fn wait_for(&self, id: u64) -> Wait<'_, Outcome> {
        let limit_ms = self.limits.request_timeout.as_millis() as u64;
        self.waiters.register(id, self.clock.now_ms() + limit_ms)
    }

    /// Hands a request to the node thread.
    fn send(
        &self,
        who: Identity,
        proposal: Proposal,
        as_leader_of: Option<Term>,
    ) -> Result<Sent<'_>, Failure> {
        let id = self.ids.next();
        let (username, auth_revision) = (who.user, who.revision);
        let header = RequestHeader { id, username, auth_revision };
        let data = proposal.encode(header, self.limits.request_bytes_max);
        let data = Bytes::from(data.ok_or(Error::RequestTooLarge)?);
        let sent = Sent {
            name: request_name::of(&data),
            began_ms: self.clock.now_ms(),
            began: Instant::now(),
            had_leader: self.progress.leader() != MemberId(0),
            wait: self.wait_for(id),
            // Counted before the push, and until this is dropped, by its client maybe.
            _pending: Pending::new(&self.metrics.proposals_pending),
        };
        let size = data.len();
        self.progress.add_unsynced(size);
        slow::asks(|| slow::Asked::Proposal(data.clone()));
        telemetry::event("Send raft proposal");
        if self.node.push(NodeEvent::Propose { id, data, as_leader_of }).is_err() {
            self.progress.remove_unsynced(size);
            return Err(Error::TooManyRequests.into());
        }
        Ok(sent)
    }

    /// Waits for what comes of a request.
    async fn outcome(&self, mut sent: Sent<'_>) -> Outcome {
        let ended = sent.wait.result().await;
        let answered = matches!(ended, Ended::Answered(_));
        self.metrics.observe_request(sent.name, answered, sent.began.elapsed());
        match ended {
            Ended::Answered(outcome) => {
                telemetry::event("Receive raft result");
                outcome
            }
            Ended::Dropped => Err(Error::Stopped.into()),
            Ended::Expired => {
                self.metrics.proposals_failed.inc();
                let failure = self.timed_out(sent.began_ms, sent.had_leader);
                telemetry::failed(&failure.message);
                Err(failure)
            }
        }
    }

    /// Refuses work while apply, the log or the storage thread is behind.
    pub(crate) fn check_pressure(&self) -> Result<(), Failure> {
        self.check_gap(self.limits.apply_gap_max)
    }

    /// The same for one request: leases may be revoked for longer if the gate PriorityRequest is on.
    pub(crate) fn check_pressure_on(&self, proposal: &Proposal) -> Result<(), Failure> {
        let goes_first = self.limits.priority_requests && proposal.revokes();
        let factor = if goes_first { 2 } else { 1 };
        self.check_gap(self.limits.apply_gap_max * factor)
    }

    fn check_gap(&self, apply_gap_max: u64) -> Result<(), Failure> {
        if self.progress.stopping() {
            return Err(Error::Stopped.into());
        }
        let behind = self.progress.committed().0.saturating_sub(self.progress.applied().0);
        let unflushed = self.window.pending_bytes() > self.limits.window_bytes_max;
        let unsynced = self.progress.unsynced() > self.limits.unsynced_bytes_max;
        if behind > apply_gap_max || unflushed || unsynced {
            return Err(Error::TooManyRequests.into());
        }
        Ok(())
    }

    /// The failure of a proposal whose time has passed (raft-server.md section 2). One that never
    /// met a leader has not been proposed at all.
    pub(crate) fn timed_out(&self, began_ms: u64, had_leader: bool) -> Failure {
        if !had_leader && self.progress.leader() == MemberId(0) {
            return Failure::DEADLINE;
        }
        let grace_ms = 2 * self.limits.election_timeout.as_millis() as u64;
        let since = self.progress.leader_since_ms();
        if since != 0 && began_ms < since && since - began_ms < grace_ms {
            return Error::TimeoutDueToLeaderFail.into();
        }
        if self.progress.leader() != MemberId(0) && self.was_cut_off_since(began_ms) {
            return Error::TimeoutDueToConnectionLost.into();
        }
        Error::Timeout.into()
    }

    /// Refuses a request for which the store has no room, and raises the alarm for it, as etcd does
    /// before it looks at anything else in the request.
    pub(crate) async fn check_quota(&self, cost: u64) -> Result<(), Failure> {
        let (_, in_use) = self.progress.db_size();
        if cost == 0 || self.limits.quota.has_room(cost, in_use) {
            return Ok(());
        }
        // Rare: it is not to make the futures of all puts larger.
        Box::pin(crate::member::raise_no_space(self)).await;
        Err(Error::NoSpace.into())
    }

    /// Returns once a read of the shared stores is linearizable.
    pub(crate) async fn linearizable(&self) -> Result<(), Failure> {
        crate::read_gate::pass(self).await
    }

    /// Waits at most a second until this member has applied what is committed now (lease answers).
    pub(crate) async fn catch_up(&self) -> Result<(), Failure> {
        let wait = self.progress.wait_applied(self.progress.committed());
        match timeout(Duration::from_secs(1), wait).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::TimeoutWaitAppliedIndex.into()),
        }
    }

    /// The response header at revision `revision`; 0 leaves the store's current one.
    pub(crate) fn header(&self, revision: i64) -> ResponseHeader {
        let revision = if revision == 0 { self.shared.store.revision() } else { revision };
        ResponseHeader { revision, ..self.header_without_revision() }
    }

    /// The response header of services that have no revision.
    pub(crate) fn header_without_revision(&self) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster.0,
            member_id: self.member.0,
            revision: 0,
            raft_term: self.progress.term().0,
        }
    }

    /// Completes a header that apply made (which knows only the revision).
    pub(crate) fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or(0, |header| header.revision);
        *header = Some(self.header(revision));
    }
}
