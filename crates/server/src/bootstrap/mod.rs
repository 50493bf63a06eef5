//! From a data dir to the parts of a member: made new, joined to a running cluster, or recovered
//! (spec raft-server.md section 8, storage.md section 7).
//!
//! Whatever a crash leaves behind is one of these: no log, a log without entries, a log with
//! entries and a store that is older, or a log whose last snapshot came from the leader while the
//! store has not been replaced by it yet. Each is made good here.

mod force;
mod initial;
mod join;
mod recover;

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result, anyhow, bail, ensure};
use api::ids::{ClusterId, MemberId};
use apply::StateMachine;
use membership::Member;
use replica::Recovered;
use storage::{
    Backend,
    engine::{self, LmdbBackend, LmdbOptions},
    schema::meta,
};
use wal::Wal;

use crate::{peer_client::PeerClient, peers, settings::Settings};

/// A member that is not running yet.
pub(crate) struct Parts {
    pub(crate) member: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) machine: StateMachine,
    pub(crate) wal: Wal,
    pub(crate) recovered: Recovered,
    /// Members of the running cluster that this one joins, as one of them told: they can be
    /// answered before the log says who they are.
    pub(crate) remotes: Vec<Member>,
    /// The members that a new cluster begins with.
    pub(crate) founders: Vec<Member>,
    /// How many members the cluster has, as far as is known.
    pub(crate) members: usize,
    /// Whether the member had data before.
    pub(crate) had_data: bool,
}

/// Who this member is in a cluster that it has no log of.
struct Identity {
    member: MemberId,
    cluster: ClusterId,
    remotes: Vec<Member>,
    founders: Vec<Member>,
}

/// Opens or makes everything in the data dir. `client` asks other members.
pub(crate) async fn open(settings: &Settings, client: &PeerClient) -> Result<Parts> {
    let snap_dir = settings.data_dir.join("member/snap");
    ensure!(!settings.data_dir.join("proxy").exists(), "the data dir belongs to an etcd v2 proxy");
    for dir in [&settings.data_dir, &settings.data_dir.join("member"), &snap_dir] {
        private_dir(dir)?;
    }
    peers::remove_temporary(&snap_dir).context("failed to remove temporary files")?;
    let backend = open_store(&snap_dir, settings.config.memory_mlock)?;
    let fs = settings.fs.clone();
    if Wal::exists(&*fs, &settings.wal_dir).context("failed to look for the WAL")? {
        if !settings.config.discovery.endpoints.is_empty() {
            tracing::warn!(
                "wal-dir" = %settings.wal_dir.display(),
                "discovery token is ignored since cluster already initialized; valid logs are found"
            );
        }
        return recover::recover(settings, &fs, backend, None);
    }
    // `--force-new-cluster` is about what is there: without anything, it means nothing, as in etcd.
    let view = backend.read().context("failed to read the store")?;
    let applied = storage::schema::meta::read_consistent(&*view).context("read the store")?;
    ensure!(applied.is_none(), "the store has data, but the write-ahead log is missing");
    drop(view);
    let identity = if settings.config.is_new_cluster() {
        initial::identify(settings, client).await?
    } else {
        join::identify(settings, client).await?
    };
    make_wal(settings, &fs, &identity)?;
    recover::recover(settings, &fs, backend, Some(identity))
}

/// Opens the store. The first time that a data dir of etcd is found, or one that a snapshot was
/// restored to, its database becomes the store. `in_memory`: its pages stay in memory.
fn open_store(snap_dir: &Path, in_memory: bool) -> Result<Arc<dyn Backend>> {
    let db = snap_dir.join(engine::DB_NAME);
    let mut progress = |done: u64, total: u64| {
        tracing::info!(path = %db.display(), done, total, "reading the database of etcd");
    };
    let adopted = engine::adopt(snap_dir, LmdbOptions::default(), &mut progress)
        .with_context(|| format!("failed to read the database {}", db.display()))?;
    if let Some(adopted) = adopted {
        tracing::info!(
            path = %db.display(),
            "renamed-to" = engine::ADOPTED_NAME,
            bytes = adopted.bytes,
            "consistent-index" = adopted.consistent.map(|(index, _)| index.0),
            "the database of etcd is now the store; the file is kept and may be removed"
        );
    }
    let backend = LmdbBackend::open(&snap_dir.join(engine::STORE_NAME), LmdbOptions::default());
    let backend = backend.context("failed to open the store")?;
    if in_memory {
        backend.lock_memory().context("failed to open database")?;
    }
    let view = backend.read().context("failed to read the store")?;
    meta::check_storage_version(&*view).context("failed to validate the store")?;
    drop(view);
    Ok(Arc::new(backend))
}

/// Makes a directory that only its owner may enter, as etcd does, and warns of one that is there and
/// that others may enter.
fn private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    make_dir(dir)?;
    let mode = fs::metadata(dir).context("read a directory's mode")?.permissions().mode();
    if mode & 0o777 != 0o700 {
        let error = format!(
            "directory {:?} exist, but the permission is \"{}\". The recommended permission is \
             \"-rwx------\" to prevent possible unprivileged access to the data",
            dir.display().to_string(),
            dir_mode(mode)
        );
        tracing::warn!(error, "check file permission");
    }
    Ok(())
}

/// Makes a directory, and those above it, whose names a power loss does not take: a log that others
/// rely on must not begin anew.
fn make_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        let (dir, error) = (dir.display(), config::os_error(&error));
        anyhow!("cannot access data directory: mkdir {dir}: {error}")
    })?;
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    fs::File::open(parent.unwrap_or(Path::new(".")))
        .and_then(|parent| parent.sync_all())
        .with_context(|| format!("cannot sync the directory above {}", dir.display()))
}

/// A directory's mode in the letters of Go.
fn dir_mode(mode: u32) -> String {
    let special = [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')];
    let special = special.into_iter().filter(|(bit, _)| mode & bit != 0).map(|(_, letter)| letter);
    let rights = "rwxrwxrwx".chars().enumerate();
    let rights = rights.map(|(at, letter)| if mode & (0o400 >> at) == 0 { '-' } else { letter });
    std::iter::once('d').chain(special).chain(rights).collect()
}

/// A first start: a log that says whose it is, and nothing else yet.
fn make_wal(settings: &Settings, fs: &Arc<dyn vfs::Fs>, identity: &Identity) -> Result<()> {
    // Of `--wal-dir` this may be anybody's directory.
    if let Some(parent) = settings.wal_dir.parent() {
        make_dir(parent)?;
    }
    let metadata =
        api::walpb::Metadata { node_id: identity.member.0, cluster_id: identity.cluster.0 };
    Wal::create(fs.clone(), &settings.wal_dir, &metadata, wal_options(settings))
        .context("failed to create the WAL")?;
    Ok(())
}

fn wal_options(settings: &Settings) -> wal::Options {
    wal::Options { sync: settings.fsync, ..wal::Options::default() }
}

/// The peer URLs of all members but the one of this name, sorted.
fn urls_of_others<'a>(members: impl Iterator<Item = &'a Member>, own_name: &str) -> Vec<String> {
    let others = members.filter(|member| member.name != own_name);
    let mut urls: Vec<String> = others.flat_map(|member| member.peer_urls.clone()).collect();
    urls.sort_unstable();
    urls
}

/// Refuses more learners than `--max-learners` allows.
fn check_learners<'a>(
    settings: &Settings,
    members: impl Iterator<Item = &'a Member>,
) -> Result<()> {
    let learners = members.filter(|member| member.is_learner).count();
    if learners > settings.learners_max {
        bail!(api::error::Error::TooManyLearners.message());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::dir_mode;

    #[test]
    fn modes_are_shown_in_the_letters_of_go() {
        assert_eq!(dir_mode(0o40777), "drwxrwxrwx");
        assert_eq!(dir_mode(0o42750), "dgrwxr-x---");
        assert_eq!(dir_mode(0o41501), "dtr-x-----x");
    }
}
