//! Damaged rows of the store: found by any read, and by a slow walk over all of them.
//!
//! A row that is not what was written is never answered: its readers get etcd's "corrupt cluster".
//! The member says which row it is, fails `/readyz` and `/health`, and gives the leadership away. It
//! does not raise the CORRUPT alarm, for that makes *every* member refuse reads and writes: the
//! checksum proves that the fault is here, and the others are right. Where applying an entry depends
//! on a damaged row the member ends: going on would make it differ from the others. `etcdutl rebuild`
//! brings the store back from them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use storage::{
    Bucket, Damage,
    schema::{key::RevisionKey, revision},
    scrub::{self, Position},
};

use crate::{driver::fatal, handle::Handle};

/// How often reads are asked for what they found.
const LOOK: Duration = Duration::from_secs(1);
/// A step of the walk.
const STEP_BYTES: u64 = 1 << 20;
/// The pause after it: the walk reads about 16 MiB a second.
const STEP_PAUSE: Duration = Duration::from_millis(60);
/// Steps between two writes of the position.
const STEPS_KEPT: u64 = 64;
/// Where the position is kept, in `member/snap`.
const POSITION_NAME: &str = "oxetcd.scrub";

/// How many damaged rows this process has met.
#[derive(Default)]
pub(crate) struct Damaged(AtomicU64);

impl Damaged {
    /// Whether there are any, in words.
    pub(crate) fn reason(&self) -> Option<String> {
        let rows = self.0.load(Ordering::Relaxed);
        (rows > 0).then(|| format!("{rows} stored rows are damaged"))
    }

    /// The store was replaced.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Tells what reads have found, until the member stops.
pub(crate) async fn watch(handle: Handle) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = handle.progress.wait_stopping() => return,
        }
        let found = handle.backend.take_damage();
        if found.is_empty() {
            continue;
        }
        let first = handle.damaged.0.fetch_add(found.len() as u64, Ordering::Relaxed) == 0;
        for damage in &found {
            tell(&handle, damage);
        }
        if first && handle.leads() {
            tracing::warn!("gives the leadership away: its store is damaged");
            handle.hand_over_leadership().await;
        }
    }
}

fn tell(handle: &Handle, damage: &Damage) {
    let key = user_key(handle, damage);
    tracing::error!(
        "local-member-id" = %handle.member,
        row = %damage,
        key = key.as_deref().unwrap_or("unknown"),
        "a stored row is damaged and not served; rebuild the member from its peers with \
         `etcdutl rebuild`"
    );
}

/// The key that a row of the `key` bucket is of, from the other row of its revision.
fn user_key(handle: &Handle, damage: &Damage) -> Option<String> {
    if damage.bucket != Bucket::Key {
        return None;
    }
    let of = damage.revision()?;
    let view = handle.backend.read().ok()?;
    let put = RevisionKey::new(of, damage.key.len() == storage::schema::key::TOMBSTONE_BYTES);
    let row = view.get(Bucket::Revision, &put).ok()??;
    Some(revision::decode(row)?.key.escape_ascii().to_string())
}

/// Walks over the store once each `period`, and goes on where an earlier process stopped.
pub(crate) async fn scrub(handle: Handle, period: Duration) {
    let path = handle.snap_dir.join(POSITION_NAME);
    let (mut at, ended) = read(&path);
    let mut wait = match at {
        Some(_) => LOOK,
        None => period.saturating_sub(since(ended)).max(LOOK),
    };
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = handle.progress.wait_stopping() => return,
        }
        if !walk(&handle, &path, at.take().unwrap_or_default()).await {
            return;
        }
        wait = period.max(LOOK);
    }
}

/// One walk; false when the member stops.
async fn walk(handle: &Handle, path: &Path, from: Position) -> bool {
    let (mut at, mut steps) = (from, 0_u64);
    let (mut rows, mut bytes, mut damaged) = (0, 0, 0);
    loop {
        let backend = handle.backend.clone();
        let step = tokio::task::spawn_blocking(move || scrub::step(&*backend, &at, STEP_BYTES));
        let step = match step.await.expect("a step does not panic") {
            Ok(step) => step,
            Err(error) if error.is_damage() => {
                tracing::error!(%error, "the store cannot be walked over");
                return true;
            }
            Err(error) => fatal("failed to read the store", &error),
        };
        (rows, bytes, damaged) = (rows + step.rows, bytes + step.bytes, damaged + step.damaged);
        steps += 1;
        let Some(next) = step.next else { break };
        if steps.is_multiple_of(STEPS_KEPT) {
            keep(path, Some(&next));
        }
        at = next;
        tokio::select! {
            () = tokio::time::sleep(STEP_PAUSE) => {}
            () = handle.progress.wait_stopping() => {
                keep(path, Some(&at));
                return false;
            }
        }
    }
    keep(path, None);
    tracing::info!(rows, bytes, damaged, "checked every row of the store");
    true
}

/// An unfinished walk, and when the last one ended.
fn read(path: &PathBuf) -> (Option<Position>, u64) {
    let Ok(bytes) = fs::read(path) else { return (None, 0) };
    let Some((ended, position)) = bytes.split_first_chunk::<8>() else { return (None, 0) };
    let at = (!position.is_empty()).then(|| Position::from_bytes(position));
    (at, u64::from_be_bytes(*ended))
}

/// Keeps the position. It is a hint: a failure only makes the next walk begin anew.
fn keep(path: &Path, at: Option<&Position>) {
    let mut bytes = now().to_be_bytes().to_vec();
    bytes.extend(at.map(Position::to_bytes).unwrap_or_default());
    let temporary = path.with_extension("scrub.tmp");
    let kept: io::Result<()> =
        fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = kept {
        tracing::warn!(path = %path.display(), %error, "failed to keep how far the check has come");
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn since(unix: u64) -> Duration {
    Duration::from_secs(now().saturating_sub(unix))
}
