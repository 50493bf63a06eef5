//! Changes of members: learners, promotion, removal, refused changes.

use api::raftpb::{ConfChange, ConfChangeType, ConfState, MessageType};

use super::network::Network;
use crate::{Input, ReplicationState, Role};

fn change(kind: ConfChangeType, node_id: u64) -> Input {
    let change = ConfChange { r#type: kind as i32, node_id, ..ConfChange::default() };
    Input::ProposeConfChange { ticket: 0, change }
}

fn conf_state(network: &Network, id: u64) -> (Vec<u64>, Vec<u64>) {
    let ConfState { voters, learners, .. } = network.members[&id].machine.conf_state.clone();
    (voters, learners)
}

#[test]
fn a_learner_is_added_promoted_and_removed() {
    let mut network = Network::led(&[1], 1);
    network.propose(1, "a");
    network.join(2);
    network.act(1, change(ConfChangeType::ConfChangeAddLearnerNode, 2));
    network.ticks(3);
    assert_eq!(conf_state(&network, 1), (vec![1], vec![2]));
    assert_eq!(conf_state(&network, 2), (vec![1], vec![2]));
    network.assert_payloads(&["a"]);
    let peers = network.members[&1].node.peers();
    assert_eq!(
        peers.iter().map(|p| (p.id.0, p.learner)).collect::<Vec<_>>(),
        [(1, false), (2, true)]
    );
    assert_eq!(peers[1].state, ReplicationState::Replicate);
    assert_eq!(peers[1].matched, peers[0].matched);

    network.act(1, change(ConfChangeType::ConfChangeAddNode, 2));
    network.ticks(2);
    assert_eq!(conf_state(&network, 2), (vec![1, 2], vec![]));
    network.propose(2, "b");
    network.assert_payloads(&["a", "b"]);

    network.act(1, change(ConfChangeType::ConfChangeRemoveNode, 2));
    assert_eq!(conf_state(&network, 1), (vec![1], vec![]));
    network.propose(1, "c");
    assert_eq!(network.members[&1].payloads(), ["a", "b", "c"]);
}

#[test]
fn a_learner_never_campaigns() {
    let mut network = Network::led(&[1], 2);
    network.join(2);
    network.act(1, change(ConfChangeType::ConfChangeAddLearnerNode, 2));
    network.ticks(3);
    network.isolate(2);
    let term = network.members[&2].node.status().term;
    network.ticks(100);
    let status = network.members[&2].node.status();
    assert_eq!((status.role, status.term), (Role::Follower, term));
}

#[test]
fn a_leader_that_removes_itself_hands_over() {
    let mut network = Network::led(&[1, 2, 3], 3);
    let old = network.leader().expect("elected");
    network.act(old, change(ConfChangeType::ConfChangeRemoveNode, old));
    let new = network.leader().expect("handed over at once");
    assert_ne!(new, old);
    network.propose(new, "a");
    // Nobody speaks to the removed member any more; it hears of the new term when it speaks itself.
    network.tick();
    assert_eq!(network.members[&old].node.status().role, Role::Follower);
    network.ticks(100);
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != old).collect();
    for id in &others {
        assert_eq!(network.members[id].payloads(), ["a"]);
        assert_eq!(conf_state(&network, *id).0, others);
    }
    assert_eq!(network.leader(), Some(new), "the removed member does not disturb");
}

#[test]
fn a_leader_that_removes_itself_survives_late_acknowledgements() {
    let mut network = Network::led(&[1, 2, 3], 4);
    let old = network.leader().expect("elected");
    network.lose(MessageType::MsgTimeoutNow);
    network.member(old).handle(change(ConfChangeType::ConfChangeRemoveNode, old));
    for data in ["a", "b"] {
        network.member(old).handle(Input::Propose { ticket: 0, data: data.into() });
    }
    network.member(old).run();
    network.deliver();
    network.heal();
    let new = network.elect();
    assert_ne!(new, old);
    network.ticks(3);
    assert_eq!(network.members[&new].payloads(), ["a", "b"]);
}

#[test]
fn a_removed_leader_stays_until_the_others_know() {
    let mut network = Network::led(&[1, 2], 10);
    let old = network.leader().expect("elected");
    let other = network.follower();
    // The other one has the removal and acknowledges it, but is cut off before it hears of the commit;
    // alone it could not become leader, for it still counts on two votes.
    network.member(other).disk_stalls = true;
    network.act(old, change(ConfChangeType::ConfChangeRemoveNode, old));
    network.propose(old, "behind the removal");
    network.cut.insert((old, other));
    network.member(other).unstall();
    network.deliver();
    assert_eq!(conf_state(&network, old).0, [other]);
    assert_eq!(conf_state(&network, other).0, [1, 2]);
    network.propose(old, "waits");
    network.act(old, Input::ReadIndex { id: 1 });
    network.ticks(50);
    assert_eq!(network.reads(old), [], "it cannot know whether it is still the leader");
    assert_eq!(network.members[&old].node.status().role, Role::Leader);
    network.heal();
    network.ticks(20);
    assert_eq!(network.members[&other].node.status().role, Role::Leader);
    assert_eq!(network.members[&other].payloads(), ["behind the removal"]);
}

#[test]
fn changes_wait_for_each_other() {
    let mut network = Network::led(&[1], 5);
    let leader = network.member(1);
    leader.disk_stalls = true;
    for id in [2, 3] {
        leader.handle(change(ConfChangeType::ConfChangeAddLearnerNode, id));
    }
    leader.run();
    assert_eq!(leader.node.status().waiting_proposals, 1);
    leader.unstall();
    assert_eq!(conf_state(&network, 1), (vec![1], vec![2, 3]));
}

#[test]
fn a_refused_change_and_an_update_change_nothing() {
    let mut network = Network::led(&[1, 2, 3], 6);
    let leader = network.leader().expect("elected");
    // Node 0 is what the state machine makes of a change it refuses.
    network.act(leader, change(ConfChangeType::ConfChangeRemoveNode, 0));
    network.act(leader, change(ConfChangeType::ConfChangeUpdateNode, 2));
    network.propose(leader, "a");
    network.assert_payloads(&["a"]);
    for id in [1, 2, 3] {
        assert_eq!(conf_state(&network, id), (vec![1, 2, 3], vec![]));
    }
}

#[test]
fn the_last_voter_stays() {
    let mut network = Network::led(&[1], 7);
    network.act(1, change(ConfChangeType::ConfChangeRemoveNode, 1));
    assert_eq!(conf_state(&network, 1), (vec![1], vec![]));
    network.propose(1, "a");
    network.assert_payloads(&["a"]);
}

#[test]
fn the_survivor_of_two_does_not_lead_before_its_disk_has_synced() {
    let mut network = Network::led(&[1, 2], 8);
    let old = network.leader().expect("elected");
    let survivor = network.follower();
    // The survivor has the removal on disk and what follows it in memory alone.
    network.member(old).disk_stalls = true;
    network.act(old, change(ConfChangeType::ConfChangeRemoveNode, old));
    network.member(survivor).disk_stalls = true;
    network.propose(old, "a");
    network.member(old).unstall();
    network.deliver();
    assert_eq!(conf_state(&network, survivor).0, [survivor]);
    network.ticks(50);
    assert_eq!(network.members[&survivor].node.status().role, Role::Follower);
    network.member(survivor).unstall();
    network.ticks(1);
    assert_eq!(network.members[&survivor].node.status().role, Role::Leader);
    assert_eq!(network.members[&survivor].payloads(), ["a"]);
}

#[test]
fn members_survive_a_restart() {
    let mut network = Network::led(&[1, 2, 3], 9);
    let leader = network.leader().expect("elected");
    network.join(4);
    network.act(leader, change(ConfChangeType::ConfChangeAddNode, 4));
    network.ticks(3);
    for id in [1, 2, 3, 4] {
        network.restart(id);
    }
    let leader = network.elect();
    network.propose(leader, "a");
    network.assert_payloads(&["a"]);
    assert_eq!(conf_state(&network, 4).0, [1, 2, 3, 4]);
}

#[test]
fn a_forwarded_change_waits_for_the_one_before_it() {
    let mut network = Network::led(&[1, 2, 3], 5);
    let (leader, follower) = (network.leader().expect("elected"), network.follower());
    // The first is committed, and not applied by the leader, when the others come.
    network.member(leader).machine_stalls = true;
    network.act(follower, change(ConfChangeType::ConfChangeAddLearnerNode, 4));
    assert_eq!(conf_state(&network, follower).1, [4]);
    network.propose(follower, "beside");
    network.act(follower, change(ConfChangeType::ConfChangeRemoveNode, 4));
    network.act(follower, change(ConfChangeType::ConfChangeAddLearnerNode, 5));
    network.member(leader).machine_stalls = false;
    network.member(leader).unstall();
    network.ticks(3);
    for id in [leader, follower] {
        assert_eq!(conf_state(&network, id), (vec![1, 2, 3], vec![5]));
    }
    network.assert_payloads(&["beside"]);
}
