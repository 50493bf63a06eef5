//! What hashes of several members say about who is corrupt. Pure.

use std::collections::BTreeMap;

use api::ids::MemberId;
use mvcc::HashKv;

use crate::peer_client::hash_kv::{HashAnswer, PeerHash};

/// The leader's side of a look at the current revision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    /// The leader.
    pub(super) id: MemberId,
    /// Its hash before its peers were asked.
    pub(super) first: HashKv,
    /// The same after a linearizable read.
    pub(super) second: HashKv,
    /// Its revision at the second hash.
    pub(super) revision: i64,
}

/// What came of comparing the hashes of one compaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// No difference; `all` if every member could be compared.
    Equal {
        /// Whether nobody was skipped.
        all: bool,
    },
    /// Members that differ from a majority; the id 0 alone when there is no majority.
    Different {
        /// Whom to raise an alarm for.
        corrupt: Vec<MemberId>,
    },
}

/// Peers whose data differs at the same revision, with history since the same compaction.
pub(super) fn different(own: HashKv, peers: &[PeerHash]) -> Vec<MemberId> {
    let is_different = |answer: &HashAnswer| {
        answer.hash != own.hash && answer.compact_revision == own.compact_revision
    };
    answers(peers).filter(|(_, answer)| is_different(answer)).map(|(id, _)| id).collect()
}

/// The first member that cannot be right, the leader itself before its peers. No follower is ahead
/// of the leader once a linearizable read has passed.
pub(super) fn now(own: &Own, peers: &[PeerHash]) -> Option<MemberId> {
    let Own { first, second, .. } = own;
    let same =
        first.revision == second.revision && first.compact_revision == second.compact_revision;
    if same && first.hash != second.hash {
        return Some(own.id);
    }
    let is_wrong = |answer: &HashAnswer| {
        answer.header.revision > own.revision
            || answer.compact_revision > second.compact_revision
            || (answer.compact_revision == first.compact_revision && answer.hash != first.hash)
    };
    answers(peers).find(|(_, answer)| is_wrong(answer)).map(|(id, _)| id)
}

/// Compares the leader's hash of a compaction with those of its peers. Peers that hashed since
/// another compaction tell nothing.
pub(super) fn compaction(leader: MemberId, own: HashKv, peers: &[PeerHash]) -> Compared {
    let mut by_hash = BTreeMap::from([(own.hash, vec![leader])]);
    let mut compared = 0;
    for (id, answer) in answers(peers) {
        if answer.compact_revision == own.compact_revision {
            compared += 1;
            by_hash.entry(answer.hash).or_default().push(id);
        }
    }
    if by_hash.len() == 1 {
        return Compared::Equal { all: compared == peers.len() };
    }
    let members = peers.len() + 1;
    let quorum = members / 2 + 1;
    let majority = by_hash.iter().find(|(_, members)| members.len() >= quorum).map(|(h, _)| *h);
    let corrupt = match majority {
        None => vec![MemberId(0)],
        Some(right) => {
            let others = by_hash.into_iter().filter(|(hash, _)| *hash != right);
            others.flat_map(|(_, members)| members).collect()
        }
    };
    Compared::Different { corrupt }
}

fn answers(peers: &[PeerHash]) -> impl Iterator<Item = (MemberId, &HashAnswer)> {
    peers.iter().filter_map(|peer| Some((peer.id, peer.answer.as_ref().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer_client::hash_kv::{HashError, HashHeader};

    const LEADER: MemberId = MemberId(1);

    fn own(hash: u32, compact_revision: i64) -> HashKv {
        HashKv { hash, compact_revision, revision: 10 }
    }

    /// A member at revision 10 with this hash, made since this compaction.
    fn peer(id: u64, hash: u32, compact_revision: i64) -> PeerHash {
        let header = HashHeader { revision: 10 };
        let answer = HashAnswer { header, hash, compact_revision, hash_revision: 10 };
        PeerHash { id: MemberId(id), answer: Ok(answer) }
    }

    fn absent(id: u64) -> PeerHash {
        PeerHash { id: MemberId(id), answer: Err(HashError::Future) }
    }

    #[test]
    fn at_boot_only_the_same_history_is_compared() {
        let peers = [peer(2, 7, 3), peer(3, 8, 3), peer(4, 8, 4), absent(5)];
        assert_eq!(different(own(7, 3), &peers), [MemberId(3)]);
    }

    #[test]
    fn a_look_at_the_current_revision_finds_one() {
        let at = |first, second| Own { id: LEADER, first, second, revision: 12 };
        let equal = at(own(7, 3), own(7, 3));
        assert_eq!(now(&equal, &[peer(2, 7, 3), absent(3)]), None);
        assert_eq!(now(&equal, &[peer(2, 7, 3), peer(3, 8, 3)]), Some(MemberId(3)));
        // The leader's own hash changed without reason.
        assert_eq!(now(&at(own(7, 3), own(8, 3)), &[peer(2, 9, 3)]), Some(LEADER));
        // It may change by writes and by compactions.
        let written = HashKv { revision: 11, ..own(8, 3) };
        assert_eq!(now(&at(own(7, 3), written), &[peer(2, 7, 3)]), None);
        assert_eq!(now(&at(own(7, 3), own(8, 4)), &[peer(2, 7, 3)]), None);
        // An older compaction of a follower tells nothing, a newer one cannot be.
        assert_eq!(now(&equal, &[peer(2, 8, 2)]), None);
        assert_eq!(now(&equal, &[peer(2, 7, 4)]), Some(MemberId(2)));
        let mut ahead = peer(2, 7, 3);
        ahead.answer.as_mut().unwrap().header.revision = 13;
        assert_eq!(now(&equal, &[ahead]), Some(MemberId(2)));
    }

    #[test]
    fn compactions_are_judged_by_the_majority() {
        let judge = |peers: &[PeerHash]| compaction(LEADER, own(7, 3), peers);
        assert_eq!(judge(&[peer(2, 7, 3), peer(3, 7, 3)]), Compared::Equal { all: true });
        assert_eq!(judge(&[peer(2, 7, 3), absent(3)]), Compared::Equal { all: false });
        assert_eq!(judge(&[peer(2, 7, 3), peer(3, 8, 2)]), Compared::Equal { all: false });
        let corrupt = |ids: &[u64]| Compared::Different {
            corrupt: ids.iter().map(|id| MemberId(*id)).collect(),
        };
        assert_eq!(judge(&[peer(2, 7, 3), peer(3, 8, 3)]), corrupt(&[3]));
        assert_eq!(judge(&[peer(2, 8, 3), peer(3, 8, 3)]), corrupt(&[1]));
        assert_eq!(judge(&[peer(2, 8, 3), peer(3, 9, 3)]), corrupt(&[0]));
        // A majority is one of all members, also of those that were skipped.
        assert_eq!(judge(&[peer(2, 8, 3), absent(3)]), corrupt(&[0]));
        let five = [peer(2, 7, 3), peer(3, 7, 3), peer(4, 9, 3), peer(5, 8, 3)];
        assert_eq!(judge(&five), corrupt(&[5, 4]));
    }
}
