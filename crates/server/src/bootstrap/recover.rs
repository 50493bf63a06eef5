//! Opening the log at its newest snapshot, the store that goes with it, and what comes after.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use api::{
    ids::{ClusterId, MemberId, RaftIndex, Term},
    raftpb::{self, Entry, EntryType},
    walpb,
};
use apply::StateMachine;
use replica::Recovered;
use storage::{Backend, engine::DbSum, schema::meta};
use wal::Wal;

use super::{Identity, Parts, check_learners, force, initial, wal_options};
use crate::{driver::snapshots, peers, settings::Settings, v2};

/// Recovers a member; `identity` is that of its first start.
pub(super) fn recover(
    settings: &Settings,
    fs: &Arc<dyn vfs::Fs>,
    backend: Arc<dyn Backend>,
    identity: Option<Identity>,
) -> Result<Parts> {
    let snap_dir = settings.data_dir.join("member/snap");
    let records =
        Wal::newest_snapshots(&**fs, &settings.wal_dir).context("failed to read the WAL")?;
    catch_up(&**fs, &*backend, &snap_dir, records.last())?;
    snapshots::remove_covered(&snap_dir, RaftIndex(applied(&*backend)?));
    let at = newest_covered(&*backend, &snap_dir, records)?;
    let (mut wal, log) = Wal::open(fs.clone(), &settings.wal_dir, &at, wal_options(settings))
        .context("failed to open the WAL")?;
    if let Some(repaired) = &log.repaired {
        tracing::info!(?repaired, "repaired WAL");
    }
    for (segment, position) in &log.turned {
        tracing::warn!(
            ?segment,
            position,
            "a bit of the length of a WAL record had turned over; the disk may be failing"
        );
    }
    let (mut hard_state, mut entries) = (log.hard_state, log.entries);
    if at.index == 0
        && entries.is_empty()
        && let Some(first) = initial::first_entries(settings, &log.metadata)?
    {
        (hard_state, entries) = first;
        wal.save(Some(&hard_state), &entries).context("failed to write the WAL")?;
    }
    let (member, cluster) = (MemberId(log.metadata.node_id), ClusterId(log.metadata.cluster_id));
    let config = apply_config(settings, member, cluster);
    let (mut machine, (applied, applied_term)) =
        StateMachine::open(backend.clone(), config).context("failed to recover the store")?;
    seed_v2(&**fs, &*backend, &snap_dir, &at, &mut machine, &entries)?;
    let last = entries.last().map_or(at.index, |entry| entry.index);
    ensure!(
        applied.0 <= last,
        "the store is at index {}, but the write-ahead log ends at {last}",
        applied.0
    );
    // What the store has applied was committed, even if that word of the log was lost.
    hard_state.commit = hard_state.commit.max(applied.0);
    hard_state.term = hard_state.term.max(applied_term.0);
    if settings.config.force_new_cluster {
        let members = machine.shared().membership.read().clone();
        force::make_alone(member, &members, applied, &mut hard_state, &mut entries, &mut wal)?;
    }
    let shared = machine.shared();
    let membership = shared.membership.read();
    check_learners(settings, membership.members())?;
    let known = membership.members().count();
    let conf_state = match known {
        0 => at.conf_state.clone().unwrap_or_default(),
        _ => membership.conf_state(),
    };
    drop(membership);
    let had_data = identity.is_none();
    if had_data {
        tracing::info!(
            "cluster-id" = %cluster,
            "local-member-id" = %member,
            "commit-index" = hard_state.commit,
            "restarting local member"
        );
    }
    let (remotes, founders) =
        identity.map_or_else(Default::default, |first| (first.remotes, first.founders));
    let recovered = Recovered {
        snapshot: (RaftIndex(at.index), Term(at.term), conf_state),
        hard_state,
        entries,
        applied: RaftIndex(applied.0.max(at.index)),
    };
    let members = known.max(remotes.len()).max(added(&recovered.entries));
    Ok(Parts {
        member,
        cluster,
        backend,
        machine,
        wal,
        recovered,
        remotes,
        founders,
        members,
        had_data,
    })
}

/// How many changes of members the log has: all it knows of them before anything is applied.
fn added(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| entry.r#type == EntryType::EntryConfChange as i32).count()
}

fn apply_config(settings: &Settings, member: MemberId, cluster: ClusterId) -> apply::Config {
    apply::Config {
        member_id: member,
        cluster_id: cluster,
        quota_bytes: settings.limits.quota_bytes,
        max_learners: settings.learners_max,
        lease: lease_options(settings),
        store_checkpoints: settings.lease_checkpoint_persist,
        token_ttl_ms: settings.config.auth_token_ttl.saturating_mul(1000),
    }
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

fn applied(backend: &dyn Backend) -> Result<u64> {
    let view = backend.read().context("failed to read the store")?;
    let applied = meta::read_consistent(&*view).context("read the store")?;
    Ok(applied.map_or(0, |(index, _)| index.0))
}

/// A snapshot of the leader that is in the log, but not in the store: its database is here.
fn catch_up(
    fs: &dyn vfs::Fs,
    backend: &dyn Backend,
    snap_dir: &Path,
    newest: Option<&walpb::Snapshot>,
) -> Result<()> {
    let applied = applied(backend)?;
    let Some(newest) = newest.filter(|newest| newest.index > applied) else { return Ok(()) };
    let path = peers::received_path(snap_dir, RaftIndex(newest.index));
    if !path.exists() {
        // Without a store at all, or with an older one: told by the caller.
        return Ok(());
    }
    tracing::info!(
        path = %path.display(),
        "snapshot-index" = newest.index,
        "applied-index" = applied,
        "replacing the store by a snapshot of the leader"
    );
    DbSum::verify(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let db = storage::engine::open_db(&path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    let at = meta::put_consistent(RaftIndex(newest.index), Term(newest.term));
    let v2 = snapshot_at(fs, snap_dir, newest).map_or_else(Vec::new, |s| v2::rows_of(&s.data));
    backend
        .replace(&mut storage::image::import(&db).chain(at.into_iter().chain(v2).map(Ok)))
        .with_context(|| format!("failed to recover v3 backend from snapshot {}", path.display()))
}

/// Gives the store the v2 keys that a data directory of etcd has in its `.snap` file and its log.
fn seed_v2(
    fs: &dyn vfs::Fs,
    backend: &dyn Backend,
    snap_dir: &Path,
    at: &walpb::Snapshot,
    machine: &mut StateMachine,
    entries: &[Entry],
) -> Result<()> {
    let snapshot = snapshot_at(fs, snap_dir, at);
    let saved = snapshot.and_then(|snapshot| v2store::Store::recover(&snapshot.data).ok());
    let ops = machine.seed_v2(saved, entries);
    if !ops.is_empty() {
        backend.commit(&ops).context("failed to write the v2 store")?;
    }
    Ok(())
}

/// The `.snap` file of a snapshot record.
fn snapshot_at(
    fs: &dyn vfs::Fs,
    snap_dir: &Path,
    record: &walpb::Snapshot,
) -> Option<raftpb::Snapshot> {
    let path = snap_dir.join(wal::snap::name(Term(record.term), RaftIndex(record.index)));
    wal::snap::decode(&fs.read(&path).ok()?).ok()
}

/// The newest snapshot record of the log that the store has applied.
fn newest_covered(
    backend: &dyn Backend,
    snap_dir: &Path,
    records: Vec<walpb::Snapshot>,
) -> Result<walpb::Snapshot> {
    let applied = applied(backend)?;
    let newest = records.iter().map(|snapshot| snapshot.index).max().unwrap_or(0);
    if newest > applied {
        let path = snap_dir.join("oxetcd");
        if applied == 0 {
            bail!("database file ({}) of the backend is missing", path.display());
        }
        bail!(
            "database file ({} index {applied}) does not match with snapshot (index {newest})",
            path.display()
        );
    }
    let newest = records.into_iter().max_by_key(|snapshot| snapshot.index);
    newest.context("the write-ahead log has a snapshot record")
}
