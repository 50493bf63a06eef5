//! The rules of the operations, watchers, rows and snapshots.

use std::sync::Mutex;

use storage::{Backend, Op, mem::MemBackend};

use super::*;
use crate::text::SECOND_NS;

const NOW: i64 = 1_795_260_000 * SECOND_NS;

fn ttl(seconds: i64) -> Ttl {
    Ttl { expire: Some(NOW + seconds * SECOND_NS), refresh: false, now: NOW }
}

fn forever() -> Ttl {
    Ttl { now: NOW, ..Ttl::default() }
}

fn json(answer: &Answer) -> String {
    answer.as_ref().map_or_else(|error| error.to_json("/1"), |event| event.to_json("/1", true))
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Arc<Event>>>>);

impl Sink for Seen {
    fn send(&self, event: &Arc<Event>) -> bool {
        let mut seen = self.0.lock().unwrap();
        seen.push(event.clone());
        seen.len() < 3
    }
}

impl Seen {
    fn take(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.0.lock().unwrap());
        events.iter().map(|e| format!("{} {}", e.action.name(), e.node.key)).collect()
    }
}

#[test]
fn a_file_is_set_read_and_deleted() {
    let mut store = Store::new();
    let set = store.set("/1/a/b", false, "x", forever());
    assert!(set.as_ref().unwrap().is_created());
    assert_eq!(
        json(&set),
        r#"{"action":"set","node":{"key":"/a/b","value":"x","modifiedIndex":1,"createdIndex":1}}"#
    );
    let set = store.set("/1/a/b", false, "y", forever());
    assert!(!set.as_ref().unwrap().is_created());
    assert_eq!(
        json(&set),
        r#"{"action":"set","node":{"key":"/a/b","value":"y","modifiedIndex":2,"createdIndex":2},"prevNode":{"key":"/a/b","value":"x","modifiedIndex":1,"createdIndex":1}}"#
    );
    assert_eq!(
        json(&store.get("/1", true, NOW)),
        r#"{"action":"get","node":{"dir":true,"nodes":[{"key":"/a","dir":true,"nodes":[{"key":"/a/b","value":"y","modifiedIndex":2,"createdIndex":2}],"modifiedIndex":1,"createdIndex":1}]}}"#
    );
    assert_eq!(
        json(&store.delete("/1/a", true, false, NOW)),
        r#"{"errorCode":108,"message":"Directory not empty","cause":"/a","index":2}"#
    );
    assert_eq!(
        json(&store.delete("/1/a", false, true, NOW)),
        r#"{"action":"delete","node":{"key":"/a","dir":true,"modifiedIndex":3,"createdIndex":1},"prevNode":{"key":"/a","dir":true,"modifiedIndex":1,"createdIndex":1}}"#
    );
    assert_eq!(
        json(&store.get("/1/a/b", false, NOW)),
        r#"{"errorCode":100,"message":"Key not found","cause":"/a","index":3}"#
    );
}

#[test]
fn errors_and_their_counts_are_those_of_etcd() {
    let mut store = Store::new();
    store.set("/1/f", false, "v", forever()).unwrap();
    store.create("/1/d", true, "", false, forever()).unwrap();
    let code = |answer: Answer| answer.unwrap_err().code;
    assert_eq!(code(store.set("/1", false, "", forever())), Code::RootReadOnly);
    assert_eq!(code(store.set("/1/d", false, "", forever())), Code::NotFile);
    assert_eq!(code(store.set("/1/f/x", false, "", forever())), Code::NotDir);
    assert_eq!(code(store.create("/1/f", false, "", false, forever())), Code::NodeExist);
    assert_eq!(code(store.create("/1/f/x", false, "", false, forever())), Code::NotDir);
    assert_eq!(code(store.update("/1/x", "", forever())), Code::KeyNotFound);
    assert_eq!(code(store.update("/1/d", "v", forever())), Code::NotFile);
    assert_eq!(code(store.delete("/1/d", false, false, NOW)), Code::NotFile);
    let compare = Compare { value: "w", index: 9 };
    let failed = store.compare_and_swap("/1/f", compare, "", forever()).unwrap_err();
    assert_eq!((failed.code, &*failed.cause), (Code::TestFailed, "[w != v] [9 != 1]"));
    let failed = store.compare_and_delete("/1/f", Compare { value: "", index: 9 }, NOW);
    assert_eq!(failed.unwrap_err().cause, "[9 != 1]");
    assert_eq!(code(store.compare_and_swap("/1/d", compare, "", forever())), Code::NotFile);
    assert_eq!(code(store.compare_and_swap("/1", compare, "", forever())), Code::RootReadOnly);
    assert_eq!(store.index(), 2);
    let stats = store.stats();
    // A failed walk counts twice, and an error that etcd returns past its counter as a success.
    assert_eq!((stats.set_success, stats.set_fail), (1, 4));
    assert_eq!((stats.update_success, stats.update_fail), (1, 1));
    assert_eq!((stats.compare_and_swap_success, stats.compare_and_swap_fail), (1, 2));
    assert_eq!((stats.compare_and_delete_success, stats.compare_and_delete_fail), (1, 0));
    store.get("/1", true, NOW).unwrap();
    store.get("/1/none", false, NOW).unwrap_err();
    let counts = store.counts();
    assert_eq!(counts.reads, [("get", 0, 1), ("getRecursive", 1, 0)]);
    assert_eq!(counts.writes[0], ("set", 1, 4));
}

#[test]
fn keys_come_in_order_and_hidden_ones_are_not_listed() {
    let mut store = Store::new();
    store.create("/1/q", false, "1", true, forever()).unwrap();
    store.set("/1/q/_h", false, "x", forever()).unwrap();
    let made = store.create("/1/q", false, "2", true, forever()).unwrap();
    assert_eq!(made.node.key, "/1/q/00000000000000000003");
    let list = store.get("/1/q", false, NOW).unwrap();
    let keys: Vec<_> = list.below.iter().map(|(_, node)| node.key.as_str()).collect();
    assert_eq!(keys, ["/1/q/00000000000000000001", "/1/q/00000000000000000003"]);
    assert_eq!(store.get("/1/q/_h", false, NOW).unwrap().node.value.as_deref(), Some("x"));
}

#[test]
fn nodes_expire_in_order_when_they_are_told() {
    let mut store = Store::new();
    store.set("/1/b", false, "", ttl(2)).unwrap();
    store.set("/1/a", false, "", ttl(1)).unwrap();
    store.create("/1/d", true, "", false, ttl(1)).unwrap();
    store.set("/1/d/x", false, "", ttl(5)).unwrap();
    let view = store.get("/1/b", false, NOW + SECOND_NS / 2).unwrap();
    assert_eq!((view.node.ttl, view.node.expiration), (2, Some(NOW + 2 * SECOND_NS)));
    assert!(store.has_ttl());
    store.expire(NOW + SECOND_NS, NOW + SECOND_NS);
    let events: Vec<_> = store.history.from(5).map(|e| e.node.key.clone()).collect();
    assert_eq!(events, ["/1/a", "/1/d"]);
    assert!(store.has_ttl());
    // A refresh keeps the value; nobody is told.
    let seen = Seen::default();
    store.watch("/1/b", false, false, 0, Box::new(seen.clone())).unwrap();
    store.update("/1/b", "ignored", Ttl { refresh: true, ..ttl(9) }).unwrap();
    assert!(seen.take().is_empty());
    store.update("/1/b", "v", forever()).unwrap();
    assert_eq!(seen.take(), ["update /1/b"]);
    assert!(!store.has_ttl());
    let old = Ttl { expire: Some(SECOND_NS), ..forever() };
    assert_eq!(store.set("/1/c", false, "", old).unwrap().node.expiration, None);
    assert_eq!(store.stats().expire_count, 2);
}

#[test]
fn watchers_are_told_what_they_asked_for() {
    let mut store = Store::new();
    let [once, below, hidden, deep] = [(); 4].map(|()| Seen::default());
    store.watch("/1/a", false, false, 0, Box::new(once.clone())).unwrap().unwrap();
    let id = store.watch("/1/a", true, true, 0, Box::new(below.clone())).unwrap().unwrap();
    store.watch("/1/a/_h", false, true, 0, Box::new(hidden.clone())).unwrap();
    store.watch("/1/a/b/c", false, false, 0, Box::new(deep.clone())).unwrap();
    assert_eq!(store.watchers(), 4);
    store.set("/1/a/b/c", false, "", Ttl { refresh: false, ..forever() }).unwrap();
    assert_eq!(deep.take(), ["set /1/a/b/c"]);
    assert_eq!((below.take(), once.take()), (vec!["set /1/a/b/c".to_owned()], vec![]));
    store.set("/1/a/_h", false, "", forever()).unwrap();
    assert_eq!((below.take(), hidden.take()), (vec![], vec!["set /1/a/_h".to_owned()]));
    store.watch("/1/a/b/c", false, false, 0, Box::new(deep.clone())).unwrap();
    store.delete("/1/a/b", true, true, NOW).unwrap();
    assert_eq!(deep.take(), ["delete /1/a/b"]);
    assert_eq!((below.take(), once.take()), (vec!["delete /1/a/b".to_owned()], vec![]));
    store.unwatch(id);
    store.unwatch(id);
    assert_eq!(store.watchers(), 2);
    // A streaming watcher without room ends.
    store.watch("/1/x", false, true, 0, Box::new(below.clone())).unwrap();
    for _ in 0..4 {
        store.set("/1/x", false, "", forever()).unwrap();
    }
    assert_eq!((below.take().len(), store.watchers()), (3, 2));
}

#[test]
fn late_watchers_read_the_history_of_a_thousand() {
    let mut store = Store::new();
    store.outside(Action::Create, "/0/members/1");
    for n in 0..1005 {
        store.set(&format!("/1/k{n}"), false, "", forever()).unwrap();
    }
    let late = |store: &mut Store, key: &str, since| {
        let seen = Seen::default();
        let watched = store.watch(key, true, false, since, Box::new(seen.clone()));
        watched.map(|id| (id.is_some(), seen.take()))
    };
    let error = late(&mut store, "/1", 6).unwrap_err();
    assert_eq!(
        error.to_json("/1"),
        r#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [7/6]","index":1006}"#
    );
    assert_eq!(late(&mut store, "/1", 7).unwrap(), (false, vec!["set /1/k5".to_owned()]));
    assert_eq!(late(&mut store, "/1/k9", 7).unwrap(), (false, vec!["set /1/k9".to_owned()]));
    assert_eq!(late(&mut store, "/1/k", 7).unwrap(), (true, vec![]));
    assert_eq!(late(&mut store, "/1", 1007).unwrap(), (true, vec![]));
}

fn filled() -> Store {
    let mut store = Store::new();
    store.outside(Action::Create, "/0/members/1");
    store.set("/1/a/b", false, "<é\"", ttl(9)).unwrap();
    store.create("/1/d", true, "", false, ttl(7)).unwrap();
    store.create("/2/users", true, "", false, forever()).unwrap();
    store.set("/1/a/c", false, "", forever()).unwrap();
    store.update("/1/a/b", "", Ttl { refresh: true, ..ttl(20) }).unwrap();
    store.delete("/1/a/c", false, false, NOW).unwrap();
    store
}

fn assert_same(left: &Store, right: &Store) {
    assert_eq!(left.save("null"), right.save("null"));
    assert_eq!(left.has_ttl(), right.has_ttl());
}

#[test]
fn rows_bring_a_store_back() {
    let backend = MemBackend::new();
    let mut store = filled();
    let commit = |store: &mut Store| -> usize {
        let mut ops = Vec::new();
        store.take_ops(&mut ops);
        backend.commit(&ops).unwrap();
        ops.len()
    };
    commit(&mut store);
    let mut loaded = Store::load(&*backend.read().unwrap()).unwrap();
    assert_same(&store, &loaded);
    assert_eq!(commit(&mut loaded), 0);
    // One change: its node, its event, the counters.
    loaded.set("/1/a/b", false, "w", ttl(3)).unwrap();
    assert_eq!(commit(&mut loaded), 4);
    loaded.delete("/1/a", false, true, NOW).unwrap();
    loaded.expire(NOW + 100 * SECOND_NS, NOW);
    for _ in 0..1200 {
        loaded.create("/1/q", false, "", true, forever()).unwrap();
    }
    commit(&mut loaded);
    let again = Store::load(&*backend.read().unwrap()).unwrap();
    assert_same(&loaded, &again);
    assert_eq!(again.history.from(0).count(), 1000);
    assert!(again.is_stored() && !Store::new().is_stored());
}

#[test]
fn broken_rows_are_refused() {
    let bad = |key: &'static [u8], value: &'static [u8]| {
        let backend = MemBackend::new();
        let (key, value) = (key.into(), value.into());
        backend.commit(&[Op::Put { bucket: storage::Bucket::V2, key, value }]).unwrap();
        let view = backend.read().unwrap();
        assert!(Store::load(&*view).is_err(), "{key:?}", key = &backend.size());
    };
    bad(b"x", b"");
    bad(b"n1", b"");
    bad(b"s", b"\xff");
    bad(b"n\0\0\0\0\0\0\0\x05", b"\x08\x63\x12\x01a");
    bad(b"n\0\0\0\0\0\0\0\x05", b"\x08\x01\x12\x01/");
    bad(b"e\0\0\0\0\0\0\0\x05", b"{}");
    bad(b"e\0\0\0\0\0\0\0\x05", br#"{"action":"set"}"#);
}

#[test]
fn json_brings_a_store_back() {
    let store = filled();
    store.get("/1", false, NOW).unwrap();
    let saved = store.save(r#"{"Path":"/0","Children":{}}"#);
    let value: serde_json::Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(value["Root"]["Children"]["1"]["Children"]["a"]["Children"]["b"]["Path"], "/1/a/b");
    assert_eq!(
        value["WatcherHub"]["EventHistory"]["Queue"]["Events"].as_array().unwrap().len(),
        1000
    );
    let mut recovered = Store::recover(saved.as_bytes()).unwrap();
    assert_same(&store, &recovered);
    let backend = MemBackend::new();
    let mut ops = Vec::new();
    recovered.take_ops(&mut ops);
    backend.commit(&ops).unwrap();
    let loaded = Store::load(&*backend.read().unwrap()).unwrap();
    assert_eq!(loaded.save("1").replace("\"getsSuccess\":0", "\"getsSuccess\":1"), store.save("1"));
    for bad in [
        "",
        "{}",
        r#"{"Root":{}}"#,
        r#"{"Root":{"Children":{"1":5}}}"#,
        r#"{"Root":{"Children":{"2":{"Children":{"":{}}}}}}"#,
        r#"{"Root":{"Children":{}},"WatcherHub":{"EventHistory":{"Queue":{"Events":[],"Size":3}}}}"#,
    ] {
        assert!(Store::recover(bad.as_bytes()).is_err(), "{bad}");
    }
    let bare = br#"{"Root":{"Children":{"0":{},"1":{"Children":{}}}},"CurrentIndex":7}"#;
    assert_eq!(Store::recover(bare).unwrap().index(), 7);
}

/// What another member sends is read or refused, and what is read can be stored.
#[test]
fn broken_json_ends_in_an_error_or_a_store() {
    let saved = filled().save("{}").into_bytes();
    let mut seed = 7_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut read = 0;
    for _ in 0..2000 {
        let mut json = saved.clone();
        for _ in 0..=random(3) {
            let at = random(json.len().min(3000));
            match random(3) {
                0 => json[at] = b"0129{}[],:\"/\\nu "[random(16)],
                1 => drop(json.remove(at)),
                _ => json.insert(at, b'1'),
            }
        }
        let Ok(mut store) = Store::recover(&json) else { continue };
        read += 1;
        let mut ops = Vec::new();
        store.take_ops(&mut ops);
        let backend = MemBackend::new();
        backend.commit(&ops).unwrap();
        assert_same(&Store::load(&*backend.read().unwrap()).unwrap(), &store);
    }
    assert!(read > 100, "{read}");
}

/// No path is too deep for any of the ways through the tree.
#[test]
fn deep_paths_take_no_stack() {
    let mut store = Store::new();
    let path = format!("/1{}", "/d".repeat(1000));
    store.set(&path, false, "v", ttl(1)).unwrap();
    let listed = store.get("/1", true, NOW).unwrap();
    assert_eq!(listed.below.len(), 1000);
    assert!(listed.to_json("/1", true).ends_with("]}}"));
    let saved = store.save("null");
    let recovered = Store::recover(saved.as_bytes()).unwrap();
    assert_same(&store, &recovered);
    store.delete("/1/d", false, true, NOW).unwrap();
    assert!(!store.has_ttl());
}
