//! Followers far behind: sent what they missed at a pace, and never so slowly that it matters.

use api::{ids::MemberId, raftpb::MessageType};
use bytes::Bytes;

use super::network::Network;
use crate::Input;

/// Bytes that a tick of 100 ms fills at the rate of a default configuration.
const TICK_BYTES: u64 = (12 << 20) / 10;
/// Bytes of a payload.
const SIZE: usize = 32 << 10;

/// A cluster of three whose third has missed `count` payloads; also the leader and who follows it.
fn behind(count: usize, seed: u64) -> (Network, u64, u64, u64) {
    let mut network = Network::led(&[1, 2, 3], seed);
    let leader = network.leader().expect("elected");
    let away = network.follower();
    let other = 6 - leader - away;
    network.isolate(away);
    write(&mut network, leader, count);
    // What was sent while it was away is lost.
    network.act(leader, Input::Unreachable(MemberId(away)));
    assert_eq!(network.members[&other].machine.payloads.len(), count);
    (network, leader, other, away)
}

fn write(network: &mut Network, leader: u64, count: usize) {
    for _ in 0..count {
        let data = Bytes::from(vec![b'x'; SIZE]);
        network.act(leader, Input::Propose { ticket: 0, data });
    }
}

fn received(network: &Network, member: u64) -> u64 {
    network.members[&member].machine.payloads.iter().map(|payload| payload.len() as u64).sum()
}

#[test]
fn what_was_missed_comes_at_a_pace() {
    let (mut network, leader, _, away) = behind(320, 1);
    network.heal();
    let mut ticks = 0;
    while network.members[&away].machine.payloads.len() < 320 {
        let before = received(&network, away);
        network.tick();
        ticks += 1;
        let came = received(&network, away) - before;
        // A message more than there was, and the end of the log, go at once.
        assert!(came <= 2 * TICK_BYTES + (512 << 10), "{came} bytes in a tick");
        assert!(ticks < 20, "it gets there");
    }
    assert!(ticks >= 5, "10 MiB take more than half a second: {ticks} ticks");
    assert_eq!(network.members[&leader].node.due_in_ms(), None);
}

#[test]
fn the_others_are_not_held_up_meanwhile() {
    let (mut network, leader, other, away) = behind(320, 2);
    network.heal();
    network.ticks(3);
    assert!(network.members[&leader].node.due_in_ms().is_some_and(|ms| ms <= 100));
    write(&mut network, leader, 1);
    assert_eq!(network.members[&leader].machine.payloads.len(), 321);
    assert_eq!(network.members[&other].machine.payloads.len(), 321);
    assert!(network.members[&away].machine.payloads.len() < 320);
}

#[test]
fn writes_faster_than_the_pace_are_caught_up_with() {
    let (mut network, leader, _, away) = behind(320, 3);
    network.heal();
    let mut missing = Vec::new();
    for _ in 0..25 {
        // Three times what a tick fills.
        write(&mut network, leader, 3 * TICK_BYTES as usize / SIZE);
        network.tick();
        let behind = received(&network, leader) - received(&network, away);
        missing.push(behind);
        if behind == 0 {
            return;
        }
    }
    panic!("it has not caught up: {missing:?}");
}

#[test]
fn a_follower_that_the_quorum_needs_is_not_paced() {
    let (mut network, leader, other, away) = behind(1600, 4);
    network.heal();
    network.isolate(other);
    network.tick();
    write(&mut network, leader, 1);
    assert_eq!(network.members[&leader].machine.payloads.len(), 1600, "nothing commits yet");
    network.ticks(8);
    assert_eq!(network.members[&leader].machine.payloads.len(), 1601, "50 MiB in under a second");
    assert_eq!(network.members[&away].machine.payloads.len(), 1601);
}

#[test]
fn who_is_to_lead_is_not_paced() {
    let (mut network, leader, _, away) = behind(1600, 5);
    network.heal();
    network.tick();
    network.act(leader, Input::TransferLeader(MemberId(away)));
    network.ticks(2);
    assert_eq!(network.leader(), Some(away));
    network.lose(MessageType::MsgApp);
    network.ticks(2);
    assert_eq!(network.members[&away].machine.payloads.len(), 1600);
}
