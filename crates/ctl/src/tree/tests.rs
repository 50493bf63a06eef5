//! Listings over keys in memory.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use api::{
    etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader},
    kv::KeyValue,
    range::KeyRange,
};
use client::error::Error;

use super::{
    Look,
    children::{Child, Children, prefix_of, top},
    du::{Usage, measure},
    keyspace::Read,
    ls::ls,
    walk::tree,
};
use crate::decode::paint::Screen;

/// A store with one revision.
struct Store {
    keys: BTreeMap<Vec<u8>, usize>,
    reads: AtomicUsize,
    sent: AtomicUsize,
}

impl Store {
    fn new(keys: impl IntoIterator<Item = (impl Into<Vec<u8>>, usize)>) -> Store {
        let keys = keys.into_iter().map(|(key, size)| (key.into(), size)).collect();
        Store { keys, reads: AtomicUsize::new(0), sent: AtomicUsize::new(0) }
    }
}

impl Read for Store {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let range = KeyRange::new(request.key, request.range_end);
        let all: Vec<_> = self.keys.iter().filter(|(key, _)| range.contains(key)).collect();
        let limit =
            usize::try_from(request.limit).unwrap().checked_sub(1).map_or(all.len(), |n| n + 1);
        let shown = if request.count_only { 0 } else { limit.min(all.len()) };
        self.sent.fetch_add(shown, Ordering::Relaxed);
        let kvs = all[..shown].iter().map(|(key, size)| {
            let value = vec![b'x'; if request.keys_only { 0 } else { **size }];
            let kv = KeyValue {
                key: (*key).clone().into(),
                mod_revision: 5,
                version: 2,
                value: value.into(),
                ..KeyValue::default()
            };
            kv.to_raw()
        });
        Ok(RangeResponse {
            header: Some(ResponseHeader { revision: 9, ..ResponseHeader::default() }),
            kvs: kvs.collect(),
            more: !request.count_only && shown < all.len(),
            count: i64::try_from(all.len()).unwrap(),
        })
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn names(store: &Store, prefix: &str) -> Vec<String> {
    run(async {
        let mut children = Children::new(store, prefix.as_bytes(), 0);
        let mut names = Vec::new();
        while let Some(child) = children.next().await.unwrap() {
            let name = match child {
                Child::Prefix(name) | Child::Key { name, .. } => name,
            };
            names.push(String::from_utf8(name).unwrap());
        }
        names
    })
}

const SMALL: [(&str, usize); 7] =
    [("/a", 1), ("/a-b", 2), ("/a/x", 3), ("/a/y/z", 4), ("/ab", 5), ("/b//c", 6), ("top", 7)];

#[test]
fn children_of_levels() {
    let store = Store::new(SMALL);
    assert_eq!(names(&store, ""), ["/", "top"]);
    assert_eq!(names(&store, "/"), ["a", "a-b", "a/", "ab", "b/"]);
    assert_eq!(names(&store, "/a/"), ["x", "y/"]);
    assert_eq!(names(&store, "/b/"), ["/"]);
    assert_eq!(names(&store, "/b//"), ["c"]);
    assert!(names(&store, "/none/").is_empty());
    assert_eq!(run(top(&store, 0)).unwrap(), b"");
    assert_eq!(run(top(&Store::new([("/a", 1)]), 0)).unwrap(), b"/");
    assert_eq!(run(top(&Store::new([("", 0); 0]), 0)).unwrap(), b"");
    assert_eq!(prefix_of(b"/a"), b"/a/");
    assert_eq!(prefix_of(b""), b"");
}

#[test]
fn keys_far_below_cost_nothing() {
    let mut keys: Vec<(Vec<u8>, usize)> = Vec::new();
    for prefix in 0..20 {
        keys.extend((0..5000).map(|at| (format!("/r/{prefix:02}/{at}").into_bytes(), 1)));
    }
    keys.extend((0..300).map(|at| (format!("/r/key{at:03}").into_bytes(), 1)));
    keys.push((b"/r/\xff/a".to_vec(), 1));
    let store = Store::new(keys);
    let mut children = Children::new(&store, b"/r/", 0);
    let count = run(async {
        let mut count = 0;
        while children.next().await.unwrap().is_some() {
            count += 1;
        }
        count
    });
    assert_eq!(count, 20 + 300 + 1);
    assert!(store.reads.load(Ordering::Relaxed) < 32);
    assert!(store.sent.load(Ordering::Relaxed) < 1500);
}

#[track_caller]
fn check(path: &str, long: bool, json: bool, expected: &str) {
    let store = Store::new(SMALL);
    let mut out = Vec::new();
    let look = Look { json, screen: Screen::PIPE };
    run(ls(&store, look, path.as_bytes(), long, &mut out)).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn lists() {
    check("/a", false, false, "/a\nx\ny/\n");
    check("/a/", false, false, "x\ny/\n");
    check("/ab", false, false, "/ab\n");
    check(
        "/a/",
        true,
        false,
        "  REVISION  VERSION            LEASE         SIZE  NAME\n         5        2                \
         -          3 B  x\n         -        -                -        1 key  y/\n",
    );
    check(
        "/a/",
        true,
        true,
        "{\"name\":\"x\",\"create_revision\":0,\"mod_revision\":5,\"version\":2,\
         \"lease\":\"0000000000000000\",\"size\":3}\n{\"prefix\":\"y/\",\"keys\":1}\n",
    );
    let store = Store::new(SMALL);
    let look = Look { json: false, screen: Screen::PIPE };
    let failure = run(ls(&store, look, b"/none", false, &mut Vec::new())).unwrap_err();
    assert_eq!(failure.message.as_deref(), Some("no keys at /none"));
}

#[test]
fn trees() {
    let store = Store::new(SMALL);
    let shown = |path: &str, depth| {
        let mut out = Vec::new();
        run(tree(&store, path.as_bytes(), depth, Screen::PIPE, &mut out)).unwrap();
        String::from_utf8(out).unwrap()
    };
    let expected = "\
/
├── a
├── a-b
├── a/
│   ├── x
│   └── y/
│       └── z
├── ab
└── b/
    └── /
        └── c

4 prefixes, 6 keys shown
";
    assert_eq!(shown("/", 64), expected);
    assert_eq!(shown("", 1), "├── / (6 keys)\n└── top\n\n1 prefix, 1 key shown\n");
}

#[test]
fn trees_of_many_prefixes_take_few_reads() {
    let keys = (0..20_000).map(|at| (format!("/p/{:03}/{at:05}/x", at / 100), 1));
    let store = Store::new(keys);
    let mut out = Vec::new();
    run(tree(&store, b"/p", 64, Screen::PIPE, &mut out)).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.ends_with("\n\n20200 prefixes, 20000 keys shown\n"));
    assert_eq!(out.lines().count(), 1 + 20_200 + 20_000 + 2);
    assert!(store.reads.load(Ordering::Relaxed) < 100);
    // Counts of prefixes that are not opened come from the same reads.
    let store = Store::new((0..3000).map(|at| (format!("/p/{:04}/{at}", at / 2), 1)));
    let mut out = Vec::new();
    run(tree(&store, b"/p", 1, Screen::PIPE, &mut out)).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.lines().filter(|line| line.ends_with("/ (2 keys)")).count(), 1500);
    assert!(store.reads.load(Ordering::Relaxed) < 30);
}

#[test]
fn usage_by_prefix() {
    let store = Store::new(SMALL);
    let usage = |name: &str, keys, bytes| Usage { name: name.into(), keys, bytes };
    let (parts, total) = run(measure(&store, b"/", 2)).unwrap();
    assert_eq!(
        parts,
        [
            usage("/a/", 2, 4 + 3 + 6 + 4),
            usage("/a/y/", 1, 6 + 4),
            usage("/b/", 1, 5 + 6),
            usage("/b//", 1, 5 + 6)
        ]
    );
    assert_eq!(total, usage("/", 6, 2 + 1 + 4 + 2 + 17 + 3 + 5 + 11));
    // The key of the same name is part of it.
    let (_, total) = run(measure(&store, b"/a", 0)).unwrap();
    assert_eq!(total, usage("/a/", 3, 17 + 3));
}

#[test]
fn usage_of_many_pages() {
    let store = Store::new((0..3000).map(|at| (format!("/p/{:02}/{at}", at / 100), 100)));
    let (parts, total) = run(measure(&store, b"/p", 1)).unwrap();
    assert_eq!((parts.len(), total.keys), (30, 3000));
    assert!(parts.iter().all(|part| part.keys == 100));
    assert!(store.reads.load(Ordering::Relaxed) < 20);
}
