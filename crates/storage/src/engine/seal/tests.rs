//! Rows with flipped bits, and stores without checksums.

use std::{fs, ops::ControlFlow, path::Path};

use api::ids::Revision;
use bytes::Bytes as Buf;

use super::*;
use crate::{Backend, Op, ReadTx, engine::LmdbOptions, hash_all, schema::key::RevisionKey, scrub};

fn open(dir: &Path) -> LmdbBackend {
    LmdbBackend::open(dir, LmdbOptions { map_size: 1 << 20, max_readers: 16 }).unwrap()
}

fn put(bucket: Bucket, key: &[u8], value: &[u8]) -> Op {
    Op::Put { bucket, key: Buf::copy_from_slice(key), value: Buf::copy_from_slice(value) }
}

fn revision(main: i64) -> RevisionKey {
    RevisionKey::new(Revision { main, sub: 0 }, false)
}

/// A row that is found in the file by its value.
fn value(number: i64) -> Vec<u8> {
    format!("<value number {number:04}>").into_bytes()
}

fn fill(backend: &LmdbBackend, revisions: std::ops::Range<i64>) {
    for number in revisions {
        let ops = [
            put(Bucket::Key, &revision(number), &value(number)),
            put(Bucket::Revision, &revision(number), b"r"),
        ];
        backend.commit(&ops).unwrap();
    }
}

/// Flips a bit of each copy of `bytes` in the file, `skip` bytes behind its beginning.
fn flip(dir: &Path, bytes: &[u8], skip: usize) {
    let path = dir.join("data.mdb");
    let mut file = fs::read(&path).unwrap();
    let places = file.windows(bytes.len()).enumerate();
    let found: Vec<usize> = places.filter(|(_, w)| *w == bytes).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "the row is in the file");
    for at in found {
        file[at + skip] ^= 4;
    }
    fs::write(&path, file).unwrap();
}

fn scan(tx: &dyn ReadTx, bucket: Bucket) -> (usize, Result<(), Error>) {
    let mut rows = 0;
    let scanned = tx.scan(bucket, b"", &mut |_, _| {
        rows += 1;
        ControlFlow::Continue(())
    });
    (rows, scanned)
}

#[test]
fn a_flipped_bit_is_found_by_every_read() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    fill(&backend, 1..30);
    backend.commit(&[put(Bucket::Lease, b"lease", b"<some lease>")]).unwrap();
    drop(backend);
    // In a value, in the checksum behind one, in a small bucket.
    flip(dir.path(), &value(7), 3);
    flip(dir.path(), &value(9), value(9).len() + 2);
    flip(dir.path(), b"<some lease>", 0);

    let backend = open(dir.path());
    let tx = backend.read().unwrap();
    for number in 1..30 {
        let got = tx.get(Bucket::Key, &revision(number));
        match number {
            7 | 9 => assert!(matches!(got, Err(Error::Damaged(_))), "{number}: {got:?}"),
            _ => assert_eq!(got.unwrap(), Some(&value(number)[..])),
        }
    }
    assert!(tx.get(Bucket::Lease, b"lease").unwrap_err().is_damage());
    let (rows, scanned) = scan(&*tx, Bucket::Key);
    assert_eq!((rows, scanned.unwrap_err().is_damage()), (6, true));
    assert!(hash_all(&*tx).unwrap_err().is_damage());
    drop(tx);

    let told: Vec<String> = backend.take_damage().iter().map(ToString::to_string).collect();
    let key = "bucket key, revision";
    let all = [format!("{key} 7.0"), format!("{key} 9.0"), r#"bucket lease, key "lease""#.into()];
    assert_eq!(told, all);
    assert!(backend.take_damage().is_empty());
}

#[test]
fn a_walk_finds_all_that_is_damaged_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    fill(&backend, 1..100);
    drop(backend);
    for number in [1, 50, 51, 99] {
        flip(dir.path(), &value(number), 1);
    }
    let backend = open(dir.path());
    let (mut at, mut rows, mut damaged, mut pieces) = (Some(scrub::Position::default()), 0, 0, 0);
    while let Some(from) = at {
        let from = scrub::Position::from_bytes(&from.to_bytes());
        let step = scrub::step(&backend, &from, 500).unwrap();
        (at, rows, damaged, pieces) =
            (step.next, rows + step.rows, damaged + step.damaged, pieces + 1);
    }
    assert_eq!((rows, damaged), (2 * 99 - 4, 4));
    assert!(pieces > 5, "{pieces}");
    assert_eq!(backend.take_damage().len(), 4);
}

#[test]
fn a_row_under_another_key_does_not_pass() {
    let seals = Seals::new();
    let mut row = Vec::new();
    seals.seal(Bucket::Key, b"key", b"value", &mut row);
    assert_eq!(seals.open(Bucket::Key, b"key", &row), Some(&b"value"[..]));
    for (bucket, key) in [(Bucket::Key, &b"kez"[..]), (Bucket::Lease, b"key"), (Bucket::Key, b"")] {
        assert_eq!(seals.open(bucket, key, &row), None);
    }
    for cut in 0..row.len() {
        assert_eq!(seals.open(Bucket::Key, b"key", &row[..cut]), None);
    }
}

/// A store as releases before format 2 wrote it.
fn plain_store(dir: &Path) {
    let backend = open(dir);
    let mut txn = backend.env.write_txn().unwrap();
    for number in 1..20 {
        let buckets = &backend.generations[0];
        buckets[Bucket::Key as usize].put(&mut txn, &revision(number), &value(number)).unwrap();
        buckets[Bucket::Revision as usize].put(&mut txn, &revision(number), b"r").unwrap();
    }
    backend.generations[0][Bucket::Lease as usize].put(&mut txn, b"a", b"lease a").unwrap();
    backend.state.delete(&mut txn, FORMAT_KEY).unwrap();
    txn.commit().unwrap();
}

#[test]
fn a_store_without_checksums_is_read_and_gets_them() {
    let dir = tempfile::tempdir().unwrap();
    plain_store(dir.path());
    for round in 0..3 {
        let backend = open(dir.path());
        let new = 20 + round;
        fill(&backend, new..new + 1);
        let tx = backend.read().unwrap();
        for number in 1..=new {
            assert_eq!(tx.get(Bucket::Key, &revision(number)).unwrap(), Some(&value(number)[..]));
        }
        assert_eq!(scan(&*tx, Bucket::Revision).0 as i64, new);
        assert_eq!(tx.get(Bucket::Lease, b"a").unwrap(), Some(&b"lease a"[..]));
    }
    // New rows and small buckets have checksums; an old row has none, and damage is not seen.
    flip(dir.path(), &value(21), 3);
    flip(dir.path(), b"lease a", 1);
    let backend = open(dir.path());
    let tx = backend.read().unwrap();
    assert!(tx.get(Bucket::Key, &revision(21)).unwrap_err().is_damage());
    assert!(tx.get(Bucket::Lease, b"a").unwrap_err().is_damage());
    drop(tx);

    // A replacement has checksums everywhere, also where the old store had none.
    let rows = (1..6).map(|number| Ok(put(Bucket::Key, &revision(number), &value(number))));
    backend.replace(&mut rows.into_iter()).unwrap();
    assert!(backend.take_damage().is_empty());
    drop(backend);
    flip(dir.path(), &value(3), 3);
    let backend = open(dir.path());
    let tx = backend.read().unwrap();
    assert!(tx.get(Bucket::Key, &revision(3)).unwrap_err().is_damage());
    assert_eq!(tx.get(Bucket::Key, &revision(4)).unwrap(), Some(&value(4)[..]));
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let backend = open(dir.path());
    let mut txn = backend.env.write_txn().unwrap();
    backend.state.put(&mut txn, FORMAT_KEY, &[FORMAT + 1]).unwrap();
    txn.commit().unwrap();
    drop(backend);
    let options = LmdbOptions { map_size: 1 << 20, max_readers: 16 };
    let error = LmdbBackend::open(dir.path(), options).err().unwrap().to_string();
    assert!(error.contains("format"), "{error}");
}
