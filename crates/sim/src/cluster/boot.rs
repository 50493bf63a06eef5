//! Starting a member: from an empty disk, or from what the last life has left (spec storage.md
//! section 7).

use std::{
    collections::{BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
};

use api::{
    ids::{RaftIndex, Term},
    raftpb::ConfState,
    walpb,
};
use apply::StateMachine;
use replica::{Node, Recovered, bootstrap_entries};
use storage::{Backend, Window, schema};
use vfs::{Fs, fault::FaultFs};
use wal::Wal;

use super::{
    disk::{Disk, Failing, with_import},
    member::{Identity, Live, wal_dir, wal_options},
    watchers::Watching,
};

impl Live {
    /// Starts from a disk: a first start, or a recovery (spec storage.md section 7).
    pub(super) fn start(identity: Identity, mut disk: Disk, seed: u64) -> Result<Live, String> {
        let faults = FaultFs::new(Arc::new(disk.fs.clone()));
        let fs: Arc<dyn Fs> = Arc::new(faults.clone());
        let exists = Wal::exists(&*fs, &wal_dir()).map_err(|error| error.to_string())?;
        if !exists {
            let metadata =
                walpb::Metadata { node_id: identity.member.0, cluster_id: identity.cluster.0 };
            fs.create_dir_all(Path::new("/member")).map_err(|error| error.to_string())?;
            fs.sync_dir(Path::new("/")).map_err(|error| error.to_string())?;
            Wal::create(fs.clone(), &wal_dir(), &metadata, wal_options())
                .map_err(|error| error.to_string())?;
        }
        let backend = Arc::new(Failing::new(disk.store.open()?));
        let snapshot = newest_snapshot(&*fs, &mut disk, &*backend)?;
        let opened = Wal::open(fs.clone(), &wal_dir(), &snapshot, wal_options());
        let (mut wal, log) = opened.map_err(|error| error.to_string())?;
        let (mut hard_state, mut entries) = (log.hard_state, log.entries);
        let is_first = snapshot.index == 0 && entries.is_empty() && hard_state.term == 0;
        if is_first && !identity.founders.is_empty() {
            (hard_state, entries) = bootstrap_entries(&identity.founders);
            wal.save(Some(&hard_state), &entries).map_err(|error| error.to_string())?;
        }
        let (machine, (applied, applied_term)) = open_machine(&identity, backend.clone())?;
        hard_state.commit = hard_state.commit.max(applied.0);
        hard_state.term = hard_state.term.max(applied_term.0);
        let conf_state = conf_state(&machine, &snapshot);
        let recovered = Recovered {
            snapshot: (RaftIndex(snapshot.index), Term(snapshot.term), conf_state.clone()),
            hard_state,
            entries,
            applied: RaftIndex(applied.0.max(snapshot.index)),
        };
        let applied = recovered.applied;
        let config = replica::Config {
            pre_vote: identity.pre_vote,
            ..replica::Config::new(identity.member, seed)
        };
        let node = Node::new(config, recovered).map_err(|error| error.to_string())?;
        let compacting = machine.shared().store.compacting().is_some();
        let watching = Watching::new(machine.shared().store.revision(), identity.watch_batch);
        Ok(Live {
            identity,
            node,
            wal,
            faults,
            machine,
            disk,
            backend,
            window: Window::new(),
            writes: VecDeque::new(),
            commits: VecDeque::new(),
            conf_state,
            conf_index: applied,
            snapshot_index: RaftIndex(snapshot.index),
            restored: Vec::new(),
            at: (applied, applied_term),
            leads: false,
            compacting,
            vote: (0, 0),
            voted: false,
            watching,
            waiting: BTreeSet::new(),
            happened: Vec::new(),
            failed: None,
        })
    }
}

fn open_machine(
    identity: &Identity,
    backend: Arc<dyn Backend>,
) -> Result<(StateMachine, (RaftIndex, Term)), String> {
    let config = apply::Config {
        member_id: identity.member,
        cluster_id: identity.cluster,
        max_learners: 1,
        quota_bytes: -1,
        lease: lease::Options::new(2),
        store_checkpoints: false,
        token_ttl_ms: 300_000,
    };
    StateMachine::open(backend, config).map_err(|error| error.to_string())
}

/// The newest snapshot record of the log. A store that does not cover it is replaced by the database
/// that came with it.
fn newest_snapshot(
    fs: &dyn Fs,
    disk: &mut Disk,
    backend: &dyn Backend,
) -> Result<walpb::Snapshot, String> {
    let snapshots = Wal::newest_snapshots(fs, &wal_dir()).map_err(|error| error.to_string())?;
    let newest = snapshots.last().cloned().ok_or("the log has no snapshot record")?;
    let view = backend.read().map_err(|error| error.to_string())?;
    let consistent = schema::read_consistent(&*view).map_err(|error| error.to_string())?;
    drop(view);
    let consistent = consistent.map_or(0, |at| at.0.0);
    if newest.index > consistent {
        let Some(received) = disk.received.get(&newest.index) else {
            return Err(format!(
                "store (index {consistent}) does not match with snapshot (index {})",
                newest.index
            ));
        };
        let at = (RaftIndex(newest.index), Term(newest.term));
        with_import(received, at, |ops| backend.replace(ops))?;
    }
    disk.received.retain(|index, _| *index > newest.index);
    Ok(newest)
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
