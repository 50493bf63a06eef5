//! Small histories by hand: what a correct store may do, and one fault each.

use super::*;
use crate::{
    history::Consistency,
    lease::{self, Action},
};

#[test]
fn a_plain_life_of_a_key_passes() {
    Story::default()
        .done(0, 1, get("a"), read(1, &[]))
        .done(2, 5, put("a", "1"), ok(2))
        .done(3, 4, get("a"), read(1, &[]))
        .done(6, 9, put("a", "2"), ok(3))
        .done(10, 11, cas("a", 3, "3"), ok(4))
        .done(12, 13, cas("a", 3, "4"), lost(4, &[kv("a", "3", 2, 4, 3)]))
        .done(14, 15, delete("a"), deleted(5, 1))
        .done(16, 17, delete("a"), deleted(5, 0))
        .done(18, 19, put("a", "5"), ok(6))
        .done(20, 21, get("a"), read(6, &[kv("a", "5", 6, 6, 1)]))
        .passes();
}

#[test]
fn a_stale_read_fails() {
    let report = Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, put("a", "2"), ok(3))
        .done(4, 5, get("a"), read(2, &[kv("a", "1", 2, 2, 1)]))
        .fails();
    let violation = &report.linear.violations.kept()[0];
    assert_eq!(violation.window.1, 5 * MS, "the read's return shows it: {report}");
    assert!(violation.operations.contains(&2));
}

#[test]
fn the_same_read_passes_while_the_write_is_under_way_or_when_it_is_serializable() {
    let stale = || read(2, &[kv("a", "1", 2, 2, 1)]);
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 5, put("a", "2"), ok(3))
        .done(4, 6, get("a"), stale())
        .passes();
    let serializable = Request { consistency: Consistency::Serializable, ..get("a") };
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, put("a", "2"), ok(3))
        .done(4, 5, serializable, stale())
        .passes();
}

#[test]
fn a_serializable_read_of_what_never_was_fails() {
    let request = Request { consistency: Consistency::Serializable, ..get("a") };
    let report = Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(4, 5, request, read(2, &[kv("a", "9", 2, 2, 1)]))
        .check();
    assert!(!report.serial.violations.is_empty(), "{report}");
}

#[test]
fn a_lost_write_fails() {
    Story::default().done(0, 1, put("a", "1"), ok(2)).done(2, 3, get("a"), read(2, &[])).fails();
}

#[test]
fn a_write_lost_after_a_failover_fails_even_when_its_revision_is_used_again() {
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, put("a", "2"), ok(2))
        .done(4, 5, get("a"), read(2, &[kv("a", "2", 2, 2, 1)]))
        .fails();
}

#[test]
fn a_write_applied_twice_fails() {
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, get("a"), read(3, &[kv("a", "1", 2, 3, 2)]))
        .watched(4, &[Event::put(kv("a", "1", 2, 2, 1)), Event::put(kv("a", "1", 2, 3, 2))])
        .fails();
}

#[test]
fn a_dirty_read_of_a_write_that_failed_for_certain_fails() {
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, get("a"), read(3, &[kv("a", "never", 2, 3, 2)]))
        .watched(4, &[Event::put(kv("a", "1", 2, 2, 1)), Event::put(kv("a", "never", 2, 3, 2))])
        .fails();
}

#[test]
fn two_winners_of_one_comparison_fail() {
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 9, cas("a", 2, "x"), ok(3))
        .done(2, 9, cas("a", 2, "y"), ok(4))
        .fails();
}

#[test]
fn a_comparison_that_fails_against_the_truth_fails() {
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, cas("a", 2, "x"), lost(2, &[kv("a", "1", 2, 2, 1)]))
        .fails();
}

#[test]
fn half_a_transaction_fails() {
    let both = Request {
        success: vec![
            Step::Range { key: "a".into(), end: "".into() },
            Step::Range { key: "b".into(), end: "".into() },
        ],
        ..Request::default()
    };
    let response = |a: &[Kv], b: &[Kv]| Response {
        revision: 2,
        succeeded: true,
        results: vec![StepResult::Range(a.to_vec()), StepResult::Range(b.to_vec())],
    };
    let put_results = vec![StepResult::Put { prev: None }, StepResult::Put { prev: None }];
    let wrote = Response { revision: 2, succeeded: true, results: put_results };
    let (a, b) = (kv("a", "1", 2, 2, 1), kv("b", "1", 2, 2, 1));
    Story::default()
        .done(0, 1, put_both("a", "b", "1"), wrote.clone())
        .done(2, 3, both.clone(), response(std::slice::from_ref(&a), &[b]))
        .passes();
    Story::default()
        .done(0, 1, put_both("a", "b", "1"), wrote)
        .done(2, 3, both, response(&[a], &[]))
        .fails();
}

#[test]
fn an_unanswered_write_may_happen_late_or_never_but_once() {
    let seen = kv("a", "2", 2, 4, 3);
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .open(2, put("a", "2"))
        .done(5, 6, put("a", "3"), ok(3))
        .done(7, 8, get("a"), read(4, std::slice::from_ref(&seen)))
        .watched(
            9,
            &[
                Event::put(kv("a", "1", 2, 2, 1)),
                Event::put(kv("a", "3", 2, 3, 2)),
                Event::put(seen.clone()),
            ],
        )
        .passes();
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .open(2, put("a", "2"))
        .done(7, 8, get("a"), read(2, &[kv("a", "1", 2, 2, 1)]))
        .passes();
    let twice = kv("a", "2", 2, 5, 4);
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .open(2, put("a", "2"))
        .done(3, 4, get("a"), read(3, &[kv("a", "2", 2, 3, 2)]))
        .done(5, 6, put("a", "3"), ok(4))
        .done(7, 8, get("a"), read(5, std::slice::from_ref(&twice)))
        .watched(
            9,
            &[
                Event::put(kv("a", "1", 2, 2, 1)),
                Event::put(kv("a", "2", 2, 3, 2)),
                Event::put(kv("a", "3", 2, 4, 3)),
                Event::put(twice.clone()),
            ],
        )
        .fails();
}

#[test]
fn an_unanswered_write_may_not_happen_before_it_was_sent() {
    Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, get("a"), read(3, &[kv("a", "2", 2, 3, 2)]))
        .open(4, put("a", "2"))
        .watched(5, &[Event::put(kv("a", "1", 2, 2, 1)), Event::put(kv("a", "2", 2, 3, 2))])
        .fails();
}

#[test]
fn the_search_finds_unanswered_writes_without_watchers() {
    let open = |last: Response| {
        Story::default()
            .done(0, 1, put("a", "1"), ok(2))
            .open(2, put("a", "2"))
            .open(2, delete("a"))
            .done(5, 6, cas("a", 3, "3"), ok(5))
            .done(7, 8, get("a"), last)
            .check()
    };
    // Delete and put both happened between, so that the comparison met version 1 at revision 3?
    // No: the put at revision 3 must be the newest, hence the deletion came after the comparison's
    // revision or never, and revision 4 belongs to another key.
    let report = open(read(5, &[kv("a", "3", 2, 5, 3)]));
    assert!(report.linear.verdict().is_ok(), "{report}");
    let report = open(read(5, &[kv("a", "3", 2, 5, 7)]));
    assert!(!report.linear.violations.is_empty(), "{report}");
}

#[test]
fn revisions_may_not_run_backwards_across_keys() {
    let report = Story::default()
        .done(0, 1, put("a", "1"), ok(2))
        .done(2, 3, put("b", "1"), ok(3))
        .done(4, 5, get("a"), read(2, &[kv("a", "1", 2, 2, 1)]))
        .check();
    // Each key alone is fine; together the read is stale.
    assert!(report.linear.verdict().is_ok(), "{report}");
    assert!(!report.serial.violations.is_empty(), "{report}");
}

#[test]
fn a_gap_in_what_is_known_is_said() {
    let report =
        Story::default().done(0, 1, put("a", "1"), ok(2)).done(2, 3, put("a", "2"), ok(4)).check();
    assert!(matches!(report.serial.verdict(), crate::Verdict::Unknown(_)), "{report}");
}

#[test]
fn leases_end_in_time() {
    let attached = |lease: i64| Step::Put { key: "l".into(), value: "v".into(), lease };
    let with_lease = Kv { lease: 7, ..kv("l", "v", 2, 2, 1) };
    let story = |gone_at: u64| {
        let mut story = Story::default()
            .done(1, 2, Request::of(attached(7)), ok(2))
            .watched(3, &[Event::put(with_lease.clone())]);
        if gone_at > 0 {
            let mut record = everything();
            record.start_revision = 3;
            record.messages = vec![
                message(1, 1, watch::Kind::Created, &[]),
                message(
                    gone_at,
                    3,
                    watch::Kind::Events { more: false },
                    &[Event::delete("l".into(), 3)],
                ),
            ];
            story.history.watches.push(record);
        }
        let lives = |from: u64| Action {
            invoked: from * MS,
            returned: (from + 1) * MS,
            kind: lease::Kind::Lives { ttl: 2000 * MS },
        };
        story.history.leases = vec![lease::Record { id: 7, actions: vec![lives(0), lives(1000)] }];
        let leases = lease::Deadline { calm: 0, slack: 1000 * MS, end: 10_000 * MS };
        check(&mut story.history, Options { leases, ..Options::default() })
    };
    let in_time = story(3200);
    assert!(in_time.is_ok(), "{in_time}");
    assert_eq!(in_time.lease.expired, 1);
    assert!(!story(2500).lease.violations.is_empty(), "the renewal counts");
    assert!(!story(0).lease.violations.is_empty(), "still there after all this time");
}
