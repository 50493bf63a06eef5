//! The apply thread: runs committed entries through the state machine, in order, and hands out what
//! comes of them.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use api::{
    error::Error,
    ids::{RaftIndex, Term},
    raftpb::{Entry, EntryType, Snapshot, SnapshotMetadata},
};
use apply::{Applied, ApplyError, Context, Effect, Response, StateMachine};
use config::GoDuration;
use membership::Version;
use prost::Message as _;
use storage::Op;

use super::{NodeEvent, WatchCommand, fatal, storage_loop::StorageEvent};
use crate::{
    clock, describe,
    handle::{Handle, Outcome},
    inbox::Inbox,
    metrics::{Metrics, request_name},
    slow,
};

/// What can happen to the apply thread.
pub(crate) enum ApplyEvent {
    /// Raft has committed these entries.
    Committed(Vec<Entry>),
    /// A snapshot of the leader takes the place of what is applied.
    Restore {
        /// The snapshot: index, term, members.
        snapshot: Box<Snapshot>,
        /// Resolves once the log has the snapshot; fails when the member stops before.
        saved: mpsc::Receiver<()>,
    },
    /// End the thread.
    Stop,
}

/// Where the apply thread sends its results.
pub(crate) struct Outlets {
    /// The storage thread.
    pub(crate) storage: Arc<Inbox<StorageEvent>>,
    /// Where proposals that follow from an apply run.
    pub(crate) tasks: tokio::runtime::Handle,
}

/// The apply thread's state.
pub(crate) struct ApplyLoop {
    pub(crate) machine: StateMachine,
    pub(crate) outlets: Outlets,
    /// The entry applied last.
    pub(crate) at: (RaftIndex, Term),
    /// The index of the last snapshot that was cut.
    pub(crate) cut: RaftIndex,
    /// Whether one is to be cut after this batch, however small.
    pub(crate) cut_now: bool,
}

/// What an entry holds beside its data.
const ENTRY_BYTES: usize = std::mem::size_of::<Entry>();

/// About what entries hold in memory.
pub(crate) fn size_of_entries(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.data.len() + ENTRY_BYTES).sum()
}

/// An answer this long takes no time to send.
const SHORT_BYTES: usize = 4096;

/// Whether an answer to a client takes no time to make of this and to send.
fn is_short(outcome: &Outcome) -> bool {
    let bytes = match outcome {
        Ok(Response::Put(answer)) => answer.encoded_len(),
        Ok(Response::DeleteRange(answer)) => answer.encoded_len(),
        Ok(Response::Txn(answer)) => answer.encoded_len(),
        Ok(Response::LeaseGrant(answer)) => answer.encoded_len(),
        Ok(Response::LeaseRevoke(answer)) => answer.encoded_len(),
        _ => return false,
    };
    bytes <= SHORT_BYTES
}

/// How long clients may read the answer of the request that removed this member.
const FAREWELL: Duration = Duration::from_secs(1);

impl ApplyLoop {
    /// Does what the apply thread was given.
    pub(crate) fn execute(&mut self, handle: &Handle, event: ApplyEvent) {
        match event {
            ApplyEvent::Committed(entries) => {
                self.apply_batch(handle, &entries);
                handle.progress.remove_unapplied(size_of_entries(&entries));
            }
            ApplyEvent::Restore { snapshot, saved } => self.restore(handle, &snapshot, &saved),
            ApplyEvent::Stop => unreachable!("handled by the thread"),
        }
    }

    /// Whether a batch now could be followed by a snapshot of the log.
    pub(crate) fn cuts_soon(&self, handle: &Handle) -> bool {
        self.cut_now || self.at.0.0 + 1 - self.cut.0 > handle.limits.snapshot_count
    }

    /// Applies entries that were committed together: their changes enter the window as one, then the
    /// applied index moves, then clients are answered.
    pub(crate) fn apply_batch(&mut self, handle: &Handle, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let mut time = BatchTime::now(handle);
        let mut results = Vec::with_capacity(entries.len());
        let mut ops = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            let mut applied = self.apply_one(handle, entry, &mut time);
            ops.append(&mut applied.ops);
            changes.extend(applied.changes.take());
            results.push(applied);
        }
        self.at = (RaftIndex(last.index), Term(last.term));
        self.store(handle, ops);
        let mut answers = Vec::with_capacity(results.len());
        for applied in results {
            for effect in applied.effects {
                self.carry_out(handle, effect);
            }
            answers.push((applied.request_id, applied.result.map_err(Into::into)));
        }
        let is_alone = answers.len() == 1;
        handle.progress.set_applied(self.at.0);
        handle.node.push_quietly(NodeEvent::Applied { index: self.at.0 });
        if !changes.is_empty() {
            let bytes_max = handle.limits.watch_backlog_bytes_max;
            handle.watch_backlog.hand_over(&handle.watch, changes, bytes_max);
        }
        match answers.pop_if(|(_, outcome)| is_alone && is_short(outcome)) {
            Some((id, outcome)) => handle.waiters.answer_shortly(id, outcome),
            None => handle.waiters.answer(answers),
        }
        let due = self.at.0.0 - self.cut.0 > handle.limits.snapshot_count;
        if std::mem::take(&mut self.cut_now) || due {
            self.cut(handle);
        }
    }

    /// Cuts a snapshot here: the members as of this index, for the log and for older releases. It
    /// counts once the store has everything up to here.
    fn cut(&mut self, handle: &Handle) {
        let (index, term) = self.at;
        self.cut = index;
        let membership = handle.shared.membership.read();
        let conf_state = Some(membership.conf_state());
        let metadata = SnapshotMetadata { conf_state, index: index.0, term: term.0 };
        let began = Instant::now();
        let data = handle.shared.v2.read().save(&membership.to_v2_node()).into();
        handle.metrics.snapshots.marshal.observe(began.elapsed().as_secs_f64());
        drop(membership);
        let snapshot = Box::new(Snapshot { data, metadata: Some(metadata) });
        handle.node.push_quietly(NodeEvent::Cut(snapshot));
    }

    /// Follows a snapshot of the leader: the store, then everything that is read from it, then the
    /// connections, then those who wait for the index.
    fn restore(&mut self, handle: &Handle, snapshot: &Snapshot, saved: &mpsc::Receiver<()>) {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let at = (RaftIndex(metadata.index), Term(metadata.term));
        assert!(at.0 > self.at.0, "a snapshot is ahead of what is applied");
        if saved.recv().is_err() {
            // The member stops; the next start begins where this one ended.
            return;
        }
        tracing::info!(
            "current-applied-index" = self.at.0.0,
            "incoming-leader-snapshot-index" = metadata.index,
            "incoming-leader-snapshot-term" = metadata.term,
            "applying snapshot"
        );
        handle.metrics.snapshots_applying.inc();
        let (done, replaced) = mpsc::channel();
        let v2 = crate::v2::rows_of(&snapshot.data);
        self.outlets.storage.push_always(StorageEvent::Restore { at, v2, done });
        let attachments = replaced.recv().expect("the storage thread outlives this one");
        if let Err(error) = self.machine.restore(&*handle.backend, attachments, at.0) {
            fatal("failed to recover from a snapshot of the leader", &error);
        }
        let membership = handle.shared.membership.read().clone();
        handle.network.replace_all(handle.member, membership.members());
        self.at = at;
        self.cut = at.0;
        handle.progress.set_applied(at.0);
        handle.node.push_quietly(NodeEvent::Applied { index: at.0 });
        handle.watch.push_always(WatchCommand::Lagged);
        handle.metrics.snapshots_applying.dec();
        tracing::info!("applied-index" = at.0.0, "applied snapshot");
    }

    fn apply_one(&mut self, handle: &Handle, entry: &Entry, time: &mut BatchTime) -> Applied {
        let (_, size_in_use) = handle.progress.db_size();
        let name = request_name::of(&entry.data);
        // What it is asked for is whether to read: a put does not.
        let has_waiter = name == "Put" || handle.waiters.waits(apply::request_id(entry));
        let BatchTime { now_ms, unix_ns, .. } = *time;
        let applied =
            self.machine.apply(entry, Context { now_ms, has_waiter, size_in_use, unix_ns });
        let took = time.lap();
        count(&handle.metrics, name, entry, &applied, took);
        warn(handle, entry, &applied, took);
        applied
    }

    /// Hands changes to the window and, where it needs to know, the storage thread.
    fn store(&self, handle: &Handle, ops: Vec<Op>) {
        let limits = &handle.limits;
        handle.window.append(ops, self.at, handle.shared.store.revision());
        let full = handle.window.pending_bytes() > limits.window_bytes_flush
            || handle.window.pending_ops() > limits.window_ops_flush;
        if full {
            self.outlets.storage.push_always(StorageEvent::Full);
        } else if handle.progress.arm_flush() {
            self.outlets.storage.push_always(StorageEvent::Filled);
        }
    }

    fn carry_out(&mut self, handle: &Handle, effect: Effect) {
        match effect {
            Effect::Compact { .. } => self.outlets.storage.push_always(StorageEvent::Compact),
            Effect::ConfChange(change) => handle.node.push_always(NodeEvent::ConfChange { change }),
            Effect::LeaderElected { term } => {
                promote(handle, term);
                handle.signals.first_commit();
            }
            Effect::RaiseNoSpace => {
                let handle = handle.clone();
                self.outlets
                    .tasks
                    .spawn(async move { crate::member::raise_no_space(&handle).await });
            }
            Effect::ClusterVersion { version, last } => {
                // An older release must not meet newer entries in the log.
                self.cut_now |= last.is_some_and(|last| version < last);
                say_version(handle, version, last);
                handle.signals.cluster_version();
            }
            Effect::UnknownRequest => tracing::warn!("passed over an entry of an unknown kind"),
            Effect::AddPeer { id, peer_urls } => handle.network.add(id, &peer_urls),
            Effect::UpdatePeer { id, peer_urls } => handle.network.update(id, &peer_urls),
            Effect::RemovePeer(id) => handle.network.remove(id),
            Effect::RemovedSelf => {
                let handle = handle.clone();
                self.outlets.tasks.spawn(async move {
                    tokio::time::sleep(FAREWELL).await;
                    handle.progress.set_removed();
                });
            }
        }
    }
}

/// The clocks, read once for a batch; the time of each entry is from the end of the one before.
struct BatchTime {
    now_ms: u64,
    unix_ns: i64,
    last: Instant,
}

impl BatchTime {
    fn now(handle: &Handle) -> BatchTime {
        let (now_ms, unix_ns) = (handle.clock.now_ms(), clock::unix_ns());
        BatchTime { now_ms, unix_ns, last: Instant::now() }
    }

    /// What passed since the last call.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now - std::mem::replace(&mut self.last, now)
    }
}

/// Says which version the cluster has agreed on, in etcd's words.
fn say_version(handle: &Handle, version: Version, last: Option<Version>) {
    let short = |version: Version| format!("{}.{}", version.major, version.minor);
    match last {
        Some(last) => tracing::info!(
            "cluster-id" = %handle.cluster,
            "local-member-id" = %handle.member,
            from = short(last),
            to = short(version),
            "updated cluster version"
        ),
        None => tracing::info!(
            "cluster-id" = %handle.cluster,
            "local-member-id" = %handle.member,
            "cluster-version" = short(version),
            "set initial cluster version"
        ),
    }
}

/// Counts an entry and what came of it. Changes of the configuration have no series.
fn count(metrics: &Metrics, name: &str, entry: &Entry, applied: &Applied, took: Duration) {
    if entry.r#type != EntryType::EntryNormal as i32 || entry.data.is_empty() {
        return;
    }
    metrics.observe_apply(name, applied.result.is_ok(), took);
    match &applied.result {
        Ok(Response::LeaseGrant(response)) => metrics.leases.grant(response.ttl),
        Ok(Response::Alarm(response)) => metrics.saw_alarms(&response.alarms),
        Ok(Response::LeaseRevoke(_)) => metrics.leases.revoked.inc(),
        Ok(Response::Compaction(_)) => {
            metrics.compactions.index_pause.observe(took.as_secs_f64() * 1000.0);
        }
        _ => {}
    }
    if applied.result.is_ok() {
        metrics.changed(name, applied.changes.as_ref());
    }
}

/// Warns of an entry that took long, and of one that failed; one that was compacted before it came is
/// no failure.
fn warn(handle: &Handle, entry: &Entry, applied: &Applied, took: Duration) {
    if entry.r#type != EntryType::EntryNormal as i32 || entry.data.is_empty() {
        return;
    }
    let error = applied.result.as_ref().err().map(|error| &*error.message);
    slow::warn_of_apply(handle, "", took, error, || {
        (describe::entry(&entry.data), size_text(&applied.result))
    });
    if let Some(error) = error.filter(|error| *error != Error::Compacted.message()) {
        tracing::warn!(
            took = %GoDuration::from(took),
            request = describe::entry(&entry.data),
            response = size_text(&applied.result),
            error,
            "failed to apply request"
        );
    }
}

/// The size of an answer, in etcd's words.
fn size_text(result: &Result<Response, ApplyError>) -> String {
    let bytes = match result {
        Ok(Response::Range(answer)) => answer.encoded_len(),
        Ok(Response::Put(answer)) => answer.encoded_len(),
        Ok(Response::DeleteRange(answer)) => answer.encoded_len(),
        Ok(Response::Txn(answer)) => answer.encoded_len(),
        Ok(Response::Compaction(answer)) => answer.encoded_len(),
        Ok(Response::LeaseGrant(answer)) => answer.encoded_len(),
        Ok(Response::LeaseRevoke(answer)) => answer.encoded_len(),
        Ok(Response::LeaseCheckpoint(answer)) => answer.encoded_len(),
        Ok(Response::Alarm(answer)) => answer.encoded_len(),
        Ok(Response::AuthStatus(answer)) => answer.encoded_len(),
        Ok(Response::Authenticate { response, .. }) => response.encoded_len(),
        Ok(Response::UserGet(answer)) => answer.encoded_len(),
        Ok(Response::UserList(answer)) => answer.encoded_len(),
        Ok(Response::RoleGet(answer)) => answer.encoded_len(),
        Ok(Response::RoleList(answer)) => answer.encoded_len(),
        Ok(Response::AuthChange(header)) => {
            // The answers have nothing but their header.
            header.as_ref().map_or(0, |header| prost::encoding::message::encoded_len(1, header))
        }
        Ok(Response::Empty | Response::Members(_) | Response::V2(_)) | Err(_) => {
            return String::new();
        }
    };
    format!("size:{bytes}")
}

/// If this member leads in `term`, it has committed in it: it is the one to expire leases. An older
/// leader's entry says nothing of what this one has still to apply.
fn promote(handle: &Handle, term: Term) {
    let extend = handle.limits.election_timeout.as_millis() as u64;
    let now = handle.clock.now_ms();
    // Looked at under the lock: who loses leadership says so first and takes the lock then. The term
    // last: it is told before the leader.
    let mut lessor = handle.shared.lessor.lock();
    if handle.progress.leader() == handle.member && handle.progress.term() == term {
        lessor.promote(term, extend, now);
    }
}
