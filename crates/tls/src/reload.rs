//! Values read from files, read again when the files change.
//!
//! A file has changed when its time, size, inode or device is another one. Whoever needs a value
//! asks [`Reloading::current`]; at most once an interval that looks at the files, and reads those
//! that changed, on a thread that may block. The asker waits for it, so that a list of revoked
//! certificates holds from the first connection after its file changed on; others are not held up
//! by a file system that hangs, because only one such look is ever under way.
//!
//! Invariant: a file that cannot be read or makes no sense changes nothing. What was read before
//! stays, a warning says so once, and the file is tried again.

use std::{
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};

use crate::error::Error;

/// How often files are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// What tells one state of a file from another; `None` while there is no such file.
type Stamp = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// One value and the files that it is read from.
pub(crate) struct Part<T> {
    /// What it is, for the log.
    name: &'static str,
    paths: Vec<PathBuf>,
    load: fn(&[PathBuf]) -> Result<T, Error>,
    stamps: Vec<Stamp>,
    value: Arc<T>,
    failure: Option<String>,
}

impl<T> Part<T> {
    /// Reads the value for the first time.
    pub(crate) fn open(
        name: &'static str,
        paths: Vec<PathBuf>,
        load: fn(&[PathBuf]) -> Result<T, Error>,
    ) -> Result<Part<T>, Error> {
        let stamps = stamps(&paths);
        let value = Arc::new(load(&paths)?);
        Ok(Part { name, paths, load, stamps, value, failure: None })
    }

    /// The value as it was last read.
    pub(crate) fn value(&self) -> Arc<T> {
        self.value.clone()
    }

    /// Reads the value again if its files changed and `accepts` the new one; whether it did.
    pub(crate) fn refresh(&mut self, accepts: fn(&T) -> Result<(), String>) -> bool {
        // Taken before reading: what changes while it is read is seen the next time.
        let stamps = stamps(&self.paths);
        if stamps == self.stamps && self.failure.is_none() {
            return false;
        }
        let loaded = (self.load)(&self.paths).map_err(|error| error.to_string());
        self.stamps = stamps;
        match loaded.and_then(|value| accepts(&value).map(|()| value)) {
            Ok(value) => {
                tracing::info!(files = ?self.paths, "read {} again", self.name);
                self.value = Arc::new(value);
                self.failure = None;
                true
            }
            Err(error) => {
                if self.failure.as_ref() != Some(&error) {
                    tracing::warn!(
                        files = ?self.paths,
                        %error,
                        "failed to read {} again; keeping what was read before", self.name
                    );
                }
                self.failure = Some(error);
                false
            }
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        std::fs::metadata(path).ok().map(|meta| {
            let (modified, changed) =
                ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
            (meta.dev(), meta.ino(), meta.size(), modified, changed)
        })
    };
    paths.iter().map(stamp).collect()
}

/// Something made of parts.
pub(crate) trait Source: Send + 'static {
    /// What is made.
    type Made: Send + Sync + 'static;

    /// Makes it from the parts as they are.
    fn make(&self) -> Self::Made;

    /// Refreshes the parts; whether any changed.
    fn refresh(&mut self) -> bool;
}

/// Something made of files that follows their changes.
pub(crate) struct Reloading<S: Source> {
    source: Arc<Mutex<S>>,
    made: Arc<RwLock<Arc<S::Made>>>,
    /// When the files were looked at last.
    looked: tokio::sync::Mutex<Instant>,
    /// Whether a look is under way.
    looking: Arc<AtomicBool>,
    interval: Duration,
}

impl<S: Source> Reloading<S> {
    /// Follows the files of `source`, looking at them once in `interval` at most.
    pub(crate) fn new(source: S, interval: Duration) -> Reloading<S> {
        let made = Arc::new(RwLock::new(Arc::new(source.make())));
        Reloading {
            source: Arc::new(Mutex::new(source)),
            made,
            looked: tokio::sync::Mutex::new(Instant::now()),
            looking: Arc::new(AtomicBool::new(false)),
            interval,
        }
    }

    /// What the files say.
    pub(crate) async fn current(&self) -> Arc<S::Made> {
        let mut looked = self.looked.lock().await;
        if looked.elapsed() >= self.interval && !self.looking.swap(true, Ordering::AcqRel) {
            let (source, made) = (self.source.clone(), self.made.clone());
            let looking = self.looking.clone();
            let look = tokio::task::spawn_blocking(move || {
                let mut source = source.lock();
                if source.refresh() {
                    *made.write() = Arc::new(source.make());
                }
                looking.store(false, Ordering::Release);
            });
            *looked = Instant::now();
            look.await.expect("reading files does not panic");
        }
        drop(looked);
        self.made.read().clone()
    }
}
