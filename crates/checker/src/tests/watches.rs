//! What watchers may and may not be sent.

use super::*;
use crate::{
    verdict::Violations,
    watch::{Kind, Message, Record},
};

/// Three revisions: `a`; `a` and `b` in one; `a` deleted.
fn events() -> Vec<Event> {
    vec![
        Event::put(kv("a", "1", 2, 2, 1)),
        Event::put(kv("a", "2", 2, 3, 2)),
        Event::put(kv("b", "2", 3, 3, 1)),
        Event::delete("a".into(), 4),
    ]
}

/// Judges one more stream of all keys beside one that saw everything.
fn judge(start_revision: i64, messages: Vec<Message>) -> Violations {
    let record = Record { messages, start_revision, ..everything() };
    judge_record(record)
}

fn judge_record(record: Record) -> Violations {
    let both = vec![StepResult::Put { prev: None }, StepResult::Put { prev: None }];
    let mut story = Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(
            2,
            3,
            put_both("a", "b", "2"),
            Response { revision: 3, succeeded: true, results: both },
        )
        .done(4, 5, delete("a"), deleted(4, 1))
        .watched(6, &events());
    story.history.watches.push(record);
    let report = story.check();
    assert!(report.serial.violations.is_empty() || report.watch.violations.count() > 0);
    report.watch.violations
}

fn sent(revision: i64, events: &[Event]) -> Message {
    message(9, revision, Kind::Events { more: false }, events)
}

#[track_caller]
fn breaks(rule: &str, start_revision: i64, messages: Vec<Message>) {
    let found = judge(start_revision, messages);
    assert!(found.kept().iter().any(|violation| violation.rule.contains(rule)), "{found:?}");
}

#[test]
fn batches_fragments_filters_and_bookmarks_pass() {
    let all = events();
    let fragment = message(9, 4, Kind::Events { more: true }, &all[..2]);
    for messages in [
        vec![sent(4, &all)],
        vec![sent(2, &all[..1]), sent(4, &all[1..])],
        vec![fragment, sent(4, &all[2..])],
        vec![sent(3, &all[..3]), message(9, 3, Kind::Progress, &[]), sent(4, &all[3..])],
    ] {
        let found = judge(1, messages.clone());
        assert!(found.is_empty(), "{messages:?}: {found:?}");
    }
    let only_b = Record {
        key: "b".into(),
        start_revision: 1,
        messages: vec![sent(4, &all[2..3]), message(9, 4, Kind::Progress, &[])],
        complete_to: 4,
        ..Record::default()
    };
    assert!(judge_record(only_b).is_empty());
    let no_put = Record {
        no_put: true,
        start_revision: 3,
        messages: vec![sent(4, &all[3..])],
        ..everything()
    };
    assert!(judge_record(no_put).is_empty());
    let from_now = vec![message(1, 3, Kind::Created, &[]), sent(4, &all[3..])];
    assert!(judge(0, from_now).is_empty());
}

#[test]
fn each_promise_can_be_broken() {
    let all = events();
    breaks("ordered", 1, vec![sent(2, &all[..1]), sent(4, &all[3..]), sent(4, &all[1..3])]);
    breaks("unique", 1, vec![sent(2, &all[..1]), sent(2, &all[..1])]);
    breaks("atomic", 1, vec![sent(3, &all[..2]), sent(3, &all[2..3])]);
    breaks("atomic", 1, vec![sent(3, &all[..2])]);
    breaks("resumable", 1, vec![sent(3, &all[1..3])]);
    breaks("resumable", 2, vec![sent(4, &all[3..])]);
    breaks("reliable", 1, vec![sent(2, &all[..1]), sent(4, &all[3..])]);
    breaks("bookmarkable", 1, vec![sent(2, &all[..1]), message(9, 3, Kind::Progress, &[])]);
    let late = vec![sent(2, &all[..1]), message(9, 4, Kind::Progress, &[]), sent(4, &all[1..])];
    breaks("bookmarkable", 1, late);
    breaks("ordered", 1, vec![sent(3, &all)]);
    let swapped = [all[0].clone(), all[2].clone(), all[1].clone()];
    breaks("true", 1, vec![sent(3, &swapped)]);
    let early = vec![message(1, 3, Kind::Created, &[]), sent(4, &all[1..])];
    breaks("ordered", 0, early);
}

#[test]
fn a_stream_that_must_be_complete_and_is_not_fails() {
    let record = Record {
        complete_to: 4,
        start_revision: 1,
        messages: vec![sent(3, &events()[..3])],
        ..everything()
    };
    assert_eq!(judge_record(record).count(), 1);
}

#[test]
fn pairs_before_changes_are_compared() {
    let all = events();
    let with_prev = |prev: Option<Kv>| {
        let mut messages = vec![sent(4, &all[3..])];
        messages[0].events[0].prev = prev;
        judge_record(Record { prev_kv: true, start_revision: 4, messages, ..everything() })
    };
    assert!(with_prev(Some(kv("a", "2", 2, 3, 2))).is_empty());
    assert_eq!(with_prev(Some(kv("a", "1", 2, 2, 1))).count(), 1);
    assert_eq!(with_prev(None).count(), 1);
}

#[test]
fn watchers_that_are_told_different_things_fail() {
    let mut story = Story::default().done(0, 1, put("a", "1"), ok(2));
    story = story.watched(3, &[Event::put(kv("a", "1", 2, 2, 1))]);
    story = story.watched(3, &[Event::put(kv("a", "other", 2, 2, 1))]);
    let report = story.check();
    assert!(!report.serial.violations.is_empty(), "{report}");
}
