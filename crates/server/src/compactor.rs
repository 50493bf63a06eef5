//! Automatic compaction: what `--auto-compaction-mode` and `--auto-compaction-retention` ask for
//! (spec raft-server.md section 12).
//!
//! When and at which revision is decided by two pure clocks, [`Periodic`] and [`ByRevision`], which
//! are told the time; here they are waited for. Only the leader compacts, through raft; the others
//! keep count, so that a new leader goes on where the old one was.

mod by_revision;
mod periodic;

use std::time::{Duration, Instant};

use api::{
    error::Error,
    etcdserverpb::{CompactionRequest, InternalRaftRequest},
};
use config::{GoDuration, Retention};

use crate::handle::Handle;
use by_revision::ByRevision;
use periodic::Periodic;

/// When to compact, and at which revision.
pub(crate) enum Compactor {
    /// `--auto-compaction-mode=periodic`.
    Periodic(Periodic),
    /// `--auto-compaction-mode=revision`.
    ByRevision(ByRevision),
}

impl Compactor {
    /// The compactor that a retention asks for; `None` when that is off.
    pub(crate) fn new(retention: Retention) -> Option<Compactor> {
        if retention.is_off() {
            return None;
        }
        Some(match retention {
            Retention::Periodic(period) => {
                let period_ms = period.nanos().max(0) as u64 / 1_000_000;
                Compactor::Periodic(Periodic::new(period_ms, 0))
            }
            Retention::Revisions(count) => Compactor::ByRevision(ByRevision::new(count)),
        })
    }

    fn log_start(&self, revision: i64) {
        match self {
            Compactor::Periodic(periodic) => tracing::info!(
                revision,
                "compact-period" = %duration(periodic.period_ms()),
                "starting auto periodic compaction"
            ),
            Compactor::ByRevision(by_revision) => tracing::info!(
                revision,
                "revision-compaction-retention" = by_revision.retention(),
                "starting auto revision compaction"
            ),
        }
    }

    fn log_end(&self, revision: i64, took: Duration) {
        let took = GoDuration::from(took);
        match self {
            Compactor::Periodic(periodic) => tracing::info!(
                revision,
                "compact-period" = %duration(periodic.period_ms()),
                %took,
                "completed auto periodic compaction"
            ),
            Compactor::ByRevision(by_revision) => tracing::info!(
                revision,
                "revision-compaction-retention" = by_revision.retention(),
                %took,
                "completed auto revision compaction"
            ),
        }
    }

    fn log_failure(&self, revision: i64, error: &str) {
        match self {
            Compactor::Periodic(periodic) => tracing::warn!(
                revision,
                "compact-period" = %duration(periodic.period_ms()),
                "retry-interval" = %duration(periodic.sample_ms()),
                error,
                "failed auto periodic compaction"
            ),
            Compactor::ByRevision(by_revision) => tracing::warn!(
                revision,
                "revision-compaction-retention" = by_revision.retention(),
                "retry-interval" = %duration(by_revision::INTERVAL_MS),
                error,
                "failed auto revision compaction"
            ),
        }
    }

    /// Takes note of the current revision, at the beginning of each wait. Returns how long to wait.
    fn begin_wait(&mut self, revision: i64) -> Duration {
        Duration::from_millis(match self {
            Compactor::Periodic(periodic) => periodic.begin_wait(revision),
            Compactor::ByRevision(_) => by_revision::INTERVAL_MS,
        })
    }

    /// The revision to compact at after a wait, if there is one.
    fn due(&mut self, revision: i64, now_ms: u64) -> Option<i64> {
        match self {
            Compactor::Periodic(periodic) => periodic.due(now_ms),
            Compactor::ByRevision(by_revision) => by_revision.due(revision),
        }
    }

    /// The revision that [`Compactor::due`] gave is compacted.
    fn compacted(&mut self, revision: i64, now_ms: u64) {
        match self {
            Compactor::Periodic(periodic) => periodic.compacted(revision, now_ms),
            Compactor::ByRevision(by_revision) => by_revision.compacted(revision),
        }
    }
}

fn duration(ms: u64) -> GoDuration {
    GoDuration::from(Duration::from_millis(ms))
}

/// Compacts until the member stops.
pub(crate) async fn run(handle: Handle, mut compactor: Compactor) {
    let began = Instant::now();
    let now_ms = || began.elapsed().as_millis() as u64;
    loop {
        let wait = compactor.begin_wait(handle.shared.store.revision());
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = handle.progress.wait_stopping() => return,
        }
        if handle.progress.leader() != handle.member {
            continue;
        }
        let Some(revision) = compactor.due(handle.shared.store.revision(), now_ms()) else {
            continue;
        };
        compactor.log_start(revision);
        let start = Instant::now();
        match compact(&handle, revision).await {
            Ok(()) => {
                compactor.compacted(revision, now_ms());
                compactor.log_end(revision, start.elapsed());
            }
            Err(error) => compactor.log_failure(revision, &error),
        }
    }
}

/// Proposes a compaction; one that has happened already is as good.
async fn compact(handle: &Handle, revision: i64) -> Result<(), String> {
    let compaction = Some(CompactionRequest { revision, physical: false });
    match handle.propose(InternalRaftRequest { compaction, ..Default::default() }).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.message == Error::Compacted.message() => Ok(()),
        Err(failure) => Err(failure.message.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_of_nothing_makes_no_compactor() {
        assert!(Compactor::new(Retention::Periodic(GoDuration::ZERO)).is_none());
        assert!(Compactor::new(Retention::Revisions(0)).is_none());
        let periodic = Compactor::new(Retention::Periodic(GoDuration::from_secs(3600)));
        assert!(matches!(periodic, Some(Compactor::Periodic(p)) if p.period_ms() == 3_600_000));
        let by_revision = Compactor::new(Retention::Revisions(1000));
        assert!(matches!(by_revision, Some(Compactor::ByRevision(r)) if r.retention() == 1000));
    }
}
