//! Scenarios of spec grpc.md section 5, each through the hub's public calls alone.

mod model;
mod progress;
mod world;

use std::sync::Arc;

use super::*;
use crate::{
    history::{History, HistoryError},
    watcher::Start,
};
use world::{World, spec};

#[test]
fn a_change_reaches_the_watchers_of_its_key_and_nobody_else() {
    let mut world = World::new(1, 100);
    world.watch_now(0, 0, "a", "");
    world.watch_now(0, 1, "a", "b");
    world.watch_now(0, 2, "b", "\0");
    world.watch_now(0, 3, "aa", "");
    world.put("a", "1");
    assert_eq!(world.read(0), "0@2: a=1/2\n1@2: a=1/2");
    world.put("aa", "2");
    assert_eq!(world.read(0), "1@3: aa=2/3\n3@3: aa=2/3");
    world.put("c", "3");
    assert_eq!(world.read(0), "2@4: c=3/4");
    world.write(&[("a", None)]);
    assert_eq!(world.read(0), "0@5: a-/5\n1@5: a-/5");
    assert!(world.cancel(0, 1));
    assert!(!world.cancel(0, 1));
    world.put("a", "4");
    assert_eq!(world.read(0), "0@6: a=4/6");
}

#[test]
fn a_transaction_is_one_delivery_and_a_batch_too() {
    let mut world = World::new(2, 100);
    world.watch_now(0, 0, "a", "c");
    world.watch_now(1, 0, "b", "");
    world.write(&[("a", Some("1")), ("b", Some("2")), ("x", Some("3"))]);
    assert_eq!(world.read(0), "0@2: a=1/2 b=2/2");
    assert_eq!(world.read(1), "0@2: b=2/2");
    let batch = [
        world.store.write(&[("a", Some("4"))]),
        world.store.write(&[("b", Some("5"))]),
        world.store.write(&[("x", Some("6"))]),
    ];
    world.notify(&batch);
    assert_eq!(world.read(0), "0@5: a=4/3 b=5/4");
    assert_eq!(world.read(1), "0@5: b=5/4");
}

#[test]
fn the_budget_bounds_deliveries_but_never_splits_a_transaction() {
    let budget = Budget { max_watchers: 8, max_revisions: 2, max_bytes: 200 };
    let mut world = World::with_budget(1, 100, budget);
    world.watch_now(0, 0, "", "\0");
    let large = "v".repeat(150);
    let batch = [
        world.store.write(&[("a", Some("1"))]),
        world.store.write(&[("a", Some("2"))]),
        world.store.write(&[("a", Some("3"))]),
        world.store.write(&[("a", Some(&large)), ("b", Some(&large))]),
        world.store.write(&[("a", Some("5"))]),
    ];
    world.notify(&batch);
    let counts = |deliveries: Vec<Delivery>| -> Vec<usize> {
        let count = |delivery: &Delivery| match delivery {
            Delivery::Events { events, .. } => events.len(),
            other => panic!("not events: {other:?}"),
        };
        deliveries.iter().map(count).collect()
    };
    assert_eq!(counts(world.take(0)), [2, 1, 2, 1]);
    world.watch(0, 1, spec("", "\0", Start::At(1)));
    world.sync();
    assert_eq!(counts(world.take(0)), [2, 3, 1]);
}

#[test]
fn history_comes_first_and_then_what_happens() {
    let mut world = World::new(1, 100);
    world.put("a", "1");
    world.put("b", "2");
    world.put("a", "3");
    world.watch(0, 0, spec("a", "", Start::At(2)));
    world.watch(0, 1, spec("a", "", Start::At(3)));
    world.watch(0, 2, spec("c", "", Start::At(1)));
    assert_eq!(world.hub.stats().slow_watchers, 3);
    world.put("a", "4");
    assert_eq!(world.read(0), "");
    world.sync();
    assert_eq!(world.hub.stats().slow_watchers, 0);
    assert_eq!(world.read(0), "0@5: a=1/2 a=3/4 a=4/5\n1@5: a=3/4 a=4/5");
    world.put("a", "5");
    assert_eq!(world.read(0), "0@6: a=5/6\n1@6: a=5/6");
}

#[test]
fn a_future_start_is_waited_for() {
    let mut world = World::new(1, 100);
    world.watch(0, 0, spec("a", "", Start::At(4)));
    world.watch(0, 1, spec("a", "", Start::At(i64::MAX)));
    assert_eq!(world.hub.stats().slow_watchers, 0);
    world.put("a", "1");
    world.put("a", "2");
    assert_eq!(world.read(0), "");
    world.put("a", "3");
    assert_eq!(world.read(0), "0@4: a=3/4");
}

#[test]
fn a_watcher_ahead_of_the_hub_gets_nothing_twice_and_misses_nothing() {
    let mut world = World::new(1, 100);
    world.watch(0, 0, spec("a", "", Start::At(2)));
    let first = world.store.write(&[("a", Some("1"))]);
    let second = world.store.write(&[("a", Some("2"))]);
    // The hub has not been told yet, the client knows of the first.
    world.watch(0, 1, spec("a", "", Start::After(2)));
    world.notify(&[first]);
    world.notify(&[second]);
    assert_eq!(world.read(0), "0@2: a=1/2\n0@3: a=2/3\n1@3: a=2/3");
    // One that reads history is ahead of the hub, too.
    let third = world.store.write(&[("a", Some("3"))]);
    world.watch(0, 2, spec("a", "", Start::At(2)));
    world.sync();
    assert_eq!(world.read(0), "2@4: a=1/2 a=2/3 a=3/4");
    world.notify(&[third]);
    assert_eq!(world.read(0), "0@4: a=3/4\n1@4: a=3/4");
}

#[test]
fn a_start_before_the_compaction_is_answered_with_it() {
    let mut world = World::new(1, 100);
    for value in ["1", "2", "3", "4"] {
        world.put("a", value);
    }
    world.store.compact(4);
    world.watch(0, 0, spec("a", "", Start::At(3)));
    world.watch(0, 1, spec("a", "", Start::At(4)));
    world.sync();
    assert_eq!(world.read(0), "0 compacted 4\n1@5: a=3/4 a=4/5");
    assert_eq!(world.hub.stats().watchers, 1);
    world.put("a", "5");
    assert_eq!(world.read(0), "1@6: a=5/6");
    // The dropped one holds progress back until it is cancelled.
    assert_eq!(world.progress(0), None);
    assert!(world.cancel(0, 0));
    assert!(!world.cancel(0, 0));
    assert_eq!(world.progress(0), Some(6));
}

#[test]
fn filters_leave_kinds_out_and_send_no_empty_batches() {
    let mut world = World::new(1, 100);
    let puts = WatcherSpec { filter_delete: true, ..spec("a", "", Start::At(2)) };
    let deletes = WatcherSpec { filter_put: true, ..spec("a", "", Start::At(2)) };
    let nothing = WatcherSpec { filter_put: true, ..puts.clone() };
    world.watch(0, 0, puts.clone());
    world.watch(0, 1, deletes.clone());
    world.watch(0, 2, nothing.clone());
    world.put("a", "1");
    world.write(&[("a", None)]);
    assert_eq!(world.read(0), "0@2: a=1/2\n1@3: a-/3");
    world.watch(0, 3, puts);
    world.watch(0, 4, deletes);
    world.watch(0, 5, nothing);
    world.sync();
    assert_eq!(world.read(0), "3@3: a=1/2\n4@3: a-/3");
    assert_eq!(world.hub.stats().slow_watchers, 0);
}

#[test]
fn replaced_values_are_read_once_for_all_and_only_if_wanted() {
    let mut world = World::new(1, 100);
    let with_prev = |start| WatcherSpec { prev_kv: true, ..spec("a", "", start) };
    world.put("a", "1");
    for watch_id in 0..3 {
        world.watch(0, watch_id, with_prev(Start::At(3)));
    }
    world.watch(0, 3, spec("a", "", Start::At(3)));
    world.put("a", "2");
    assert_eq!(world.store.value_reads.get(), 1);
    assert_eq!(world.read(0), "0@3: a=2/3<1\n1@3: a=2/3<1\n2@3: a=2/3<1\n3@3: a=2/3");
    world.write(&[("a", None)]);
    world.put("a", "3");
    assert_eq!(world.store.value_reads.get(), 2);
    let lines = world.read(0);
    assert!(lines.starts_with("0@4: a-/4<2"), "{lines}");
    assert!(lines.contains("0@5: a=3/5\n"), "a new key replaces nothing: {lines}");
    for watch_id in 4..6 {
        world.watch(0, watch_id, with_prev(Start::At(2)));
    }
    world.sync();
    assert_eq!(world.store.value_reads.get(), 4);
    assert_eq!(world.read(0).lines().next(), Some("4@5: a=1/2 a=2/3<1 a-/4<2 a=3/5"));
}

#[test]
fn a_replaced_value_is_absent_when_the_revision_before_is_compacted() {
    let mut world = World::new(1, 100);
    for value in ["1", "2", "3", "4"] {
        world.put("a", value);
    }
    world.store.compact(4);
    world.watch(0, 0, WatcherSpec { prev_kv: true, ..spec("a", "", Start::At(4)) });
    world.sync();
    assert_eq!(world.read(0), "0@5: a=3/4 a=4/5<3");
    world.store.scrub();
    world.watch(0, 1, WatcherSpec { prev_kv: true, ..spec("a", "", Start::At(4)) });
    world.sync();
    assert_eq!(world.read(0), "1@5: a=3/4 a=4/5<3");
    // A change that the hub is told of only after it was compacted.
    let change = world.store.write(&[("a", Some("5"))]);
    world.store.compact(6);
    world.store.scrub();
    world.notify(&[change]);
    assert_eq!(world.read(0), "0@6: a=5/6\n1@6: a=5/6");
}

#[test]
fn watchers_of_the_same_events_share_them() {
    let mut world = World::new(2, 100);
    let of = |deliveries: Vec<Delivery>| match deliveries.into_iter().next() {
        Some(Delivery::Events { events, .. }) => events,
        other => panic!("not events: {other:?}"),
    };
    world.watch_now(0, 0, "a", "c");
    world.watch_now(1, 0, "", "\0");
    world.write(&[("a", Some("1")), ("b", Some("2"))]);
    assert!(Arc::ptr_eq(&of(world.take(0)), &of(world.take(1))));
    world.watch(0, 1, spec("a", "c", Start::At(2)));
    world.watch(1, 1, spec("", "\0", Start::At(2)));
    world.sync();
    assert!(Arc::ptr_eq(&of(world.take(0)), &of(world.take(1))));
}

#[test]
fn a_full_queue_holds_its_watcher_at_the_revision_that_did_not_fit() {
    let mut world = World::new(2, 2);
    world.watch_now(0, 0, "a", "");
    world.watch_now(0, 1, "b", "");
    world.watch_now(1, 0, "a", "");
    for value in ["1", "2", "3"] {
        world.put("a", value);
        assert_eq!(world.read(1).lines().count(), 1, "the other stream is served at once");
    }
    assert_eq!(world.hub.stats().slow_watchers, 1);
    world.put("b", "4");
    world.put("a", "5");
    assert_eq!(world.hub.stats().slow_watchers, 2);
    assert_eq!(world.hub.blocked_streams().collect::<Vec<_>>(), [StreamId(0)]);
    assert_eq!(world.sink.refusals, 1, "a full stream is not asked again");
    assert_eq!(world.sync(), 1, "nothing can be done");
    assert_eq!(world.progress(0), None);
    assert_eq!(world.read(0), "0@2: a=1/2\n0@3: a=2/3");
    assert!(world.hub.needs_sync());
    world.sync();
    assert_eq!(world.read(0), "0@6: a=3/4 a=5/6\n1@6: b=4/5");
    assert_eq!(world.hub.stats().slow_watchers, 0);
    assert_eq!(world.progress(0), Some(6));
}

#[test]
fn a_blocked_watcher_whose_history_is_compacted_is_told() {
    let mut world = World::new(1, 1);
    world.watch_now(0, 0, "a", "");
    for value in ["1", "2", "3"] {
        world.put("a", value);
    }
    world.store.compact(4);
    assert_eq!(world.read(0), "0@2: a=1/2");
    world.sync();
    assert_eq!(world.read(0), "0 compacted 4");
    assert_eq!(world.hub.stats().watchers, 0);
}

#[test]
fn the_notice_of_a_compaction_waits_for_room_as_well() {
    let mut world = World::new(1, 1);
    world.put("a", "1");
    world.put("a", "2");
    world.store.compact(3);
    world.watch(0, 0, spec("a", "", Start::At(2)));
    world.watch(0, 1, spec("a", "", Start::At(2)));
    world.sync();
    assert_eq!(world.read(0), "0 compacted 3");
    world.sync();
    assert_eq!(world.read(0), "1 compacted 3");
}

#[test]
fn dropped_batches_are_read_from_history() {
    let mut world = World::new(1, 100);
    world.watch_now(0, 0, "a", "");
    world.watch_now(0, 1, "b", "");
    world.put("a", "1");
    let dropped = ["2", "3"].map(|value| world.store.write(&[("a", Some(value))]));
    world.hub.lagged(4);
    assert!(world.hub.needs_sync());
    world.notify(&dropped[..1]);
    assert!(world.hub.needs_sync(), "one of them is not all of them");
    // What is told while the hub is behind is read, too.
    world.put("a", "4");
    assert_eq!(world.read(0), "0@2: a=1/2");
    world.sync();
    assert_eq!(world.hub.revision(), 5);
    assert_eq!(world.read(0), "0@5: a=2/3 a=3/4 a=4/5");
    world.put("b", "5");
    assert_eq!(world.read(0), "1@6: b=5/6");
    world.hub.lagged(6);
    assert!(!world.hub.needs_sync(), "nothing was missed");
}

#[test]
fn a_gap_is_noticed_and_a_repeat_passed_over() {
    let mut world = World::new(1, 100);
    world.watch_now(0, 0, "a", "");
    let first = world.store.write(&[("a", Some("1"))]);
    let second = world.store.write(&[("a", Some("2"))]);
    let third = world.store.write(&[("a", Some("3"))]);
    world.notify(&[first.clone(), third.clone()]);
    assert_eq!(world.read(0), "0@2: a=1/2");
    world.sync();
    assert_eq!(world.read(0), "0@4: a=2/3 a=3/4");
    world.notify(&[first, second, third]);
    assert_eq!(world.read(0), "");
    assert!(!world.hub.needs_sync());
}

#[test]
fn a_snapshot_is_replayed_as_far_as_it_goes_back() {
    let mut world = World::new(1, 100);
    world.watch_now(0, 0, "a", "");
    world.watch(0, 1, spec("a", "", Start::At(6)));
    world.put("a", "1");
    assert_eq!(world.read(0), "0@2: a=1/2");
    world.store.write(&[("a", Some("2"))]);
    world.hub.restored();
    world.sync();
    assert_eq!(world.read(0), "0@3: a=2/3");
    for value in ["3", "4", "5", "6"] {
        world.store.write(&[("a", Some(value))]);
    }
    world.store.compact(5);
    world.hub.restored();
    world.sync();
    assert_eq!(world.read(0), "0 compacted 5\n1@7: a=5/6 a=6/7");
    world.put("a", "7");
    assert_eq!(world.read(0), "1@8: a=7/8");
}

#[test]
fn a_watcher_far_in_the_past_does_not_hold_up_one_that_is_nearly_there() {
    let budget = Budget { max_watchers: 512, max_revisions: 10, max_bytes: 1 << 20 };
    let mut world = World::with_budget(3, 1000, budget);
    for value in 0..2000 {
        world.put("a", &value.to_string());
    }
    world.watch(0, 0, spec("a", "", Start::At(2)));
    world.watch(0, 1, spec("b", "", Start::At(2)));
    world.watch(1, 0, spec("a", "", Start::At(1995)));
    world.watch(2, 0, spec("a", "", Start::At(1996)));
    for _ in 0..2 {
        world.hub.sync(&world.store, &mut world.sink).unwrap();
    }
    assert_eq!(world.hub.stats().slow_watchers, 2);
    assert_eq!(world.take(1).len(), 1);
    assert_eq!(world.take(2).len(), 1);
    world.sync();
    assert_eq!(world.take(0).len(), 200);
}

#[test]
fn many_watchers_share_one_read() {
    let mut world = World::new(100, 10);
    for value in 0..50 {
        world.put("a", &value.to_string());
    }
    for stream in 0..100 {
        world.watch(stream, 0, spec("a", "", Start::At(2)));
    }
    world.sync();
    assert_eq!(world.store.event_reads.get(), 1);
    assert_eq!(world.hub.stats().delivered_events, 5000);
}

#[test]
fn history_that_cannot_be_read_loses_nothing() {
    let mut world = World::new(1, 100);
    world.put("a", "1");
    world.watch(0, 0, spec("a", "", Start::At(2)));
    world.store.broken = true;
    let outcome = world.hub.sync(&world.store, &mut world.sink);
    assert!(matches!(outcome, Err(HistoryError::Failed(_))));
    world.store.write(&[("a", Some("2"))]);
    assert_eq!(world.progress(0), None);
    world.store.broken = false;
    world.sync();
    assert_eq!(world.read(0), "0@3: a=1/2 a=2/3");
}

#[test]
fn a_closed_stream_leaves_nothing_behind() {
    let mut world = World::new(2, 1);
    world.put("a", "1");
    world.watch(0, 0, spec("a", "", Start::At(2)));
    world.watch_now(0, 1, "a", "");
    world.watch_now(0, 2, "a", "b");
    world.watch_now(1, 0, "a", "");
    world.put("a", "2");
    world.put("a", "3");
    assert!(world.hub.close_stream(StreamId(0)));
    assert!(!world.hub.close_stream(StreamId(0)));
    let stats = world.hub.stats();
    assert_eq!((stats.streams, stats.watchers), (1, 1));
    assert_eq!(world.hub.blocked_streams().collect::<Vec<_>>(), [StreamId(1)]);
    let gone = WatcherKey { stream: StreamId(0), watch_id: 5 };
    assert!(!world.hub.create(gone, spec("a", "", Start::At(2))));
    assert!(!world.hub.cancel(gone));
    world.take(1);
    world.sync();
    assert_eq!(world.read(1), "0@4: a=3/4");
}

#[test]
fn one_that_never_reads_costs_a_number_and_delays_none_of_a_thousand() {
    const QUEUE: usize = 4;
    let mut world = World::new(1001, QUEUE);
    for stream in 0..=1000 {
        world.watch_now(stream, 0, "a", "");
    }
    for value in 0..200 {
        world.put("a", &value.to_string());
        world.sync();
        for stream in 1..=1000 {
            assert_eq!(world.take(stream).len(), 1, "stream {stream}, write {value}");
        }
    }
    let stuck = &world.sink.queues[&StreamId(0)];
    assert_eq!(stuck.len(), QUEUE);
    assert_eq!(world.sink.refusals, 1);
    assert_eq!(world.hub.stats().slow_watchers, 1);
    // None of the built events is kept but those in the queue.
    for delivery in stuck {
        let Delivery::Events { events, .. } = delivery else { panic!("not events") };
        assert_eq!(Arc::strong_count(events), 1);
    }
    world.take(0);
    world.sync();
    assert_eq!(world.store.revision(), 201);
    let caught_up = world.take(0);
    let Some(Delivery::Events { events, .. }) = caught_up.first() else { panic!("nothing") };
    assert_eq!((caught_up.len(), events.len()), (1, 200 - QUEUE));
}
