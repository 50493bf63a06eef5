//! The apply thread: runs committed entries through the state machine, in order, and hands out what
//! comes of them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    ids::{RaftIndex, Term},
    raftpb::Entry,
};
use apply::{Applied, Context, Effect, Response, StateMachine};
use storage::Op;

use super::{NodeEvent, fatal, storage_loop::StorageEvent};
use crate::{handle::Handle, inbox::Inbox};

/// What can happen to the apply thread.
pub(crate) enum ApplyEvent {
    /// Raft has committed these entries.
    Committed(Vec<Entry>),
    /// End the thread.
    Stop,
}

/// Where the apply thread sends its results.
pub(crate) struct Outlets {
    /// The storage thread.
    pub(crate) storage: Arc<Inbox<StorageEvent>>,
    /// Where proposals that follow from an apply run.
    pub(crate) tasks: tokio::runtime::Handle,
    /// An apply that takes longer is worth a warning (`--warning-apply-duration`).
    pub(crate) slow: Duration,
}

/// The apply thread's state.
pub(crate) struct ApplyLoop {
    pub(crate) machine: StateMachine,
    pub(crate) outlets: Outlets,
    /// The entry applied last.
    pub(crate) at: (RaftIndex, Term),
}

impl ApplyLoop {
    /// Runs until [`ApplyEvent::Stop`].
    pub(crate) fn run(mut self, handle: &Handle, inbox: &Arc<Inbox<ApplyEvent>>) {
        let mut batch = Vec::new();
        loop {
            inbox.drain(None, &mut batch);
            let mut stop = false;
            for event in batch.drain(..) {
                match event {
                    ApplyEvent::Committed(entries) => self.apply_batch(handle, &entries),
                    ApplyEvent::Stop => stop = true,
                }
            }
            if stop {
                return;
            }
        }
    }

    /// Applies entries that were committed together: their changes enter the window as one, then the
    /// applied index moves, then clients are answered.
    fn apply_batch(&mut self, handle: &Handle, entries: &[Entry]) {
        let Some(last) = entries.last() else { return };
        let mut results = Vec::with_capacity(entries.len());
        let mut ops = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            let mut applied = self.apply_one(handle, entry);
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
            answers.push((applied.request_id, applied.result));
        }
        handle.progress.set_applied(self.at.0);
        handle.node.push_quietly(NodeEvent::Applied { index: self.at.0 });
        if !changes.is_empty() {
            let bytes_max = handle.limits.watch_backlog_bytes_max;
            handle.watch_backlog.hand_over(&handle.watch, changes, bytes_max);
        }
        for (id, result) in answers {
            handle.waiters.answer(id, result.map_err(Into::into));
        }
    }

    fn apply_one(&mut self, handle: &Handle, entry: &Entry) -> Applied {
        let (_, size_in_use) = handle.progress.db_size();
        let has_waiter = handle.waiters.waits(apply::request_id(entry));
        let context = Context { now_ms: handle.clock.now_ms(), has_waiter, size_in_use };
        let began = Instant::now();
        let applied = self.machine.apply(entry, context);
        let took = began.elapsed();
        let success = if applied.result.is_ok() { "true" } else { "false" };
        handle.metrics.observe_apply(op(&applied.result), success, took);
        if took > self.outlets.slow {
            handle.metrics.slow_applies.inc();
            tracing::warn!(index = entry.index, ?took, "apply request took too long");
        }
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

    fn carry_out(&self, handle: &Handle, effect: Effect) {
        match effect {
            Effect::Compact { .. } => self.outlets.storage.push_always(StorageEvent::Compact),
            Effect::ConfChange(change) => handle.node.push_always(NodeEvent::ConfChange { change }),
            Effect::LeaderElected => promote(handle),
            Effect::RaiseNoSpace => {
                let handle = handle.clone();
                self.outlets
                    .tasks
                    .spawn(async move { crate::member::raise_no_space(&handle).await });
            }
            Effect::ClusterVersion { version, .. } => {
                tracing::info!("cluster-version" = %version, "set cluster version");
            }
            Effect::UnknownRequest => tracing::warn!("passed over an entry of an unknown kind"),
            Effect::AddPeer { .. }
            | Effect::UpdatePeer { .. }
            | Effect::RemovePeer(_)
            | Effect::RemovedSelf => {
                fatal("a single member's membership changed", &format!("{effect:?}"));
            }
        }
    }
}

/// The name of a request by its answer, for the metric; what has no answer of its own is `Other`.
fn op(result: &Result<Response, apply::ApplyError>) -> &'static str {
    match result {
        Ok(Response::Range(_)) => "Range",
        Ok(Response::Put(_)) => "Put",
        Ok(Response::DeleteRange(_)) => "DeleteRange",
        Ok(Response::Txn(_)) => "Txn",
        Ok(Response::Compaction(_)) => "Compaction",
        Ok(Response::LeaseGrant(_)) => "LeaseGrant",
        Ok(Response::LeaseRevoke(_)) => "LeaseRevoke",
        Ok(Response::LeaseCheckpoint(_)) => "LeaseCheckpoint",
        Ok(Response::Alarm(_)) => "Alarm",
        _ => "Other",
    }
}

/// This member leads and has committed in its term: it is the one to expire leases.
fn promote(handle: &Handle) {
    if handle.progress.leader() == handle.member {
        let extend = handle.limits.election_timeout.as_millis() as u64;
        let now = handle.clock.now_ms();
        handle.shared.lessor.lock().promote(extend, now);
    }
}
