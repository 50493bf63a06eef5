//! The index against a plain map of versions.

use std::{collections::BTreeMap, ops::ControlFlow};

use api::range::KeyRange;

use super::*;

/// A small generator, so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Per key its changes: main revision, and whether it exists afterwards.
type Model = BTreeMap<Vec<u8>, Vec<(i64, bool)>>;

fn exists(history: &[(i64, bool)], main: i64) -> bool {
    history.iter().rev().find(|(at, _)| *at <= main).is_some_and(|(_, live)| *live)
}

fn expected(model: &Model, bounds: &Bounds, main: i64) -> Vec<Vec<u8>> {
    let within = model.iter().filter(|(key, history)| {
        bounds.start[..] <= key[..] && bounds.is_before_end(key) && exists(history, main)
    });
    within.map(|(key, _)| key.clone()).collect()
}

fn walked(index: &Index, bounds: &Bounds, main: i64, max: usize, back: bool) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = Some(bounds.clone());
    while let Some(bounds) = rest {
        let visit = |entry: &Entry| {
            if entry.at(main).is_some() {
                found.push(entry.key.to_vec());
            }
            ControlFlow::Continue(())
        };
        rest = if back {
            index.walk_back(&bounds, max, visit)
        } else {
            index.walk(&bounds, max, visit)
        };
    }
    if back {
        found.reverse();
    }
    found
}

fn counted(index: &Index, bounds: &Bounds, main: i64, walk_max: usize) -> usize {
    let (mut total, mut rest) = (0, Some(bounds.clone()));
    while let Some(bounds) = rest {
        let count;
        (count, rest) = index.count(&bounds, main, walk_max);
        total += count;
    }
    total
}

fn check(index: &Index, model: &Model, random: &mut Random, oldest: i64, newest: i64) {
    for (chunk, info) in index.chunks.iter().zip(&index.info) {
        assert!(!chunk.is_empty() && chunk.len() <= CHUNK_KEYS_MAX);
        assert_eq!(*info, describe(chunk, info.changed));
    }
    let keys = index.chunks.iter().flatten().map(|entry| &entry.key);
    assert!(keys.clone().is_sorted_by(|a, b| a < b));
    assert_eq!(index.keys(), keys.count());
    for _ in 0..20 {
        let key = |random: &mut Random| format!("{:05}", random.below(5000)).into_bytes();
        let (start, end) = (key(random), key(random));
        let range = match random.below(4) {
            0 => KeyRange::From(start.into()),
            1 => KeyRange::Single(start.into()),
            _ => KeyRange::Span(start.into(), end.into()),
        };
        let bounds = Bounds::from(&range);
        let main = oldest + random.below((newest - oldest + 2) as usize) as i64;
        let expected = expected(model, &bounds, main);
        let max = 1 + random.below(700);
        assert_eq!(walked(index, &bounds, main, max, false), expected);
        assert_eq!(walked(index, &bounds, main, max, true), expected);
        assert_eq!(counted(index, &bounds, main, max), expected.len());
        assert_eq!(counted(index, &Bounds::all(), newest, max), {
            model.values().filter(|history| exists(history, newest)).count()
        });
    }
}

#[test]
fn agrees_with_a_plain_map() {
    let mut random = Random(42);
    let (mut index, mut model) = (Index::default(), Model::new());
    let (mut main, mut oldest) = (1, 1);
    for round in 0..30 {
        for _ in 0..400 {
            main += 1;
            let key = format!("{:05}", random.below(5000)).into_bytes();
            let revision = Revision { main, sub: 0 };
            let history = model.entry(key.clone()).or_default();
            let live = history.last().is_some_and(|(_, live)| *live);
            if random.below(3) == 0 {
                assert_eq!(index.delete(&key, revision).is_some(), live);
                if live {
                    history.push((main, false));
                }
            } else {
                assert_eq!(index.put(&key, revision, 0).0.is_some(), live);
                history.push((main, true));
            }
        }
        if round % 5 == 4 {
            oldest = main - random.below(1000) as i64;
            let mut from = Some(Bytes::new());
            while let Some(key) = from {
                from = index.compact(&key, oldest, |_| {});
            }
        }
        check(&index, &model, &mut random, oldest, main);
    }
}

#[test]
fn ascending_keys_leave_full_chunks() {
    let mut index = Index::default();
    for number in 0..2000_i64 {
        index.put(&number.to_be_bytes(), Revision { main: number + 2, sub: 0 }, 0);
    }
    let lens: Vec<usize> = index.chunks.iter().map(Vec::len).collect();
    assert_eq!(lens, [512, 512, 512, 464]);
}
