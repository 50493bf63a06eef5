//! Replication among several members: losses, partitions, restarts, slow disks, and that the same
//! seed gives the same outputs.

use api::{
    ids::{MemberId, Term},
    raftpb::{EntryType, Message, MessageType},
};

use super::{harness::Member, network::Network};
use crate::{Input, Node, Output, Role};

#[test]
fn three_members_replicate() {
    let mut network = Network::led(&[1, 2, 3], 1);
    let leader = network.leader().expect("elected");
    network.propose(leader, "by the leader");
    network.propose(network.follower(), "by a follower");
    network.assert_payloads(&["by the leader", "by a follower"]);
    let conf_states = network.members.values().map(|m| m.machine.conf_state.voters.clone());
    assert!(conf_states.into_iter().all(|voters| voters == [1, 2, 3]));
}

#[test]
fn the_same_seed_gives_the_same_outputs() {
    let run = |seed| -> Vec<Vec<Output>> {
        let mut network = Network::led(&[1, 2, 3, 4, 5], seed);
        for round in 0..5 {
            let leader = network.leader().expect("elected");
            network.propose(leader, "x");
            network.isolate(leader);
            network.elect();
            network.propose(1 + round % 5, "y");
            network.heal();
            network.ticks(30);
        }
        network.members.into_values().map(|m| m.trace).collect()
    };
    let first = run(11);
    assert!(first.iter().flatten().count() > 500, "much has happened");
    assert_eq!(first, run(11));
    assert_ne!(first, run(12));
}

#[test]
fn the_leader_sends_before_its_own_disk_has_synced() {
    let mut network = Network::led(&[1, 2, 3], 2);
    let leader = network.leader().expect("elected");
    network.member(leader).disk_stalls = true;
    network.propose(leader, "a");
    // Both followers have it, which is a quorum; the leader itself applies what is on its disk.
    let committed = |m: &Member| m.node.positions().committed;
    let follower = network.follower();
    assert_eq!(network.members[&follower].payloads(), ["a"]);
    assert_eq!(network.members[&leader].payloads(), [""; 0]);
    assert_eq!(committed(&network.members[&leader]), committed(&network.members[&follower]));
    network.member(leader).unstall();
    network.deliver();
    network.assert_payloads(&["a"]);
}

#[test]
fn a_follower_acknowledges_nothing_before_its_disk_has_synced() {
    let mut network = Network::led(&[1, 2, 3], 2);
    let leader = network.leader().expect("elected");
    let followers: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    for id in &followers {
        network.member(*id).disk_stalls = true;
    }
    network.propose(leader, "a");
    network.propose(leader, "b");
    assert_eq!(network.members[&leader].payloads(), [""; 0]);
    network.member(followers[0]).unstall();
    network.deliver();
    assert_eq!(network.members[&leader].payloads(), ["a", "b"]);
    network.member(followers[1]).unstall();
    network.deliver();
    network.assert_payloads(&["a", "b"]);
}

#[test]
fn a_minority_commits_nothing_and_adopts_what_the_majority_did() {
    let mut network = Network::led(&[1, 2, 3], 3);
    let old = network.leader().expect("elected");
    network.isolate(old);
    network.propose(old, "lost");
    network.ticks(30);
    let new = network.leader().expect("the majority elects");
    assert_ne!(new, old);
    assert_ne!(network.members[&old].node.status().role, Role::Leader, "no quorum: it steps down");
    network.propose(new, "kept");
    network.heal();
    network.ticks(5);
    network.assert_payloads(&["kept"]);
}

#[test]
fn lost_appends_are_sent_again() {
    let mut network = Network::led(&[1, 2, 3], 4);
    let leader = network.leader().expect("elected");
    network.lose(MessageType::MsgApp);
    network.propose(leader, "a");
    network.propose(leader, "b");
    network.heal();
    network.ticks(4);
    network.assert_payloads(&["a", "b"]);
}

#[test]
fn a_member_that_was_down_catches_up() {
    let mut network = Network::led(&[1, 2, 3], 5);
    let leader = network.leader().expect("elected");
    let follower = network.follower();
    network.isolate(follower);
    for data in ["a", "b", "c"] {
        network.propose(leader, data);
    }
    network.restart(follower);
    network.heal();
    network.ticks(5);
    network.assert_payloads(&["a", "b", "c"]);
}

#[test]
fn a_crash_of_all_loses_nothing_committed() {
    let mut network = Network::led(&[1, 2, 3], 6);
    network.propose(network.follower(), "a");
    for id in [1, 2, 3] {
        network.restart(id);
    }
    let leader = network.elect();
    network.propose(leader, "b");
    network.assert_payloads(&["a", "b"]);
}

#[test]
fn a_large_backlog_is_sent_without_waiting_for_each_message() {
    let mut network = Network::led(&[1, 2, 3], 7);
    let leader = network.leader().expect("elected");
    let member = network.member(leader);
    let from = member.trace.len();
    for ticket in 0..16 {
        member.handle(Input::Propose { ticket, data: vec![b'x'; 512 << 10].into() });
    }
    let mut out = Vec::new();
    member.node.poll_ready(&mut out);
    let entries_sent = |o: &Output| match o {
        Output::Send(messages) => Some(messages.iter().map(|m| m.entries.len()).collect()),
        _ => None,
    };
    let sent: Vec<Vec<usize>> = out.iter().filter_map(entries_sent).collect();
    assert_eq!(sent.concat().iter().sum::<usize>(), 2 * 16, "all to both: {sent:?}");
    assert!(sent.concat().iter().all(|count| *count <= 2), "cut at 1 MiB: {sent:?}");
    assert_eq!(member.trace.len(), from);
}

#[test]
fn a_stale_rejection_does_not_lower_what_is_known_to_match() {
    let mut network = Network::led(&[1, 2, 3], 10);
    let (leader, follower) = (network.leader().expect("elected"), network.follower());
    for data in ["a", "b", "c"] {
        network.propose(leader, data);
    }
    let node = &mut network.member(leader).node;
    let mut out = Vec::new();
    node.handle(Input::Unreachable(MemberId(follower)), 0, &mut out);
    let matched = |node: &Node| {
        let peer = node.peers().into_iter().find(|p| p.id.0 == follower).expect("a member");
        (peer.matched.0, peer.next.0)
    };
    let (known, next) = matched(node);
    assert_eq!(next, known + 1);
    for index in [known, known - 1] {
        let rejection = Message {
            r#type: MessageType::MsgAppResp as i32,
            to: leader,
            from: follower,
            term: node.status().term.0,
            index,
            reject: true,
            ..Message::default()
        };
        node.handle(Input::Message(rejection), 0, &mut out);
        assert_eq!(matched(node), (known, known + 1), "rejection of {index}");
    }
    assert_eq!(out, []);
}

#[test]
fn proposals_wait_out_a_transfer() {
    let mut network = Network::led(&[1, 2, 3], 8);
    let leader = network.leader().expect("elected");
    let heir = network.follower();
    network.lose(MessageType::MsgTimeoutNow);
    network.transfer(heir);
    assert_eq!(network.members[&leader].node.status().transferee.map(|id| id.0), Some(heir));
    network.propose(leader, "patient");
    assert_eq!(network.members[&leader].payloads(), [""; 0]);
    network.heal();
    network.ticks(12);
    network.assert_payloads(&["patient"]);
}

#[test]
fn the_log_begins_with_the_founding_members() {
    let network = Network::led(&[1, 2, 3], 9);
    for member in network.members.values() {
        let kinds: Vec<_> = member.disk.entries.iter().take(4).map(|e| e.r#type()).collect();
        let change = EntryType::EntryConfChange;
        assert_eq!(kinds, [change, change, change, EntryType::EntryNormal]);
    }
}

#[test]
fn what_a_leader_decides_by_its_clock_goes_to_no_other() {
    let mut network = Network::led(&[1, 2, 3], 3);
    let old = network.leader().expect("elected");
    let term = network.members[&old].node.status().term;
    let decided = |term| Input::ProposeAsLeader { ticket: 7, data: "decided".into(), term };
    network.act(old, decided(term));
    network.ticks(1);
    let follower = network.follower();
    network.act(follower, decided(term));
    assert_eq!(network.members[&follower].trace.last(), Some(&Output::Dropped { ticket: 7 }));
    // The same member in another term, and in that term as a follower.
    network.act(old, decided(Term(term.0 - 1)));
    assert_eq!(network.members[&old].trace.last(), Some(&Output::Dropped { ticket: 7 }));
    network.act(old, Input::TransferLeader(MemberId(follower)));
    network.ticks(1);
    assert_eq!(network.leader(), Some(follower));
    network.act(old, decided(term));
    assert_eq!(network.members[&old].trace.last(), Some(&Output::Dropped { ticket: 7 }));
    network.ticks(3);
    for member in network.members.values() {
        assert_eq!(member.payloads(), ["decided"], "once, by the one leader of its term");
    }
}
