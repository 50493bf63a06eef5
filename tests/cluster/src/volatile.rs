//! A disk of its own for a member that loses, with the power, what was not synced.
//!
//! A file system in this process's memory, mounted through FUSE. So a crash of the machine costs a
//! member what a real one would, while only its process has to be killed; the page cache of the
//! kernel, which outlives a killed process, does not save it. The disk can also be full, slow to sync,
//! or fail to.

mod content;
mod mount;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use rand::{SeedableRng, rngs::SmallRng};

use self::{
    mount::{Mounted, Slowness},
    tree::Tree,
};
use crate::disk::guard;

pub use tree::Lost;

/// Threads that answer the kernel: more than the syncs that may be slow at a time.
const THREADS: usize = 4;

/// What is shared with the threads that answer the kernel.
struct Shared {
    tree: Mutex<Tree>,
    slowness: Slowness,
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mounted disk.
pub struct Volatile {
    mount: PathBuf,
    shared: Arc<Shared>,
    rng: SmallRng,
    session: Option<BackgroundSession>,
    guard: Option<Child>,
}

impl Volatile {
    /// Makes a disk, mounted below `directory`. The seed decides what a loss of power takes.
    pub fn make(directory: &Path, name: &str, seed: u64) -> Result<Volatile> {
        let mount = directory.join(format!("{name}.volatile"));
        std::fs::create_dir_all(&mount)?;
        let shared =
            Arc::new(Shared { tree: Mutex::new(Tree::new()), slowness: Slowness::default() });
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("volatile".to_owned())];
        config.acl = SessionACL::All;
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(Mounted(shared.clone()), &mount, &config)
            .context("mount a file system in memory")?;
        let guard = Some(guard(&mount)?);
        let rng = SmallRng::seed_from_u64(seed);
        Ok(Volatile { mount, shared, rng, session: Some(session), guard })
    }

    /// Why this machine cannot have such disks, if it cannot.
    pub fn is_impossible() -> Option<String> {
        let attempt = || -> Result<()> {
            let directory = tempfile::TempDir::with_prefix("volatile-")?;
            let disk = Volatile::make(directory.path(), "probe", 1)?;
            std::fs::write(disk.path().join("probe"), b"probe").context("write to it")
        };
        attempt().err().map(|error| format!("{error:#}"))
    }

    /// Its root directory.
    pub fn path(&self) -> PathBuf {
        self.mount.clone()
    }

    /// Takes what was not synced, or some of it. No process may use the disk.
    pub fn lose_power(&mut self) -> Lost {
        self.shared.tree().lose_power(&mut self.rng)
    }

    /// From now on, or no longer, there is no room for more.
    pub fn fill(&self, full: bool) {
        self.shared.tree().full = full;
    }

    /// From now on, or no longer, every sync fails, and loses what it was to write.
    pub fn fail(&self, failing: bool) {
        self.shared.tree().failing = failing;
    }

    /// So long takes every sync from now on.
    pub fn slow(&self, each: Duration) {
        self.shared.slowness.set(each);
    }
}

impl Drop for Volatile {
    fn drop(&mut self) {
        self.slow(Duration::ZERO);
        if let Some(mut guard) = self.guard.take() {
            // Its input ends; it unmounts the disk and ends.
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
        // It has been unmounted: its threads end.
        drop(self.session.take());
    }
}
