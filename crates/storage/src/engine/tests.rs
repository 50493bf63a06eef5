//! The engine beside its twin in memory, and what only the engine does.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::*;
use crate::{hash_all, mem::MemBackend};

fn options() -> LmdbOptions {
    LmdbOptions { map_size: 1 << 20, max_readers: 16 }
}

fn put(bucket: Bucket, key: &[u8], value: &[u8]) -> Op {
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    Op::Put { bucket, key, value }
}

fn entries(tx: &dyn ReadTx, bucket: Bucket, from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    tx.scan(bucket, from, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

#[test]
fn agrees_with_the_twin_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (lmdb, mem) = (LmdbBackend::open(dir.path(), options()).unwrap(), MemBackend::new());
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..40 {
        let mut ops = Vec::new();
        for _ in 0..random(20) {
            let bucket = Bucket::ALL[random(Bucket::ALL.len() as u64) as usize];
            let key = format!("{:03}", random(200)).into_bytes();
            if random(4) == 0 {
                ops.push(Op::Delete { bucket, key: key.into() });
            } else {
                ops.push(put(bucket, &key, &vec![b'v'; random(3000) as usize]));
            }
        }
        lmdb.commit(&ops).unwrap();
        mem.commit(&ops).unwrap();
    }
    let (a, b) = (lmdb.read().unwrap(), mem.read().unwrap());
    for bucket in Bucket::ALL {
        for from in ["", "050", "0505", "999"] {
            assert_eq!(
                entries(&*a, bucket, from.as_bytes()),
                entries(&*b, bucket, from.as_bytes())
            );
        }
        for number in 0..200 {
            let key = format!("{number:03}");
            assert_eq!(
                a.get(bucket, key.as_bytes()).unwrap(),
                b.get(bucket, key.as_bytes()).unwrap()
            );
        }
    }
    assert_eq!(hash_all(&*a).unwrap(), hash_all(&*b).unwrap());
}

#[test]
fn survives_reopening_and_is_exclusive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("oxetcd");
    let backend = LmdbBackend::open(&path, options()).unwrap();
    backend.commit(&[put(Bucket::Lease, b"a", b"1")]).unwrap();
    let second = LmdbBackend::open(&path, options());
    assert!(matches!(second, Err(Error::Locked(dir)) if dir == path));
    drop(backend);
    let backend = LmdbBackend::open(&path, options()).unwrap();
    assert_eq!(backend.read().unwrap().get(Bucket::Lease, b"a").unwrap(), Some(&b"1"[..]));
}

#[test]
fn a_view_does_not_see_later_commits() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    let before = backend.read().unwrap();
    backend.commit(&[put(Bucket::Lease, b"a", b"1")]).unwrap();
    assert_eq!(before.get(Bucket::Lease, b"a").unwrap(), None);
    assert_eq!(backend.read().unwrap().get(Bucket::Lease, b"a").unwrap(), Some(&b"1"[..]));
}

#[test]
fn the_map_grows_when_it_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    let value = vec![1; 1000];
    for round in 0..8_u64 {
        let ops: Vec<Op> = (0..500_u64)
            .map(|number| put(Bucket::Key, &(round * 1000 + number).to_be_bytes(), &value))
            .collect();
        backend.commit(&ops).unwrap();
    }
    assert_eq!(entries(&*backend.read().unwrap(), Bucket::Key, b"").len(), 4000);
    assert!(backend.env.info().map_size >= 4 << 20);
    drop(backend);
    LmdbBackend::open(dir.path(), options()).unwrap();
}

#[test]
fn space_of_deleted_entries_is_not_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    let key = |number: u64| number.to_be_bytes();
    let value = vec![1; 1000];
    let ops: Vec<Op> = (0..900).map(|number| put(Bucket::Key, &key(number), &value)).collect();
    backend.commit(&ops).unwrap();
    let full = backend.size().unwrap();
    assert!(full.in_use >= 900_000 && full.allocated >= full.in_use, "{full:?}");
    // Appended, four entries of a little under a page's quarter fill three pages of four at worst.
    assert!(full.in_use < 1_300_000, "pages are not full: {full:?}");

    let delete =
        |number| Op::Delete { bucket: Bucket::Key, key: Bytes::copy_from_slice(&key(number)) };
    backend.commit(&(0..890).map(delete).collect::<Vec<_>>()).unwrap();
    let less = backend.size().unwrap();
    assert!(less.in_use < 100_000, "{less:?}");
    assert!(less.allocated >= full.in_use);
}

#[test]
fn keys_that_do_not_fit_are_refused_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let lmdb = LmdbBackend::open(dir.path(), options()).unwrap();
    let backends: [&dyn Backend; 2] = [&lmdb, &MemBackend::new()];
    for backend in backends {
        for bytes in [0, KEY_BYTES_MAX + 1] {
            let ops =
                [put(Bucket::AuthUsers, b"u", b""), put(Bucket::AuthUsers, &vec![1; bytes], b"")];
            let result = backend.commit(&ops);
            assert!(matches!(result, Err(Error::KeySize { bytes: b, .. }) if b == bytes));
            assert!(entries(&*backend.read().unwrap(), Bucket::AuthUsers, b"").is_empty());
        }
        assert!(backend.commit(&[put(Bucket::AuthUsers, &[1; KEY_BYTES_MAX], b"")]).is_ok());
    }
}

#[test]
fn keys_longer_than_the_engine_takes_are_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let lmdb = LmdbBackend::open(dir.path(), options()).unwrap();
    let memory = MemBackend::new();
    let backends: [&dyn Backend; 2] = [&lmdb, &memory];
    let key = |bytes: usize, last: u8| [&vec![b'n'; bytes - 1][..], &[last]].concat();
    let keys = [
        key(511, b'n'),
        key(512, b'a'),
        key(512, b'n'),
        key(600, b'a'),
        key(600, b'z'),
        key(512, b'z'),
        b"ooo".to_vec(),
        key(3, b'a'),
    ];
    for backend in backends {
        let ops: Vec<Op> = keys.iter().map(|key| put(Bucket::AuthUsers, key, &key[..3])).collect();
        backend.commit(&ops).unwrap();
        // The same in another bucket is another row.
        backend.commit(&[put(Bucket::AuthRoles, &keys[1], b"role")]).unwrap();
        backend
            .commit(&[Op::Delete { bucket: Bucket::AuthUsers, key: keys[3].clone().into() }])
            .unwrap();
        let view = backend.read().unwrap();
        assert_eq!(view.get(Bucket::AuthUsers, &keys[4]).unwrap(), Some(&b"nnn"[..]));
        assert_eq!(view.get(Bucket::AuthUsers, &keys[3]).unwrap(), None);
        assert_eq!(view.get(Bucket::AuthRoles, &keys[1]).unwrap(), Some(&b"role"[..]));
    }
    let mut froms: Vec<Vec<u8>> = vec![Vec::new(), key(600, b'y'), key(700, b'n')];
    froms.extend(keys);
    for from in froms {
        let [ours, expected] =
            backends.map(|backend| entries(&*backend.read().unwrap(), Bucket::AuthUsers, &from));
        assert_eq!(ours, expected);
    }
    let hash = |backend: &dyn Backend| hash_all(&*backend.read().unwrap()).unwrap();
    assert_eq!(hash(&lmdb), hash(&memory));
    lmdb.replace(&mut numbered(1, 0)).unwrap();
    assert!(entries(&*lmdb.read().unwrap(), Bucket::AuthUsers, b"").is_empty());
}

fn numbered(count: u64, bytes: usize) -> impl Iterator<Item = Result<Op, Error>> {
    (0..count).map(move |number| Ok(put(Bucket::Key, &number.to_be_bytes(), &vec![9; bytes])))
}

#[test]
fn a_replacement_is_seen_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    // The map cannot grow while a view is open.
    let options = LmdbOptions { map_size: 256 << 20, max_readers: 16 };
    let lmdb = LmdbBackend::open(dir.path(), options).unwrap();
    let backends: [&dyn Backend; 2] = [&lmdb, &MemBackend::new()];
    for backend in backends {
        backend.commit(&[put(Bucket::Lease, b"old", b"1")]).unwrap();
        let before = backend.read().unwrap();
        // More than one transaction's worth.
        backend.replace(&mut numbered(20_000, 1000)).unwrap();
        assert_eq!(before.get(Bucket::Lease, b"old").unwrap(), Some(&b"1"[..]));
        drop(before);
        let after = backend.read().unwrap();
        assert_eq!(after.get(Bucket::Lease, b"old").unwrap(), None);
        assert_eq!(entries(&*after, Bucket::Key, b"").len(), 20_000);
        drop(after);

        let broken = Err(Error::Engine("broken".into()));
        let mut failing = numbered(20_000, 1000).chain([broken]);
        let error = backend.replace(&mut failing).unwrap_err();
        assert!(matches!(error, Error::Engine(_)));
        let mut bad_key = [Ok(put(Bucket::Key, b"", b""))].into_iter();
        let error = backend.replace(&mut bad_key).unwrap_err();
        assert!(matches!(error, Error::KeySize { bytes: 0, .. }));
        assert_eq!(entries(&*backend.read().unwrap(), Bucket::Key, b"").len(), 20_000);

        // The other way round, and commits go where reads look.
        backend.replace(&mut numbered(1, 0)).unwrap();
        backend.commit(&[put(Bucket::Lease, b"new", b"2")]).unwrap();
        let view = backend.read().unwrap();
        assert_eq!(entries(&*view, Bucket::Key, b"").len(), 1);
        assert_eq!(view.get(Bucket::Lease, b"new").unwrap(), Some(&b"2"[..]));
    }
    assert!(lmdb.size().unwrap().in_use < 100_000);
    drop(lmdb);
    let reopened = LmdbBackend::open(dir.path(), options).unwrap();
    let view = reopened.read().unwrap();
    assert_eq!(view.get(Bucket::Lease, b"new").unwrap(), Some(&b"2"[..]));
}

#[test]
fn a_replacement_makes_the_map_grow() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    backend.replace(&mut numbered(20_000, 1000)).unwrap();
    assert_eq!(entries(&*backend.read().unwrap(), Bucket::Key, b"").len(), 20_000);
}

#[test]
fn what_an_unfinished_replacement_left_is_gone_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    backend.commit(&[put(Bucket::Lease, b"a", b"1")]).unwrap();
    let spare = &backend.generations[1][Bucket::Key as usize];
    backend.write(|txn| spare.put(txn, b"half", b"way")).unwrap();
    drop(backend);
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    let txn = backend.env.read_txn().unwrap();
    assert!(backend.generations[1][Bucket::Key as usize].is_empty(&txn).unwrap());
    assert_eq!(backend.read().unwrap().get(Bucket::Lease, b"a").unwrap(), Some(&b"1"[..]));
}

const ETCD_3_5: &[u8] = include_bytes!("../../../bbolt/testdata/etcd-3.5.snap");

#[test]
fn the_store_of_an_etcd_is_adopted_once() {
    let dir = tempfile::tempdir().unwrap();
    let (snap, options) = (dir.path(), options());
    let mut quiet = |_, _| {};
    assert_eq!(adopt(snap, options, &mut quiet).unwrap(), None);

    // An etcd that runs, and a store that an interrupted start left.
    fs::write(snap.join(DB_NAME), ETCD_3_5).unwrap();
    fs::create_dir(snap.join("oxetcd.adopting")).unwrap();
    fs::write(snap.join("oxetcd.adopting/data.mdb"), b"half").unwrap();
    let etcd = DbFile::open(&snap.join(DB_NAME)).unwrap();
    assert!(etcd.try_lock(Share::Nobody).unwrap());
    assert!(matches!(adopt(snap, options, &mut quiet), Err(Error::Locked(_))));
    drop(etcd);

    let adopted = adopt(snap, options, &mut quiet).unwrap().unwrap();
    assert_eq!(adopted.bytes, ETCD_3_5.len() as u64);
    assert!(adopted.consistent.is_some_and(|(index, term)| index.0 > 60 && term.0 == 2));
    let mut names: Vec<_> = fs::read_dir(snap).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [ADOPTED_NAME, STORE_NAME]);
    assert_eq!(fs::read(snap.join(ADOPTED_NAME)).unwrap(), ETCD_3_5);
    let backend = LmdbBackend::open(&snap.join(STORE_NAME), options).unwrap();
    let view = backend.read().unwrap();
    assert_eq!(entries(&*view, Bucket::Key, b"").len(), 67);
    assert_eq!(entries(&*view, Bucket::Revision, b"").len(), 67);
    assert_eq!(entries(&*view, Bucket::AuthUsers, b"").len(), 1);

    // A store is never replaced by a file that comes later.
    fs::write(snap.join(DB_NAME), ETCD_3_5).unwrap();
    assert_eq!(adopt(snap, options, &mut quiet).unwrap(), None);
}

#[test]
fn the_db_of_a_later_release_is_not_adopted() {
    for (version, refused) in [("3.8.0", true), ("4.0.0", true), ("3.7.9", false)] {
        let dir = tempfile::tempdir().unwrap();
        let snap = dir.path();
        let written = {
            let made = tempfile::tempdir().unwrap();
            let backend = LmdbBackend::open(made.path(), options()).unwrap();
            let ops = vec![crate::schema::meta::put_storage_version(version)];
            backend.commit(&ops).unwrap();
            let view = backend.read().unwrap();
            let mut file = Vec::new();
            let image = crate::image::Image::plan(&*view).unwrap();
            image
                .write(&mut |chunk| {
                    file.extend_from_slice(&chunk);
                    Ok(())
                })
                .unwrap();
            file
        };
        fs::write(snap.join(DB_NAME), &written).unwrap();
        let adopted = adopt(snap, options(), &mut |_, _| {});
        if refused {
            let error = adopted.unwrap_err();
            assert_eq!(error.to_string(), format!("version {version:?} is not supported"));
            assert!(!snap.join(STORE_NAME).exists());
            assert_eq!(fs::read(snap.join(DB_NAME)).unwrap(), written);
        } else {
            assert!(adopted.unwrap().is_some());
        }
    }
}

#[test]
fn a_broken_db_is_not_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path();
    for broken in [&b""[..], &ETCD_3_5[..40_000], &[0; 10_000]] {
        fs::write(snap.join(DB_NAME), broken).unwrap();
        assert!(matches!(adopt(snap, options(), &mut |_, _| {}), Err(Error::Image(_))));
        assert!(!snap.join(STORE_NAME).exists());
        assert_eq!(fs::read(snap.join(DB_NAME)).unwrap(), broken);
    }
}

#[test]
fn what_is_forgotten_in_a_visit_is_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    backend.replace(&mut numbered(2000, 1000)).unwrap();
    let view = backend.read().unwrap();
    let first = view.get(Bucket::Key, &0_u64.to_be_bytes()).unwrap().unwrap();
    assert!(backend.map_start().is_some());
    let mut count = 0;
    view.scan(Bucket::Key, b"", &mut |_, value| {
        view.forget();
        assert_eq!(value, [9; 1000]);
        count += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((count, first), (2000, &[9; 1000][..]));
}

/// Bytes that the kernel says this process has locked.
fn locked_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn locked_memory_grows_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let lmdb = LmdbBackend::open(dir.path(), options()).unwrap();
    let file = dir.path().join("data.mdb");
    assert_eq!(locked_bytes(), 0, "nothing is locked unasked");
    lmdb.lock_memory().unwrap();
    let before = std::fs::metadata(&file).unwrap().len();
    assert_eq!(locked_bytes(), before);
    // Past the first mapping of 1 MiB, which moves.
    for number in 0..40_u64 {
        lmdb.commit(&[put(Bucket::Key, &number.to_be_bytes(), &[7; 60_000])]).unwrap();
        assert_eq!(locked_bytes(), std::fs::metadata(&file).unwrap().len());
    }
    assert!(locked_bytes() > 2 << 20);
    // A view that lets go of its pages lets go of none that are locked.
    lmdb.read().unwrap().forget();
    assert_eq!(entries(&*lmdb.read().unwrap(), Bucket::Key, b"").len(), 40);
    drop(lmdb);
    assert_eq!(locked_bytes(), 0);
}

#[test]
fn a_large_bucket_of_revisions_is_read_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    let key = |main: i64| {
        crate::schema::key::RevisionKey::new(api::ids::Revision { main, sub: 0 }, main % 7 == 0)
    };
    let ops = (2..25_000).map(|main| put(Bucket::Revision, &key(main), b"record"));
    backend.commit(&ops.collect::<Vec<_>>()).unwrap();
    let tx = backend.read().unwrap();
    let mut found = Vec::new();
    tx.scan_revisions(Bucket::Revision, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(found.len(), 24_998);
    assert!(found == entries(&*tx, Bucket::Revision, b""));
    let mut seen = 0;
    let visit = &mut |_: &[u8], _: &[u8]| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    tx.scan_revisions(Bucket::Revision, visit).unwrap();
    assert_eq!(seen, 3);
}

#[test]
fn a_commit_keeps_the_order_within_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let backend = LmdbBackend::open(dir.path(), options()).unwrap();
    let delete = |key: &'static [u8]| Op::Delete { bucket: Bucket::Meta, key: key.into() };
    let ops = [
        put(Bucket::Meta, b"a", b"1"),
        put(Bucket::Key, b"k", b"1"),
        delete(b"a"),
        put(Bucket::Key, b"k", b"2"),
        put(Bucket::Meta, b"b", b"1"),
        put(Bucket::Meta, b"b", b"2"),
    ];
    backend.commit(&ops).unwrap();
    let tx = backend.read().unwrap();
    assert_eq!(tx.get(Bucket::Meta, b"a").unwrap(), None);
    assert_eq!(tx.get(Bucket::Meta, b"b").unwrap(), Some(&b"2"[..]));
    assert_eq!(tx.get(Bucket::Key, b"k").unwrap(), Some(&b"2"[..]));
}
