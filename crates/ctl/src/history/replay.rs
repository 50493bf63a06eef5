//! Every version of a key that the store still has, oldest first.
//!
//! A watch from the oldest revision delivers them all, deletions included, which reads at past
//! revisions could not find. What the compaction kept of the key comes before.

use std::time::Duration;

use api::{etcdserverpb::WatchCreateRequest, kv::KeyValue, mvccpb::event::EventType};
use client::{error::Error, watch::Watcher};

use crate::{
    exit::Failure,
    tree::keyspace::{Keyspace, Read, get},
};

/// How often the watch is asked how far it is.
const ASK: Duration = Duration::from_millis(100);

/// What happened to the key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Version {
    /// It was so when the store was compacted; what was before is gone.
    Kept {
        /// The key.
        kv: KeyValue,
        /// The compaction.
        compacted: i64,
    },
    /// It was put.
    Put(KeyValue),
    /// It was deleted at this revision.
    Deleted(i64),
}

/// Hands over each version of `key` up to the keyspace's revision.
pub(super) async fn replay(
    keys: &Keyspace,
    key: &[u8],
    mut take: impl FnMut(Version) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let answer = keys.range(client::kv::get(key.to_vec())).await?;
    let now = answer.header.unwrap_or_default().revision;
    let end = if keys.revision == 0 { now } else { keys.revision.min(now) };
    let last = crate::tree::keyspace::decoded(&answer)?.pop().map(|kv| kv.mod_revision);
    let mut start = 1;
    loop {
        let request = WatchCreateRequest {
            key: key.to_vec().into(),
            start_revision: start,
            ..WatchCreateRequest::default()
        };
        let watcher = keys.client.require_leader().watch(request).await;
        let compacted = follow(watcher, keys.timeout, end, last, &mut take).await?;
        let Some(compacted) = compacted else { return Ok(()) };
        if compacted >= end {
            // Only what the compaction kept is left.
            return match get(keys, key, compacted).await? {
                Some(kv) => take(Version::Kept { kv, compacted }),
                None => Ok(()),
            };
        }
        if let Some(kv) = get(keys, key, compacted).await? {
            let done = last == Some(kv.mod_revision);
            take(Version::Kept { kv, compacted })?;
            if done {
                return Ok(());
            }
        }
        start = compacted + 1;
    }
}

/// Takes what a watch delivers until it has come to `end`, or to the `last` version. When the
/// watch begins before the compaction, its revision.
async fn follow(
    mut watcher: Watcher,
    timeout: Duration,
    end: i64,
    last: Option<i64>,
    take: &mut impl FnMut(Version) -> Result<(), Failure>,
) -> Result<Option<i64>, Failure> {
    let progress = watcher.progress_handle();
    let mut quiet = Duration::ZERO;
    let mut some = false;
    loop {
        let response = match tokio::time::timeout(ASK, watcher.next()).await {
            Ok(Some(response)) => response,
            Ok(None) => return Err(Error::Canceled.into()),
            Err(_) if quiet >= timeout => {
                return Err(Error::DeadlineExceeded { connecting: None }.into());
            }
            Err(_) => {
                quiet += ASK;
                progress.request().await;
                continue;
            }
        };
        quiet = Duration::ZERO;
        if response.compact_revision != 0 && !some {
            return Ok(Some(response.compact_revision));
        }
        if let Some(error) = response.error() {
            return Err(error.into());
        }
        for event in &response.events {
            let kv = event.kv.as_ref().and_then(|kv| kv.decode().ok()).unwrap_or_default();
            if kv.mod_revision > end {
                return Ok(None);
            }
            some = true;
            let revision = kv.mod_revision;
            take(match event.r#type() {
                EventType::Put => Version::Put(kv),
                EventType::Delete => Version::Deleted(revision),
            })?;
            if last == Some(revision) {
                return Ok(None);
            }
        }
        if response.is_progress() && response.header.revision >= end {
            return Ok(None);
        }
    }
}
