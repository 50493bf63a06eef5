//! The first entries of a brand new cluster: every founding member writes the same ones, so that
//! their logs agree before they have ever spoken.

use api::{
    ids::{MemberId, Term},
    raftpb::{ConfChange, ConfChangeType, Entry, EntryType, HardState},
};
use bytes::Bytes;
use prost::Message as _;

/// The term the founding entries are written in.
pub const BOOTSTRAP_TERM: Term = Term(1);

/// One entry that adds a voter per founding member, in ascending order of id, and the state that
/// makes all of them committed. The driver saves both and then recovers as from a restart.
///
/// `members` pairs each id with the member's JSON, which becomes the context of its change.
pub fn bootstrap_entries(members: &[(MemberId, Bytes)]) -> (HardState, Vec<Entry>) {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|(id, _)| *id);
    let entries: Vec<Entry> = (1..)
        .zip(members)
        .map(|(index, (id, context))| {
            let change = ConfChange {
                r#type: ConfChangeType::ConfChangeAddNode as i32,
                node_id: id.0,
                context: context.clone(),
                id: 0,
            };
            Entry {
                term: BOOTSTRAP_TERM.0,
                index,
                r#type: EntryType::EntryConfChange as i32,
                data: change.encode_to_vec().into(),
            }
        })
        .collect();
    let commit = entries.len() as u64;
    (HardState { term: BOOTSTRAP_TERM.0, vote: 0, commit }, entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_and_committed_at_once() {
        let members = [
            (MemberId(9), Bytes::from_static(b"nine")),
            (MemberId(3), Bytes::from_static(b"three")),
        ];
        let (hard_state, entries) = bootstrap_entries(&members);
        assert_eq!(hard_state, HardState { term: 1, vote: 0, commit: 2 });
        let changes: Vec<_> = entries
            .iter()
            .map(|e| ConfChange::decode(e.data.clone()).expect("a conf change"))
            .map(|c| (c.node_id, c.context))
            .collect();
        assert_eq!(changes, [(3, "three".into()), (9, "nine".into())]);
        assert_eq!(entries.iter().map(|e| (e.index, e.term)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    }
}
