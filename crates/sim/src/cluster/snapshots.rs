//! Snapshots of a member: records in its log, the store as it is sent to another member, and one that
//! has arrived.

use api::{
    ids::{RaftIndex, Term},
    raftpb::{ConfState, Message, MessageType, Snapshot, SnapshotMetadata},
    walpb,
};
use bytes::Bytes;
use mutants::{Mutant, is_on};
use storage::{Backend, ReadTx, schema};

use super::{
    disk::{image_of, with_import},
    member::{Died, Happened, Letter, Live, WALS_KEPT, view},
};

impl Live {
    /// A `MsgSnap` leaves with the store as it is now. When that cannot be committed the member stops,
    /// as the server does: nobody would ever tell raft what became of the message.
    pub(super) fn letter(&mut self, mut message: Message) -> Option<Letter> {
        if message.r#type != MessageType::MsgSnap as i32 {
            return Some(Letter { message, database: None });
        }
        let backend = self.backend.clone();
        let early = is_on(Mutant::SnapshotOfTwoViews).then(|| self.metadata_of(&*view(&*backend)));
        if let Err(died) = self.flush_store() {
            self.failed.get_or_insert(died);
            return None;
        }
        let view = view(&*backend);
        let metadata = early.unwrap_or_else(|| self.metadata_of(&*view))?;
        let database = Some(image_of(&*view));
        message.snapshot = Some(Snapshot { data: Bytes::new(), metadata: Some(metadata) });
        Some(Letter { message, database })
    }

    /// Index, term and members as a view has them.
    fn metadata_of(&self, view: &dyn ReadTx) -> Option<SnapshotMetadata> {
        let (index, term) = schema::read_consistent(view).expect("written by this member")?;
        let members = membership::Membership::load(view, self.identity.cluster, 1)
            .expect("written by this member");
        let conf_state = Some(ConfState {
            voters: members.voters().map(|member| member.id.0).collect(),
            learners: members.learners().map(|member| member.id.0).collect(),
            ..ConfState::default()
        });
        Some(SnapshotMetadata { conf_state, index: index.0, term: term.0 })
    }

    pub(super) fn save_snapshot(&mut self, snapshot: &walpb::Snapshot) -> Result<(), Died> {
        let died = |error: wal::Error| Died(error.to_string());
        self.wal.save_snapshot(snapshot).map_err(died)?;
        self.wal.release_to(RaftIndex(snapshot.index));
        self.wal.purge(WALS_KEPT).map_err(died)?;
        Ok(())
    }

    /// The record of a snapshot that came from the leader; returns its index.
    pub(super) fn save_received(&mut self, snapshot: &Snapshot) -> Result<u64, Died> {
        let metadata = snapshot.metadata.clone().unwrap_or_default();
        let record = walpb::Snapshot {
            index: metadata.index,
            term: metadata.term,
            conf_state: metadata.conf_state.clone(),
        };
        self.wal.save_snapshot(&record).map_err(|error| Died(error.to_string()))?;
        self.conf_state = metadata.conf_state.unwrap_or_default();
        self.conf_index = RaftIndex(metadata.index);
        self.snapshot_index = RaftIndex(metadata.index);
        self.restored.push((metadata.index, Term(metadata.term)));
        Ok(metadata.index)
    }

    /// Replaces the store, in place, by a received one.
    pub(super) fn install(&mut self, index: u64) {
        let received = self.disk.received.get(&index);
        let received =
            received.expect("a database is kept before its message is acted upon").clone();
        match is_on(Mutant::SecondSnapshotLost) {
            true => self.disk.received.clear(),
            false => self.disk.received.retain(|kept, _| *kept > index),
        }
        let at = (RaftIndex(index), self.restored_term(index));
        let (shared, backend) = (self.machine.shared(), &self.backend);
        let replaced = with_import(&received, at, |ops| {
            self.window.replace(at, || {
                let replaced = shared.store.replace(ops, |ops| backend.replace(ops))?;
                Ok((replaced, shared.store.revision()))
            })
        });
        let replaced = replaced.expect("a database of another member is sound");
        let restored = self.machine.restore(&*self.backend, replaced.attachments, at.0);
        restored.expect("a database of another member is sound");
        self.at = at;
        self.compacting = replaced.unfinished_compaction.is_some();
        self.watching.replaced();
        self.happened.push(Happened::Restored);
    }

    /// The term of the snapshot that is being installed.
    fn restored_term(&self, index: u64) -> Term {
        let restored = self.restored.iter().rfind(|(at, _)| *at == index);
        restored.map(|(_, term)| *term).expect("a snapshot is recorded before it is installed")
    }
}
