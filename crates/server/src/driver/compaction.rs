//! Who waits for a physical compaction to end.

use tokio::sync::watch;

/// The revision up to which the store has been compacted in the backend too.
pub(crate) struct CompactionGate {
    finished: watch::Sender<i64>,
}

impl CompactionGate {
    /// Compacted up to `finished` when the process started.
    pub(crate) fn new(finished: i64) -> CompactionGate {
        CompactionGate { finished: watch::Sender::new(finished) }
    }

    /// The storage thread has removed everything that a compaction at `revision` drops.
    pub(crate) fn finish(&self, revision: i64) {
        self.finished.send_if_modified(|finished| {
            let higher = revision > *finished;
            *finished = revision.max(*finished);
            higher
        });
    }

    /// Waits for the end of the compaction at `revision`.
    pub(crate) async fn wait(&self, revision: i64) {
        let mut finished = self.finished.subscribe();
        finished.wait_for(|finished| *finished >= revision).await.expect("the sender is in self");
    }
}
