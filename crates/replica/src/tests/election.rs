//! Who leads, and when not.

use api::{ids::MemberId, raftpb::MessageType};

use super::network::Network;
use crate::{Input, Role};

#[test]
fn founding_members_agree_on_a_leader() {
    for seed in 0..50 {
        let mut network = Network::found(&[1, 2, 3], seed);
        let leader = network.elect();
        for member in network.members.values() {
            assert_eq!(member.node.status().leader, MemberId(leader), "seed {seed}");
        }
    }
}

#[test]
fn timeouts_are_spread_over_their_range() {
    let mut waits = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let mut network = Network::found(&[1, 2, 3], seed);
        let ticks = (1..).find(|_| {
            network.tick();
            network.leader().is_some()
        });
        waits.insert(ticks.expect("endless"));
    }
    // The shortest of three waits, each uniform in 10..=19.
    assert!(waits.iter().all(|ticks| (10..40).contains(ticks)), "{waits:?}");
    assert!(waits.len() >= 6, "{waits:?}");
}

#[test]
fn leadership_is_handed_over() {
    let mut network = Network::led(&[1, 2, 3], 1);
    let heir = network.follower();
    let term = network.members[&heir].node.status().term;
    network.transfer(heir);
    assert_eq!(network.leader(), Some(heir));
    assert_eq!(network.members[&heir].node.status().term.0, term.0 + 1);
    network.propose(heir, "a");
    network.assert_payloads(&["a"]);
}

#[test]
fn a_leader_that_steps_down_is_replaced_by_another() {
    let mut network = Network::led(&[1, 2, 3], 4);
    let leader = network.leader().expect("elected");
    let term = network.members[&leader].node.status().term;
    network.act(leader, Input::StepDown);
    let status = network.members[&leader].node.status();
    assert_eq!((status.role, status.leader, status.term), (Role::Follower, MemberId(0), term));
    network.isolate(leader);
    network.ticks(40);
    let next = network.leader().expect("the others elect somebody");
    assert_ne!(next, leader);
    network.heal();
    network.propose(next, "a");
    network.ticks(3);
    network.assert_payloads(&["a"]);
    // One that does not lead has nothing to step down from.
    network.act(leader, Input::StepDown);
    assert_eq!(network.leader(), Some(next));
}

#[test]
fn a_follower_forwards_a_transfer() {
    let mut network = Network::led(&[1, 2, 3], 1);
    let heir = network.follower();
    network.act(heir, Input::TransferLeader(MemberId(heir)));
    assert_eq!(network.leader(), Some(heir));
}

#[test]
fn a_transfer_that_fails_is_given_up_after_an_election_timeout() {
    let mut network = Network::led(&[1, 2, 3], 2);
    let leader = network.leader().expect("elected");
    let heir = network.follower();
    network.isolate(heir);
    network.transfer(heir);
    network.ticks(10);
    let status = network.members[&leader].node.status();
    assert_eq!((status.role, status.transferee), (Role::Leader, None));
    network.propose(leader, "a");
    assert_eq!(network.members[&leader].payloads(), ["a"]);
}

#[test]
fn a_returning_member_does_not_disturb_the_leader() {
    let mut network = Network::led(&[1, 2, 3], 3);
    let leader = network.leader().expect("elected");
    let term = network.members[&leader].node.status().term;
    let away = network.follower();
    network.isolate(away);
    network.ticks(60);
    assert_eq!(network.members[&away].node.status().role, Role::PreCandidate);
    network.heal();
    network.ticks(20);
    assert_eq!(network.leader(), Some(leader));
    assert_eq!(network.members[&leader].node.status().term, term, "pre-vote keeps the term");
}

#[test]
fn votes_wait_for_the_disk() {
    let mut network = Network::found(&[1, 2, 3], 4);
    for member in network.members.values_mut() {
        member.disk_stalls = true;
    }
    network.ticks(60);
    let roles: Vec<_> = network.members.values().map(|m| m.node.status().role).collect();
    assert!(!roles.contains(&Role::Leader), "{roles:?}");
    for member in network.members.values_mut() {
        member.unstall();
    }
    network.elect();
}

#[test]
fn nobody_leads_while_votes_are_lost() {
    let mut network = Network::found(&[1, 2, 3], 5);
    network.lose(MessageType::MsgVoteResp);
    network.ticks(100);
    assert_eq!(network.leader(), None);
    network.heal();
    network.elect();
}

#[test]
fn ticks_can_be_advanced_at_start_up() {
    let mut network = Network::found(&[1, 2, 3], 6);
    for member in network.members.values_mut() {
        member.node.advance_ticks(9);
    }
    let ticks = (1..).find(|_| {
        network.tick();
        network.leader().is_some()
    });
    assert!(ticks.expect("endless") <= 11);
}
