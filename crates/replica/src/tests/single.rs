//! One member: the cycle of a proposal, batching, restarts, waiting and refusals.

use api::{
    ids::{MemberId, RaftIndex, Term},
    raftpb::{ConfChange, ConfChangeType, ConfState, Entry, HardState, Message, MessageType},
};

use super::harness::{Disk, Machine, Member, config};
use crate::{Error, Input, Node, Output, Recovered, Refusal, Role};

fn leader() -> Member {
    let mut member = Member::found(1, &[1], 7);
    member.tick();
    assert_eq!(member.node.status().role, Role::Leader);
    member
}

#[test]
fn a_sole_voter_leads_after_one_tick() {
    let mut member = Member::found(1, &[1], 7);
    assert_eq!(member.node.status().role, Role::Follower);
    assert_eq!(member.machine.conf_state.voters, [1]);
    member.tick();
    let status = member.node.status();
    assert_eq!((status.role, status.leader, status.term), (Role::Leader, MemberId(1), Term(2)));
    // The founding entry and the leader's empty one.
    assert_eq!(member.machine.applied, 2);
    let states = member.outputs(0, |o| match o {
        Output::SoftState { leader, role } => Some((leader.0, *role)),
        _ => None,
    });
    assert_eq!(states, [(1, Role::Leader)]);
}

#[test]
fn a_proposal_is_persisted_then_committed() {
    let mut member = leader();
    let from = member.trace.len();
    member.propose("a");
    let trace = &member.trace[from..];
    let [Output::Persist { hard_state, entries, must_sync, .. }, rest @ ..] = trace else {
        panic!("nothing is committed before it is saved: {trace:?}");
    };
    assert_eq!((hard_state, *must_sync), (&None, true));
    assert_eq!(entries[0].data, "a");
    let [Output::Commit { entries }, Output::Persist { hard_state, must_sync, .. }] = rest else {
        panic!("a commit and its index follow: {rest:?}");
    };
    assert_eq!(entries[0].data, "a");
    assert_eq!(*hard_state, Some(HardState { term: 2, vote: 1, commit: 3 }));
    assert!(!must_sync);
    assert_eq!(member.payloads(), ["a"]);
}

#[test]
fn nothing_is_committed_while_the_disk_stalls() {
    let mut member = leader();
    member.disk_stalls = true;
    for data in ["a", "b", "c"] {
        member.propose(data);
    }
    assert_eq!(member.payloads(), [""; 0]);
    // Three readies are under way; the last acknowledgement covers them all.
    assert_eq!(member.waiting_writes(), 3);
    member.unstall_at_once();
    assert_eq!(member.payloads(), ["a", "b", "c"]);
}

#[test]
fn a_thousand_proposals_are_one_write() {
    let mut member = leader();
    let from = member.trace.len();
    for ticket in 0..1000 {
        member.handle(Input::Propose { ticket, data: vec![0; 256].into() });
    }
    member.run();
    let writes = member.outputs(from, |o| match o {
        Output::Persist { entries, must_sync, .. } => Some((entries.len(), *must_sync)),
        _ => None,
    });
    assert_eq!(writes, [(1000, true), (0, false)]);
    assert_eq!(member.machine.payloads.len(), 1000);
}

#[test]
fn a_restart_hands_out_what_the_store_lacks() {
    let mut member = leader();
    for data in ["a", "b", "c"] {
        member.propose(data);
    }
    let index = member.machine.applied;
    // The store had flushed all but the last two entries.
    member.machine.applied -= 2;
    member.machine.payloads.truncate(1);
    let mut member = member.restart(8);
    assert_eq!(member.payloads(), ["a", "b", "c"]);
    assert_eq!(member.machine.applied, index);
    member.tick();
    assert_eq!(member.node.status().term, Term(3));
    member.propose("d");
    assert_eq!(member.payloads(), ["a", "b", "c", "d"]);
}

#[test]
fn a_store_ahead_of_the_saved_commit_raises_it() {
    let mut member = leader();
    member.propose("a");
    member.disk.hard_state.commit = 1;
    let member = member.restart(8);
    let positions = member.node.positions();
    assert_eq!(positions.committed, positions.applied);
    assert_eq!(member.payloads(), ["a"]);
}

#[test]
fn proposals_wait_for_a_leader_and_then_go_out() {
    let mut member = Member::found(1, &[1], 7);
    member.propose("early");
    member.step(Input::ReadIndex { id: 1 });
    assert_eq!(member.payloads(), [""; 0]);
    assert_eq!(member.node.status().waiting_proposals, 1);
    member.tick();
    assert_eq!(member.payloads(), ["early"]);
}

#[test]
fn waiting_proposals_are_bounded_and_forgotten_in_time() {
    let mut settings = config(1, 7);
    settings.max_waiting_proposals = 2;
    // Two voters, one absent: there will be no leader.
    let conf_state = ConfState { voters: vec![1, 2], ..ConfState::default() };
    let mut member =
        Member::start(settings, Disk::default(), Machine { conf_state, ..Machine::default() });
    for ticket in 1..=3 {
        member.step(Input::Propose { ticket, data: "x".into() });
    }
    assert_eq!(member.trace.last(), Some(&Output::Dropped { ticket: 3 }));
    for _ in 0..70 {
        member.tick();
    }
    assert_eq!(member.node.status().waiting_proposals, 2);
    member.tick();
    assert_eq!(member.node.status().waiting_proposals, 0);
}

#[test]
fn reads_are_answered_at_once_by_a_sole_voter() {
    let mut member = leader();
    member.propose("a");
    let from = member.trace.len();
    member.step(Input::ReadIndex { id: 42 });
    let index = RaftIndex(member.machine.applied);
    assert_eq!(member.trace[from..], [Output::ReadReady { id: 42, index }]);
}

#[test]
fn reads_wait_for_the_first_commit_of_the_term() {
    let mut member = Member::found(1, &[1], 7);
    member.disk_stalls = true;
    member.tick();
    assert_eq!(member.node.status().role, Role::Leader);
    let from = member.trace.len();
    member.step(Input::ReadIndex { id: 42 });
    assert_eq!(member.trace[from..], []);
    member.unstall();
    let reads = member.outputs(from, |o| match o {
        Output::ReadReady { id, index } => Some((*id, index.0)),
        _ => None,
    });
    assert_eq!(reads, [(42, 2)]);
}

#[test]
fn a_member_without_others_serves_reads_once_it_has_applied_in_its_term() {
    let mut member = Member::found(1, &[1], 7);
    assert!(!member.node.serves_reads_alone());
    member.tick();
    assert!(member.node.serves_reads_alone());
    for data in ["a", "b"] {
        member.propose(data);
        assert!(member.node.serves_reads_alone());
    }
    // After a restart it leads again before it has applied what it acknowledged.
    member.machine.applied -= 1;
    member.machine.payloads.truncate(1);
    let mut member = member.restart(8);
    member.machine_stalls = true;
    member.tick();
    assert_eq!(member.node.status().role, Role::Leader);
    assert!(!member.node.serves_reads_alone());
    member.unstall();
    assert_eq!(member.payloads(), ["a", "b"]);
    assert!(member.node.serves_reads_alone());
    // Whoever joins may hear of commits, and acknowledge them, before they are applied here.
    let kind = ConfChangeType::ConfChangeAddLearnerNode as i32;
    let change = ConfChange { r#type: kind, node_id: 2, ..ConfChange::default() };
    member.step(Input::ProposeConfChange { ticket: 1, change });
    assert_eq!(member.machine.conf_state.learners, [2]);
    assert!(!member.node.serves_reads_alone());
}

#[test]
fn malformed_messages_are_refused() {
    let mut member = leader();
    let from = |from: u64, kind: MessageType, term: u64| Message {
        r#type: kind as i32,
        to: 1,
        from,
        term,
        ..Message::default()
    };
    let entry = |index, term| Entry { index, term, ..Entry::default() };
    let cases = [
        (Message { to: 3, ..from(2, MessageType::MsgHeartbeat, 9) }, Refusal::WrongMember),
        (from(0, MessageType::MsgHeartbeat, 9), Refusal::WrongSender),
        (from(1, MessageType::MsgHeartbeat, 9), Refusal::WrongSender),
        (from(2, MessageType::MsgHup, 9), Refusal::WrongType),
        (Message { r#type: 99, ..from(2, MessageType::MsgHup, 9) }, Refusal::WrongType),
        (from(2, MessageType::MsgForgetLeader, 9), Refusal::WrongType),
        (from(2, MessageType::MsgHeartbeat, 0), Refusal::NoTerm),
        (from(2, MessageType::MsgProp, 0), Refusal::WrongEntries),
        (from(2, MessageType::MsgReadIndex, 0), Refusal::WrongEntries),
        (from(2, MessageType::MsgSnap, 9), Refusal::WrongSnapshot),
        (
            Message { entries: vec![entry(7, 1)], ..from(2, MessageType::MsgApp, 9) },
            Refusal::WrongEntries,
        ),
        (
            Message {
                index: u64::MAX - 1,
                entries: vec![entry(u64::MAX, 1), entry(0, 1)],
                ..from(2, MessageType::MsgApp, 9)
            },
            Refusal::WrongEntries,
        ),
        (
            Message { entries: vec![entry(1, 10)], ..from(2, MessageType::MsgApp, 9) },
            Refusal::WrongEntries,
        ),
        (Message { index: 1000, ..from(2, MessageType::MsgAppResp, 2) }, Refusal::BeyondLog),
    ];
    for (message, refusal) in cases {
        let before = member.trace.len();
        let sender = MemberId(message.from);
        member.step(Input::Message(message.clone()));
        let expected = [Output::Refused { from: sender, refusal }];
        assert_eq!(member.trace[before..], expected, "{message:?}");
    }
    assert_eq!(member.node.status().role, Role::Leader);
}

#[test]
fn unsound_recoveries_are_errors() {
    let start = |change: &dyn Fn(&mut Recovered)| {
        let entry = |index| Entry { index, term: 1, ..Entry::default() };
        let mut recovered = Recovered {
            hard_state: HardState { term: 1, vote: 0, commit: 2 },
            entries: vec![entry(1), entry(2), entry(3)],
            ..Recovered::default()
        };
        change(&mut recovered);
        Node::new(config(1, 7), recovered).err()
    };
    assert_eq!(start(&|_| {}), None);
    let gap = Error::Gap { expected: RaftIndex(2), found: RaftIndex(3) };
    assert_eq!(start(&|r| drop(r.entries.remove(1))), Some(gap));
    let commit = Error::CommitBeyondLog { commit: RaftIndex(4), last: RaftIndex(3) };
    assert_eq!(start(&|r| r.hard_state.commit = 4), Some(commit));
    let ahead = Error::AppliedBeyondLog { applied: RaftIndex(4), last: RaftIndex(3) };
    assert_eq!(start(&|r| r.applied = RaftIndex(4)), Some(ahead));
    let behind = Error::AppliedBeforeLog { applied: RaftIndex(0), start: RaftIndex(5) };
    let from_five = |r: &mut Recovered| {
        r.snapshot.0 = RaftIndex(5);
        r.entries.iter_mut().for_each(|e| e.index += 5);
    };
    assert_eq!(start(&from_five), Some(behind));
    let twice = |r: &mut Recovered| r.snapshot.2.voters = vec![1, 1];
    assert!(matches!(start(&twice), Some(Error::ConfState(_))));
    assert!(matches!(Node::new(config(0, 7), Recovered::default()).err(), Some(Error::Config(_))));
}

#[test]
#[should_panic(expected = "is answered before")]
fn passing_an_unanswered_conf_change_breaks_an_invariant() {
    let (hard_state, entries) = crate::bootstrap_entries(&[(MemberId(1), "".into())]);
    let recovered = Recovered { hard_state, entries, ..Recovered::default() };
    let mut node = Node::new(config(1, 7), recovered).expect("founding entries are sound");
    let mut out = Vec::new();
    node.poll_ready(&mut out);
    node.handle(Input::Applied { index: RaftIndex(1) }, 0, &mut out);
}

/// It may crash before its term is saved, and would lead in that term again, with other entries.
#[test]
fn a_leader_by_its_own_vote_sends_nothing_before_its_term_is_saved() {
    let Member { disk, mut machine, .. } = Member::found(1, &[1], 7);
    machine.conf_state.learners = vec![2];
    let mut member = Member::start(config(1, 7), disk, machine);
    member.disk_stalls = true;
    for _ in 0..50 {
        member.tick();
        if member.node.status().role == Role::Leader {
            break;
        }
    }
    member.propose("a");
    assert_eq!(member.node.status().role, Role::Leader);
    assert_eq!(member.outbox, []);
    member.unstall_at_once();
    assert!(member.outbox.iter().any(|m| m.r#type() == MessageType::MsgApp && m.to == 2));
    // From now on its messages go beside its writes.
    member.outbox.clear();
    let term = member.node.status().term;
    let kind = MessageType::MsgAppResp as i32;
    let answer = Message { r#type: kind, from: 2, to: 1, index: 1, ..Message::default() };
    member.handle(Input::Message(Message { term: term.0, ..answer }));
    member.run();
    member.disk_stalls = true;
    member.propose("b");
    assert!(member.outbox.iter().any(|m| m.entries.iter().any(|entry| entry.data == "b")));
}
