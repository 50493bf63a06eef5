//! `--force-new-cluster`: a member goes on alone with what it has. What was not committed is dropped,
//! all other members are removed, by entries that are committed at once.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use api::{
    ids::{MemberId, RaftIndex},
    raftpb::{ConfChange, ConfChangeType, Entry, EntryType, HardState},
};
use membership::{Member, Membership};
use prost::Message;
use wal::Wal;

/// Where etcd says that such a member is, if nobody knows.
const PEER_URL: &str = "http://localhost:2380";

/// Adds what makes `own` the only member. `members` are those of the store, as of `applied`.
pub(super) fn make_alone(
    own: MemberId,
    members: &Membership,
    applied: RaftIndex,
    hard_state: &mut HardState,
    entries: &mut Vec<Entry>,
    wal: &mut Wal,
) -> Result<()> {
    let commit = hard_state.commit;
    let uncommitted = entries.iter().filter(|entry| entry.index > commit).count();
    if uncommitted > 0 {
        tracing::info!(
            "commit-index-from-wal" = commit,
            "number-of-discarded-entries" = uncommitted,
            "discarding uncommitted WAL entries"
        );
    }
    entries.retain(|entry| entry.index <= commit);
    let later = entries.iter().filter(|entry| entry.index > applied.0);
    let learners = effective_members(members, later);
    let changes = changes(own, &learners);
    let added: Vec<Entry> = (commit + 1..)
        .zip(changes)
        .map(|(index, change)| Entry {
            term: hard_state.term,
            index,
            r#type: EntryType::EntryConfChange as i32,
            data: change.encode_to_vec().into(),
        })
        .collect();
    hard_state.commit = commit + added.len() as u64;
    wal.save(Some(hard_state), &added).context("failed to save hard state and entries")?;
    wal.sync().context("failed to save hard state and entries")?;
    entries.extend(added);
    tracing::info!(
        "local-member-id" = %own,
        "wal-commit-index" = commit,
        "commit-index" = hard_state.commit,
        "forcing restart member"
    );
    Ok(())
}

/// Who is a member once the entries are applied; of each whether it is a learner.
fn effective_members<'a>(
    members: &Membership,
    entries: impl Iterator<Item = &'a Entry>,
) -> BTreeMap<MemberId, bool> {
    let mut known: BTreeMap<_, _> =
        members.members().map(|member| (member.id, member.is_learner)).collect();
    for entry in entries.filter(|entry| entry.r#type == EntryType::EntryConfChange as i32) {
        let Ok(change) = ConfChange::decode(&entry.data[..]) else { continue };
        let id = MemberId(change.node_id);
        match change.r#type() {
            ConfChangeType::ConfChangeAddNode => drop(known.insert(id, false)),
            ConfChangeType::ConfChangeAddLearnerNode => drop(known.insert(id, true)),
            ConfChangeType::ConfChangeRemoveNode => drop(known.remove(&id)),
            ConfChangeType::ConfChangeUpdateNode => {}
        }
    }
    known
}

/// First this member becomes a voter, if it is none; then the others go, in ascending order.
fn changes(own: MemberId, members: &BTreeMap<MemberId, bool>) -> Vec<ConfChange> {
    let mut changes = Vec::new();
    let own_member = Member { id: own, ..Member::default() };
    let context = match members.get(&own) {
        Some(false) => None,
        Some(true) => Some(membership::change_context(&own_member, true)),
        None => {
            let peer_urls = vec![PEER_URL.to_owned()];
            Some(membership::member_to_json(&Member { peer_urls, ..own_member }))
        }
    };
    changes.extend(context.map(|context| ConfChange {
        r#type: ConfChangeType::ConfChangeAddNode as i32,
        node_id: own.0,
        context: context.into(),
        id: 0,
    }));
    changes.extend(members.keys().filter(|id| **id != own).map(|id| ConfChange {
        r#type: ConfChangeType::ConfChangeRemoveNode as i32,
        node_id: id.0,
        ..ConfChange::default()
    }));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_removed_after_the_own_vote_is_sure() {
        let (own, other, third) = (MemberId(5), MemberId(9), MemberId(2));
        let kinds = |members: &[(MemberId, bool)]| -> Vec<(i32, u64)> {
            let members = members.iter().copied().collect();
            changes(own, &members).into_iter().map(|c| (c.r#type, c.node_id)).collect()
        };
        let (add, remove) = (0, 1);
        assert_eq!(
            kinds(&[(own, false), (other, false), (third, true)]),
            [(remove, 2), (remove, 9)]
        );
        assert_eq!(kinds(&[(other, false)]), [(add, 5), (remove, 9)]);
        assert_eq!(kinds(&[(own, true), (other, false)]), [(add, 5), (remove, 9)]);
        assert_eq!(kinds(&[(own, false)]), []);
    }

    #[test]
    fn entries_that_are_not_applied_yet_count() {
        let mut members = Membership::new(api::ids::ClusterId(1), 1);
        let entry = |kind: ConfChangeType, id: u64| Entry {
            r#type: EntryType::EntryConfChange as i32,
            data: ConfChange { r#type: kind as i32, node_id: id, ..ConfChange::default() }
                .encode_to_vec()
                .into(),
            ..Entry::default()
        };
        let first = Member { id: MemberId(1), ..Member::default() };
        members.apply(&membership::Change::Add(first), &mut Vec::new());
        let entries = [
            entry(ConfChangeType::ConfChangeAddNode, 2),
            entry(ConfChangeType::ConfChangeAddLearnerNode, 3),
            entry(ConfChangeType::ConfChangeRemoveNode, 1),
        ];
        let known = effective_members(&members, entries.iter());
        assert_eq!(known, BTreeMap::from([(MemberId(2), false), (MemberId(3), true)]));
    }
}
