//! The rules at every size of cluster that they differ in.

use api::ids::{ClusterId, RaftIndex};
use replica::ReplicationState;

use super::*;

const OWN: MemberId = MemberId(1);

/// A cluster of `started` voters with names, `silent` ones without, and `learners`; ids from 1.
fn cluster(started: u64, silent: u64, learners: u64) -> Membership {
    let members = (1..=started + silent + learners).map(|id| Member {
        id: MemberId(id),
        name: if id <= started { format!("m{id}") } else { String::new() },
        is_learner: id > started + silent,
        ..Member::default()
    });
    Membership::from_members(ClusterId(7), 1, members)
}

fn voter() -> Member {
    Member::default()
}

fn learner() -> Member {
    Member { is_learner: true, ..Member::default() }
}

/// Runs `check` where these members are connected since so many milliseconds.
fn with<T>(connected: &[(u64, u64)], check: impl Fn(&Links) -> T) -> T {
    let now = Instant::now() + Duration::from_secs(100);
    let active_since = |id: MemberId| {
        let found = connected.iter().find(|(other, _)| *other == id.0);
        found.map(|(_, age)| now - Duration::from_millis(*age))
    };
    check(&Links { own: OWN, now, active_since: &active_since })
}

const LONG: u64 = 5001;

#[test]
fn a_single_member_may_always_grow() {
    with(&[], |links| {
        assert_eq!(may_add(&cluster(1, 0, 0), &voter(), links), Ok(()));
        assert_eq!(may_add(&cluster(1, 0, 1), &voter(), links), Ok(()));
        assert_eq!(may_add(&cluster(1, 0, 0), &learner(), links), Ok(()));
    });
}

#[test]
fn a_voter_needs_a_started_quorum_of_the_larger_cluster() {
    with(&[(2, LONG), (3, LONG), (4, LONG)], |links| {
        // Two voters of whom one has started: three would need two.
        let refused = Err(Error::NotEnoughStartedMembers);
        assert_eq!(may_add(&cluster(1, 1, 0), &voter(), links), refused);
        assert_eq!(may_add(&cluster(2, 1, 0), &voter(), links), refused);
        assert_eq!(may_add(&cluster(3, 0, 0), &voter(), links), Ok(()));
        assert_eq!(may_add(&cluster(3, 1, 0), &voter(), links), Ok(()));
        // A learner costs nothing.
        assert_eq!(may_add(&cluster(2, 1, 0), &learner(), links), Ok(()));
    });
}

#[test]
fn growing_needs_connections_that_have_lasted() {
    let three = cluster(3, 0, 0);
    for (connected, expected) in [
        (&[(2, LONG), (3, LONG)][..], Ok(())),
        // A quorum of four is three: this member and two more.
        (&[(2, LONG)], Err(Error::UnhealthyCluster)),
        (&[(2, LONG), (3, 5000)], Err(Error::UnhealthyCluster)),
        (&[], Err(Error::UnhealthyCluster)),
    ] {
        with(connected, |links| {
            assert_eq!(may_add(&three, &voter(), links), expected, "{connected:?}");
            assert_eq!(may_add(&three, &learner(), links), expected, "{connected:?}");
        });
    }
    // Learners do not count as connections.
    let with_learner = cluster(2, 0, 1);
    with(&[(3, LONG)], |links| {
        assert_eq!(may_add(&with_learner, &voter(), links), Err(Error::UnhealthyCluster));
    });
    with(&[(2, LONG)], |links| assert_eq!(may_add(&with_learner, &voter(), links), Ok(())));
}

#[test]
fn removing_needs_a_started_quorum_of_the_rest() {
    with(&[], |links| {
        let refused = Err(Error::NotEnoughStartedMembers);
        // The last member: nobody would be left.
        assert_eq!(may_remove(&cluster(1, 0, 0), OWN, links), refused);
        assert_eq!(may_remove(&cluster(1, 1, 0), OWN, links), refused);
        // The silent one of two may go, and so may learners at any time.
        assert_eq!(may_remove(&cluster(1, 1, 0), MemberId(2), links), Ok(()));
        assert_eq!(may_remove(&cluster(1, 1, 1), MemberId(3), links), Ok(()));
        // One that nobody knows is refused later, by its entry.
        assert_eq!(may_remove(&cluster(3, 0, 0), MemberId(99), links), Ok(()));
    });
}

#[test]
fn a_connected_voter_goes_only_if_a_quorum_of_the_rest_is_connected() {
    let three = cluster(3, 0, 0);
    with(&[(2, LONG), (3, LONG)], |links| {
        assert_eq!(may_remove(&three, MemberId(3), links), Ok(()));
        assert_eq!(may_remove(&three, OWN, links), Ok(()));
    });
    with(&[(2, LONG)], |links| {
        // The one that is down may go; of the others neither.
        assert_eq!(may_remove(&three, MemberId(3), links), Ok(()));
        assert_eq!(may_remove(&three, MemberId(2), links), Err(Error::UnhealthyCluster));
        assert_eq!(may_remove(&three, OWN, links), Err(Error::UnhealthyCluster));
    });
    // Connected too short a time is no health, yet no absence either.
    with(&[(2, LONG), (3, 10)], |links| {
        assert_eq!(may_remove(&three, MemberId(3), links), Err(Error::UnhealthyCluster));
    });
    // Of two, either leaves a quorum of one.
    with(&[(2, LONG)], |links| {
        assert_eq!(may_remove(&cluster(2, 0, 0), MemberId(2), links), Ok(()));
    });
}

fn progress(id: u64, matched: u64) -> PeerProgress {
    PeerProgress {
        id: MemberId(id),
        learner: id == 2,
        matched: RaftIndex(matched),
        next: RaftIndex(matched + 1),
        state: ReplicationState::Replicate,
        recent_active: true,
    }
}

#[test]
fn a_learner_is_ready_with_nine_tenths_of_the_log() {
    let check = |learner| {
        let peers = [progress(1, 1000), progress(2, learner)];
        learner_in_sync(&peers, OWN, MemberId(2))
    };
    assert_eq!(check(1000), Ok(()));
    assert_eq!(check(900), Ok(()));
    assert_eq!(check(899), Err(Error::LearnerNotReady));
    assert_eq!(check(0), Err(Error::LearnerNotReady));
    assert_eq!(learner_in_sync(&[], OWN, MemberId(2)), Err(Error::NotLeader));
    assert_eq!(learner_in_sync(&[progress(1, 9)], OWN, MemberId(2)), Err(Error::MemberNotFound));
}

#[test]
fn promoting_counts_the_learner_as_started() {
    assert_eq!(may_promote(&cluster(1, 0, 1)), Ok(()));
    assert_eq!(may_promote(&cluster(1, 1, 1)), Ok(()));
    assert_eq!(may_promote(&cluster(1, 2, 1)), Err(Error::NotEnoughStartedMembers));
    assert_eq!(may_promote(&cluster(2, 1, 1)), Ok(()));
}

#[test]
fn quorum_of_all_members_since_a_time() {
    let three = cluster(3, 0, 0);
    with(&[(2, 100)], |links| {
        assert!(links.has_quorum_since(&three, links.now - Duration::from_millis(50)));
        assert!(!links.has_quorum_since(&three, links.now - Duration::from_millis(100)));
    });
}
