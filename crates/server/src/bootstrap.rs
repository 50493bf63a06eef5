//! From a data dir to the parts of a member: made new, or recovered (spec storage.md section 7).

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use api::{
    ids::{ClusterId, MemberId, RaftIndex, Term},
    raftpb::{ConfState, HardState},
    walpb,
};
use apply::StateMachine;
use membership::InitialCluster;
use replica::{Recovered, bootstrap_entries};
use storage::{Backend, engine::LmdbBackend, engine::LmdbOptions};
use vfs::os::OsFs;
use wal::Wal;

use crate::settings::Settings;

/// A member that is not running yet.
pub(crate) struct Parts {
    pub(crate) member: MemberId,
    pub(crate) cluster: ClusterId,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) machine: StateMachine,
    pub(crate) wal: Wal,
    pub(crate) recovered: Recovered,
}

/// Opens or makes everything in the data dir.
pub(crate) fn open(settings: &Settings) -> Result<Parts> {
    let snap_dir = settings.data_dir.join("member/snap");
    refuse_foreign(&settings.data_dir, &snap_dir)?;
    for dir in [&settings.data_dir, &snap_dir] {
        private_dir(dir)?;
    }
    let backend: Arc<dyn Backend> = Arc::new(
        LmdbBackend::open(&snap_dir.join("oxetcd"), LmdbOptions::default())
            .context("failed to open the store")?,
    );
    let fs: Arc<dyn vfs::Fs> = Arc::new(OsFs);
    if !Wal::exists(&*fs, &settings.wal_dir).context("failed to look for the WAL")? {
        make_wal(settings, &fs, &*backend)?;
    }
    recover(settings, &fs, backend)
}

/// A data dir of another kind is not touched.
fn refuse_foreign(data_dir: &Path, snap_dir: &Path) -> Result<()> {
    ensure!(!data_dir.join("proxy").exists(), "the data dir belongs to an etcd v2 proxy");
    let (db, own) = (snap_dir.join("db"), snap_dir.join("oxetcd"));
    ensure!(
        !db.exists() || own.exists(),
        "{} was written by etcd; adopting an etcd data dir is not built yet",
        db.display()
    );
    Ok(())
}

/// Makes a directory that only its owner may enter, as etcd does.
fn private_dir(dir: &Path) -> Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create directory {}", dir.display()))?;
    let mode = fs::metadata(dir).context("read a directory's mode")?.permissions().mode() & 0o777;
    if mode != 0o700 {
        tracing::warn!(
            dir = %dir.display(),
            permission = %format!("{mode:o}"),
            "check file permission: the directory exists, but its permission is not 0700"
        );
    }
    Ok(())
}

/// The members that a new cluster begins with, checked as etcd checks them.
fn initial(settings: &Settings) -> Result<(MemberId, ClusterId, Vec<membership::Member>)> {
    let cluster = InitialCluster::parse(&settings.initial_cluster)?;
    cluster.verify_bootstrap(&settings.name, &settings.peer_urls)?;
    let members = cluster.members(&settings.initial_cluster_token)?;
    let own = members.iter().find(|member| member.name == settings.name);
    let id = own.context("the initial cluster has this member")?.id;
    let cluster_id = membership::cluster_id(members.iter().map(|member| member.id));
    Ok((id, cluster_id, members))
}

/// A first start: the log begins with one configuration change per member.
fn make_wal(settings: &Settings, fs: &Arc<dyn vfs::Fs>, backend: &dyn Backend) -> Result<()> {
    let view = backend.read().context("failed to read the store")?;
    let applied = storage::schema::meta::read_consistent(&*view).context("read the store")?;
    ensure!(applied.is_none(), "the store has data, but the write-ahead log is missing");
    drop(view);
    let (member, cluster, _) = initial(settings)?;
    if let Some(parent) = settings.wal_dir.parent() {
        private_dir(parent)?;
    }
    let metadata = walpb::Metadata { node_id: member.0, cluster_id: cluster.0 };
    Wal::create(fs.clone(), &settings.wal_dir, &metadata, wal_options(settings))
        .context("failed to create the WAL")?;
    Ok(())
}

fn wal_options(settings: &Settings) -> wal::Options {
    wal::Options { sync: settings.fsync, ..wal::Options::default() }
}

/// Opens the log at its newest snapshot that the store covers, and replays what is after.
fn recover(settings: &Settings, fs: &Arc<dyn vfs::Fs>, backend: Arc<dyn Backend>) -> Result<Parts> {
    let snapshot = newest_snapshot(fs, &settings.wal_dir, &*backend)?;
    let (mut wal, log) = Wal::open(fs.clone(), &settings.wal_dir, &snapshot, wal_options(settings))
        .context("failed to open the WAL")?;
    let member = MemberId(log.metadata.node_id);
    let cluster = ClusterId(log.metadata.cluster_id);
    let (mut hard_state, mut entries) = (log.hard_state, log.entries);
    if snapshot.index == 0 && entries.is_empty() {
        // A first start, or one that ended before its first entries were written.
        (hard_state, entries) = first_entries(settings)?;
        wal.save(Some(&hard_state), &entries).context("failed to write the WAL")?;
    }
    let config = apply::Config {
        member_id: member,
        cluster_id: cluster,
        quota_bytes: settings.limits.quota_bytes,
        max_learners: settings.learners_max,
        lease: lease_options(settings),
        store_checkpoints: settings.lease_checkpoint_persist,
        token_ttl_ms: 300_000,
    };
    let (machine, (applied, applied_term)) =
        StateMachine::open(backend.clone(), config).context("failed to recover the store")?;
    let last = entries.last().map_or(snapshot.index, |entry| entry.index);
    ensure!(
        applied.0 <= last,
        "the store is at index {}, but the write-ahead log ends at {last}",
        applied.0
    );
    // What the store has applied was committed, even if that word of the log was lost.
    hard_state.commit = hard_state.commit.max(applied.0);
    hard_state.term = hard_state.term.max(applied_term.0);
    let conf_state = conf_state(&machine, &snapshot);
    let recovered = Recovered {
        snapshot: (RaftIndex(snapshot.index), Term(snapshot.term), conf_state),
        hard_state,
        entries,
        applied: RaftIndex(applied.0.max(snapshot.index)),
    };
    Ok(Parts { member, cluster, backend, machine, wal, recovered })
}

fn lease_options(settings: &Settings) -> lease::Options {
    const CHECKPOINT_INTERVAL_MS: u64 = 5 * 60 * 1000;
    let election = settings.limits.election_timeout;
    // Three election timeouts halved, in whole seconds, rounded up.
    let min_ttl_s = (election * 3 / 2).as_millis().div_ceil(1000) as i64;
    lease::Options {
        checkpoint_interval_ms: settings.lease_checkpoint.then_some(CHECKPOINT_INTERVAL_MS),
        ..lease::Options::new(min_ttl_s)
    }
}

/// The members known to the store; before the first entry is applied, those of the snapshot.
fn conf_state(machine: &StateMachine, snapshot: &walpb::Snapshot) -> ConfState {
    let shared = machine.shared();
    let membership = shared.membership.read();
    if membership.members().next().is_none() {
        return snapshot.conf_state.clone().unwrap_or_default();
    }
    ConfState {
        voters: membership.voters().map(|member| member.id.0).collect(),
        learners: membership.learners().map(|member| member.id.0).collect(),
        ..ConfState::default()
    }
}

fn first_entries(settings: &Settings) -> Result<(HardState, Vec<api::raftpb::Entry>)> {
    let (_, _, members) = initial(settings)?;
    let contexts: Vec<_> = members
        .iter()
        .map(|member| (member.id, membership::change_context(member, false).into()))
        .collect();
    Ok(bootstrap_entries(&contexts))
}

/// The newest snapshot record of the log that the store has applied.
fn newest_snapshot(
    fs: &Arc<dyn vfs::Fs>,
    wal_dir: &Path,
    backend: &dyn Backend,
) -> Result<walpb::Snapshot> {
    let view = backend.read().context("failed to read the store")?;
    let applied = storage::schema::meta::read_consistent(&*view).context("read the store")?;
    let applied = applied.map_or(0, |(index, _)| index.0);
    let snapshots = Wal::valid_snapshots(&**fs, wal_dir).context("failed to read the WAL")?;
    let newest = snapshots.iter().map(|snapshot| snapshot.index).max().unwrap_or(0);
    let Some(usable) = snapshots.into_iter().rfind(|s| s.index <= applied) else {
        bail!(
            "database file (index {applied}) does not match with snapshot (index {newest}) of the WAL"
        )
    };
    Ok(usable)
}
