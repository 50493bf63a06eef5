//! Whether the cluster has a leader: a watch that wants one is kept open, and ends without one.

use std::{sync::Arc, time::Duration};

use api::etcdserverpb::WatchCreateRequest;
use tokio::sync::watch;

use super::{caller::Caller, upstream::Upstream};

/// What is watched. From the last revisions there can be, so that nothing ever comes.
const KEY: &str = "__lostleader";
const REVISION: i64 = i64::MAX - 2;
/// Between attempts to watch.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a stream waits for the first news.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of the leader; cheap to clone.
#[derive(Clone)]
pub(crate) struct Leader(watch::Receiver<bool>);

impl Leader {
    /// Begins to look.
    pub(crate) fn new(upstream: Arc<Upstream>) -> Leader {
        let (known, receiver) = watch::channel(false);
        tokio::spawn(async move {
            let caller = Caller::that_requires_leader();
            loop {
                let request = WatchCreateRequest {
                    key: KEY.into(),
                    start_revision: REVISION,
                    ..WatchCreateRequest::default()
                };
                let mut watcher = upstream.watch(&caller, request).await;
                if watcher.header().revision != 0 {
                    known.send_replace(true);
                    while watcher.next().await.is_some_and(|response| !response.canceled) {}
                }
                known.send_replace(false);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Leader(receiver)
    }

    /// Whether there is one, as far as is known within a moment.
    pub(crate) async fn is_known(&self) -> bool {
        let mut known = self.0.clone();
        let waited = tokio::time::timeout(PATIENCE, known.wait_for(|known| *known)).await;
        matches!(waited, Ok(Ok(_)))
    }

    /// Returns when there is none.
    pub(crate) async fn lost(&self) {
        let mut known = self.0.clone();
        let _ended = known.wait_for(|known| !*known).await;
    }
}
