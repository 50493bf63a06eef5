//! Linearizable reads among several members.

use api::raftpb::MessageType;

use super::network::Network;
use crate::Input;

#[test]
fn leader_and_follower_get_the_committed_index() {
    let mut network = Network::led(&[1, 2, 3], 1);
    let (leader, follower) = (network.leader().expect("elected"), network.follower());
    network.propose(leader, "a");
    let index = network.members[&leader].machine.applied;
    network.act(leader, Input::ReadIndex { id: 7 });
    network.act(follower, Input::ReadIndex { id: 8 });
    assert_eq!(network.reads(leader), [(7, index)]);
    assert_eq!(network.reads(follower), [(8, index)]);
}

#[test]
fn a_cut_off_leader_answers_no_read() {
    let mut network = Network::led(&[1, 2, 3], 2);
    let old = network.leader().expect("elected");
    network.isolate(old);
    network.act(old, Input::ReadIndex { id: 7 });
    network.ticks(30);
    let new = network.leader().expect("the majority elects");
    network.propose(new, "a");
    network.heal();
    network.ticks(5);
    assert_eq!(network.reads(old), [], "neither then nor after it was overtaken");
}

#[test]
fn a_read_without_a_leader_is_lost() {
    let mut network = Network::found(&[1, 2, 3], 3);
    network.act(1, Input::ReadIndex { id: 7 });
    network.elect();
    network.ticks(10);
    assert_eq!(network.reads(1), []);
}

#[test]
fn reads_of_followers_wait_for_the_first_commit_of_the_term() {
    let mut network = Network::led(&[1, 2, 3], 4);
    let heir = network.follower();
    // The new leader wins, but nobody acknowledges its first entry yet.
    network.lose(MessageType::MsgAppResp);
    network.transfer(heir);
    assert_eq!(network.leader(), Some(heir));
    let follower = network.follower();
    network.act(follower, Input::ReadIndex { id: 8 });
    network.act(heir, Input::ReadIndex { id: 7 });
    assert_eq!((network.reads(heir), network.reads(follower)), (vec![], vec![]));
    network.heal();
    network.ticks(4);
    let index = network.members[&heir].machine.applied;
    assert_eq!(network.reads(heir), [(7, index)]);
    assert_eq!(network.reads(follower), [(8, index)]);
}
