//! What clients are told of progress, and when they are told nothing.

use super::world::{World, spec};
use crate::{
    delivery::StreamId,
    watcher::{Start, WatcherSpec},
};

#[test]
fn progress_is_told_only_when_every_watcher_of_the_stream_is_there() {
    let mut world = World::new(1, 100);
    assert_eq!(world.progress(0), None, "no watchers");
    assert_eq!(world.hub.progress(StreamId(9), &world.store, &mut world.sink), None);
    world.put("a", "1");
    world.watch_now(0, 0, "a", "");
    assert_eq!(world.progress(0), Some(2));
    world.watch(0, 1, spec("a", "", Start::At(2)));
    assert_eq!(world.progress(0), None, "one has history to read");
    world.sync();
    assert_eq!(world.progress(0), Some(2));
    world.watch(0, 2, spec("b", "", Start::At(3)));
    assert_eq!(world.progress(0), None, "one starts in the future");
    world.put("x", "2");
    assert_eq!(world.progress(0), Some(3));
    assert_eq!(world.read(0), "-1 progress 2\n1@2: a=1/2\n-1 progress 2\n-1 progress 3");
}

#[test]
fn progress_hands_out_first_what_the_hub_was_not_told_yet() {
    let mut world = World::new(1, 100);
    world.watch_now(0, 0, "a", "");
    let change = world.store.write(&[("a", Some("1"))]);
    assert_eq!(world.progress(0), Some(2));
    world.notify(&[change]);
    assert_eq!(world.read(0), "0@2: a=1/2\n-1 progress 2");
}

#[test]
fn progress_does_not_pass_a_full_queue() {
    let mut world = World::new(1, 1);
    world.watch_now(0, 0, "a", "");
    world.put("a", "1");
    assert_eq!(world.progress(0), None);
    assert_eq!(world.read(0), "0@2: a=1/2");
    world.put("a", "2");
    world.put("a", "3");
    world.store.write(&[("a", Some("4"))]);
    assert_eq!(world.progress(0), None);
    assert_eq!(world.read(0), "0@3: a=2/3");
    assert_eq!(world.progress(0), None, "there is room, but events come first");
    world.sync();
    assert_eq!(world.read(0), "0@5: a=3/4 a=4/5");
    assert_eq!(world.progress(0), Some(5));
}

#[test]
fn a_tick_tells_idle_watchers_that_asked_for_it() {
    let mut world = World::new(1, 100);
    let notify = |key, start| WatcherSpec { progress_notify: true, ..spec(key, "", start) };
    world.watch(0, 0, notify("a", Start::After(1)));
    world.watch(0, 1, notify("b", Start::After(1)));
    world.watch(0, 2, notify("c", Start::At(4)));
    world.watch_now(0, 3, "d", "");
    world.put("a", "1");
    assert_eq!(world.read(0), "0@2: a=1/2");
    world.tick(0);
    assert_eq!(world.read(0), "1 progress 2");
    world.tick(0);
    assert_eq!(world.read(0), "0 progress 2\n1 progress 2");
    world.put("x", "2");
    world.put("x", "3");
    world.watch(0, 4, notify("a", Start::At(2)));
    world.tick(0);
    assert_eq!(world.read(0), "0 progress 4\n1 progress 4\n2 progress 4");
    world.hub.progress_tick(StreamId(7), &world.store, &mut world.sink);
    world.sync();
    world.tick(0);
    assert_eq!(world.read(0).lines().filter(|line| line.starts_with("4 ")).count(), 0);
}

#[test]
fn a_tick_does_not_go_back_behind_events_that_were_read_ahead_of_the_hub() {
    let mut world = World::new(1, 100);
    world.put("a", "1");
    let untold = ["2", "3"].map(|value| world.store.write(&[("a", Some(value))]));
    let notify = |key, start| WatcherSpec { progress_notify: true, ..spec(key, "", start) };
    world.watch(0, 0, notify("a", Start::At(2)));
    world.watch(0, 1, notify("b", Start::At(2)));
    world.watch_now(0, 2, "a", "");
    world.sync();
    assert_eq!(world.read(0), "0@4: a=1/2 a=2/3 a=3/4");
    // What the hub was not told yet can no longer be read.
    world.store.compact(4);
    for _ in 0..2 {
        world.tick(0);
        assert_eq!(world.progress(0), None);
    }
    assert_eq!(world.read(0), "");
    assert!(!world.hub.needs_sync(), "it is still to be told");
    world.notify(&untold);
    world.tick(0);
    assert_eq!(world.read(0), "0 progress 4\n1 progress 4");
}
