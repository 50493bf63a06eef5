//! The index against a plain map of versions.

use std::{collections::BTreeMap, ops::ControlFlow};

use api::range::KeyRange;
use storage::schema::revision::Record;

use super::{chunk::COPIES, *};

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

/// Keys of several kinds: short, with a long common part, some that differ only in zeros at the end,
/// and some alike for longer than what stands beside a chunk.
fn key(number: usize) -> Vec<u8> {
    match number % 5 {
        0 | 1 => format!("{number:05}").into_bytes(),
        2 => format!("{:03}{}", number % 500, "\0".repeat(number % 10)).into_bytes(),
        3 => format!("/registry/{}{number:05}", "long/".repeat(12)).into_bytes(),
        _ => format!("/registry/{}", "long/".repeat(number / 40)).into_bytes(),
    }
}

/// Per key its changes: main revision, and whether it exists afterwards.
type Model = BTreeMap<Vec<u8>, Vec<(i64, bool)>>;

fn exists(history: &[(i64, bool)], main: i64) -> bool {
    history.iter().rev().find(|(at, _)| *at <= main).is_some_and(|(_, live)| *live)
}

fn expected(model: &Model, bounds: &Bounds, main: i64) -> Vec<Vec<u8>> {
    let within = model.iter().filter(|(key, history)| {
        bounds.start[..] <= key[..]
            && bounds.end.as_ref().is_none_or(|end| key[..] < end[..])
            && exists(history, main)
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
            index.piece_back(&bounds, max).walk_back(visit)
        } else {
            index.piece(&bounds, max).walk(visit)
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
        let count = index.count(&bounds, main, walk_max);
        total += count.finish(main);
        rest = count.rest;
    }
    total
}

fn check(index: &Index, model: &Model, random: &mut Random, oldest: i64, newest: i64) {
    for (chunk, info) in index.chunks.iter().zip(&index.info) {
        assert!(chunk.len() > 0 && chunk.len() <= CHUNK_KEYS_MAX);
        assert_eq!(*info, describe(chunk.entries(), info.changed));
    }
    let keys = index.chunks.iter().flat_map(|chunk| chunk.entries()).map(|entry| &entry.key);
    assert!(keys.clone().is_sorted_by(|a, b| a < b));
    assert_eq!(index.keys(), keys.count());
    for _ in 0..20 {
        let (start, end) = (key(random.below(5000)), key(random.below(5000)));
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
            let key = key(random.below(5000));
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

/// The index that is loaded from every version of another, as the revision bucket has them.
fn load(index: &Index) -> (Index, Vec<(i64, Bytes)>) {
    let mut versions: Vec<(Version, i64, &Entry)> = Vec::new();
    for entry in index.chunks.iter().flat_map(|chunk| chunk.entries()) {
        versions.extend(entry.older().iter().map(|version| (*version, 0, entry)));
        versions.push((entry.head, entry.lease, entry));
    }
    versions.sort_by_key(|(version, ..)| version.revision());
    let mut loader = Loader::default();
    for (version, lease, entry) in versions {
        let (key, create_revision) = (&entry.key[..], version.create);
        let record = Record { key, create_revision, version: version.version, lease };
        loader.add(version.revision(), version.deleted, &record);
    }
    loader.finish()
}

/// Key, newest version, lease, older versions.
type Contents = (Box<[u8]>, Version, i64, Vec<Version>);

/// Everything that is known of every key.
fn contents(index: &Index) -> Vec<Contents> {
    let entries = index.chunks.iter().flat_map(|chunk| chunk.entries());
    let parts =
        |entry: &Entry| (entry.key.clone(), entry.head, entry.lease, entry.older().to_vec());
    entries.map(parts).collect()
}

#[test]
fn a_loaded_index_is_the_same() {
    let mut random = Random(7);
    let mut index = Index::default();
    for main in 2..12_000 {
        let (key, revision) = (key(random.below(5000)), Revision { main, sub: 0 });
        match random.below(4) {
            0 => drop(index.delete(&key, revision)),
            _ => drop(index.put(&key, revision, random.below(2) as i64)),
        }
    }
    let (loaded, attached) = load(&index);
    assert_eq!(contents(&loaded), contents(&index));
    assert_eq!(loaded.keys(), index.keys());
    assert!(loaded.chunks.len() > 3);
    let expected: Vec<(i64, Bytes)> = contents(&index)
        .into_iter()
        .filter(|(_, head, lease, _)| *lease != 0 && !head.deleted)
        .map(|(key, _, lease, _)| (lease, Bytes::from(key)))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(attached, expected);
    for number in 0..5000 {
        let head = |index: &Index| index.get(&key(number)).map(|entry| entry.head);
        assert_eq!(head(&loaded), head(&index));
    }
}

#[test]
fn ascending_keys_leave_full_chunks() {
    let mut index = Index::default();
    for number in 0..2000_i64 {
        index.put(&number.to_be_bytes(), Revision { main: number + 2, sub: 0 }, 0);
    }
    let lens: Vec<usize> = index.chunks.iter().map(|chunk| chunk.len()).collect();
    let full = 2000 / CHUNK_KEYS_MAX;
    assert!(lens[..full].iter().all(|len| *len == CHUNK_KEYS_MAX), "{lens:?}");
    assert_eq!(lens[full..], [2000 % CHUNK_KEYS_MAX]);
}

/// A random change of index and model, at a revision of its own; now and then a compaction up to
/// `oldest`.
fn change(index: &mut Index, model: &mut Model, random: &mut Random, main: i64, oldest: i64) {
    let (key, revision) = (key(random.below(5000)), Revision { main, sub: 0 });
    match random.below(100) {
        0 => drop(index.compact(&key, oldest, |_| {})),
        1..40 => {
            if index.delete(&key, revision).is_some() {
                model.entry(key).or_default().push((main, false));
            }
        }
        _ => {
            index.put(&key, revision, 0);
            model.entry(key).or_default().push((main, true));
        }
    }
}

#[test]
fn pieces_are_as_the_index_was_when_they_were_cut() {
    let mut random = Random(2026);
    let (mut index, mut model) = (Index::default(), Model::new());
    let mut main = 1;
    for _ in 0..4000 {
        main += 1;
        change(&mut index, &mut model, &mut random, main, 0);
    }
    let mut copies = 0;
    for round in 0..60 {
        let at = main - random.below(50) as i64;
        let (back, max) = (round % 2 == 0, 1 + random.below(900));
        let start = key(random.below(5000)).into();
        let bounds = if round % 3 == 0 { Bounds::all() } else { Bounds { start, end: None } };
        let expected = expected(&model, &bounds, at);
        let (mut found, mut counted) = (Vec::new(), 0);
        let (mut rest, mut to_count) = (Some(bounds.clone()), Some(bounds));
        while rest.is_some() || to_count.is_some() {
            let piece = rest.take().map(|bounds| match back {
                true => index.piece_back(&bounds, max),
                false => index.piece(&bounds, max),
            });
            let count = to_count.take().map(|bounds| index.count(&bounds, at, max));
            let before = COPIES.get();
            for _ in 0..1 + random.below(200) {
                main += 1;
                change(&mut index, &mut model, &mut random, main, at);
            }
            copies += COPIES.get() - before;
            let visit = |entry: &Entry| {
                if entry.at(at).is_some() {
                    found.push(entry.key.to_vec());
                }
                ControlFlow::Continue(())
            };
            rest = piece.and_then(|p| if back { p.walk_back(visit) } else { p.walk(visit) });
            if let Some(count) = count {
                counted += count.finish(at);
                to_count = count.rest;
            }
        }
        if back {
            found.reverse();
        }
        assert!(found == expected, "at {at} of {main}, back {back}");
        assert_eq!(counted, expected.len());
    }
    assert!(copies > 100, "chunks that are read are changed: {copies}");
    check(&index, &model, &mut random, main, main);
}

#[test]
fn only_chunks_that_are_read_are_copied_and_once() {
    let mut index = Index::default();
    let mut main = 1;
    let mut put = |index: &mut Index, number: u64| {
        main += if main == 8_000 { 2_000 } else { 1 };
        index.put(&number.to_be_bytes(), Revision { main, sub: 0 }, 0);
    };
    (0..4000).for_each(|number| put(&mut index, 2 * number));
    let before = COPIES.get();
    let copied = || COPIES.get() - before;
    // Changes, inserts, splits, deletes, compactions and merges that nobody reads beside.
    drop(index.piece(&Bounds::all(), 1000));
    (1000..2000).for_each(|number| put(&mut index, number));
    for number in 0..1200_u64 {
        index.delete(&number.to_be_bytes(), Revision { main: 9_000, sub: 0 });
    }
    let chunks = index.chunks.len();
    let mut from = Some(Bytes::new());
    while let Some(key) = from {
        from = index.compact(&key, 9_001, |_| {});
    }
    assert!(index.chunks.len() < chunks);
    assert_eq!(copied(), 0);
    // Beside two readers of three chunks.
    let first = index.piece(&Bounds::all(), 300);
    let second = index.piece_back(&Bounds::all(), 1);
    let read = index.chunks.iter().filter(|chunk| Arc::strong_count(chunk) > 1).count();
    assert!(read == 3, "{read}");
    (3000..3500).for_each(|number| put(&mut index, number));
    assert_eq!(copied(), 0);
    // What changes nothing copies nothing.
    assert_eq!(index.delete(&7999_u64.to_be_bytes(), Revision { main: 20_000, sub: 0 }), None);
    assert_eq!(copied(), 0);
    (7990..8000).for_each(|number| put(&mut index, number));
    assert_eq!(copied(), 1);
    (1200..1210).for_each(|number| put(&mut index, number));
    assert_eq!(copied(), 2);
    drop((first, second));
    (1200..2000).for_each(|number| put(&mut index, number));
    assert_eq!(copied(), 2);
}
