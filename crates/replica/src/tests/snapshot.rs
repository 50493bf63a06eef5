//! Compaction of the log, and followers too far behind for it.

use api::{
    ids::MemberId,
    raftpb::{ConfChange, ConfChangeType, MessageType},
};

use super::network::Network;
use crate::{Input, Output, ReplicationState};

fn behind(seed: u64) -> (Network, u64, u64) {
    let mut network = Network::led(&[1, 2, 3], seed);
    let leader = network.leader().expect("elected");
    let follower = network.follower();
    network.isolate(follower);
    for data in ["a", "b", "c"] {
        network.propose(leader, data);
    }
    network.member(leader).snapshot(0);
    (network, leader, follower)
}

#[test]
fn compaction_keeps_the_catch_up_entries() {
    let mut network = Network::led(&[1], 1);
    for _ in 0..10 {
        network.propose(1, "x");
    }
    let applied = network.members[&1].machine.applied;
    network.member(1).snapshot(4);
    let status = network.members[&1].node.status();
    assert_eq!(status.positions.snapshot.0, applied);
    assert_eq!(status.first.0, applied - 4 + 1);
    network.propose(1, "y");
    assert_eq!(network.members[&1].payloads().last(), Some(&"y"));
}

#[test]
fn a_follower_too_far_behind_is_sent_the_snapshot() {
    let (mut network, leader, follower) = behind(2);
    network.heal();
    network.ticks(3);
    let restored = network.members[&follower].outputs(0, |o| match o {
        Output::Restore { snapshot } => snapshot.metadata.as_ref().map(|m| m.index),
        _ => None,
    });
    assert_eq!(restored.len(), 1);
    assert_eq!(network.members[&follower].payloads(), ["a", "b", "c"]);
    network.act(leader, Input::SnapshotStatus { to: MemberId(follower), delivered: true });
    network.ticks(3);
    network.propose(leader, "d");
    network.assert_payloads(&["a", "b", "c", "d"]);
    network.restart(follower);
    network.ticks(3);
    network.assert_payloads(&["a", "b", "c", "d"]);
}

#[test]
fn a_restore_is_saved_before_it_is_acknowledged() {
    let (mut network, _, follower) = behind(3);
    network.member(follower).disk_stalls = true;
    let from = network.members[&follower].trace.len();
    network.heal();
    network.ticks(3);
    let trace = &network.members[&follower].trace[from..];
    let at = trace.iter().position(|o| matches!(o, Output::Restore { .. })).expect("restored");
    assert!(matches!(trace[at + 1], Output::Persist { must_sync: true, .. }), "{trace:?}");
    let acknowledged = trace[at..].iter().any(|o| match o {
        Output::Send(messages) => messages.iter().any(|m| m.r#type() == MessageType::MsgAppResp),
        _ => false,
    });
    assert!(!acknowledged, "{trace:?}");
    network.member(follower).unstall();
    network.ticks(3);
    assert_eq!(network.members[&follower].payloads(), ["a", "b", "c"]);
}

#[test]
fn a_lost_snapshot_is_sent_again_when_it_is_reported() {
    let (mut network, leader, follower) = behind(4);
    network.heal();
    network.lose(MessageType::MsgSnap);
    network.ticks(3);
    let state = |network: &Network| {
        let peers = network.members[&leader].node.peers();
        peers.iter().find(|p| p.id.0 == follower).expect("a member").state
    };
    assert_eq!(state(&network), ReplicationState::Snapshot);
    network.heal();
    network.ticks(3);
    assert_eq!(state(&network), ReplicationState::Snapshot, "nobody said that it was lost");
    network.act(leader, Input::SnapshotStatus { to: MemberId(follower), delivered: false });
    network.ticks(3);
    network.assert_payloads(&["a", "b", "c"]);
}

#[test]
fn what_a_snapshot_on_its_way_needs_is_kept() {
    let (mut network, leader, follower) = behind(5);
    network.heal();
    network.lose(MessageType::MsgSnap);
    network.ticks(3);
    let sent = network.members[&leader].machine.applied;
    for data in ["d", "e"] {
        network.propose(leader, data);
    }
    network.member(leader).snapshot(0);
    assert_eq!(network.members[&leader].node.status().first.0, sent + 1);
    network.act(leader, Input::SnapshotStatus { to: MemberId(follower), delivered: false });
    assert_eq!(network.members[&leader].node.status().first.0, sent + 1);
    network.member(leader).snapshot(0);
    assert_eq!(network.members[&leader].node.status().first.0, sent + 3);
}

#[test]
fn a_new_member_of_a_compacted_cluster_starts_from_the_snapshot() {
    let mut network = Network::led(&[1], 6);
    for data in ["a", "b"] {
        network.propose(1, data);
    }
    network.join(2);
    let kind = ConfChangeType::ConfChangeAddNode as i32;
    let change = ConfChange { r#type: kind, node_id: 2, ..ConfChange::default() };
    network.isolate(2);
    network.member(1).step(Input::ProposeConfChange { ticket: 0, change });
    network.member(1).snapshot(0);
    network.heal();
    network.ticks(3);
    network.act(1, Input::SnapshotStatus { to: MemberId(2), delivered: true });
    network.ticks(3);
    network.propose(1, "c");
    network.assert_payloads(&["a", "b", "c"]);
    assert_eq!(network.members[&2].machine.conf_state.voters, [1, 2]);
}

#[test]
fn a_change_answered_after_a_restore_is_history() {
    let mut network = Network::led(&[1, 2, 3], 7);
    let (leader, follower) = (network.leader().expect("elected"), network.follower());
    let change = |kind: ConfChangeType, node_id| {
        let change = ConfChange { r#type: kind as i32, node_id, ..ConfChange::default() };
        Input::ProposeConfChange { ticket: 0, change }
    };
    // The follower's state machine has not judged the addition yet; of the removal it learns only from
    // the snapshot.
    network.member(follower).machine_stalls = true;
    network.act(leader, change(ConfChangeType::ConfChangeAddLearnerNode, 4));
    network.isolate(follower);
    network.act(leader, change(ConfChangeType::ConfChangeRemoveNode, 4));
    network.member(leader).snapshot(0);
    network.heal();
    network.report_snapshots = true;
    network.ticks(3);
    network.member(follower).unstall();
    network.act(leader, change(ConfChangeType::ConfChangeUpdateNode, 1));
    network.ticks(3);
    let conf_states = network.members[&follower].outputs(0, |o| match o {
        Output::ConfState { conf_state, .. } => Some(conf_state.learners.clone()),
        _ => None,
    });
    assert_eq!(conf_states, vec![Vec::<u64>::new(); 5], "three founders, the addition, the update");
    assert_eq!(network.members[&follower].machine.conf_state.voters, [1, 2, 3]);
}
