//! Images are read back as they were written.

use bytes::Bytes;

use super::*;
use crate::{
    Op, hash_all,
    mem::MemBackend,
    schema::{key::RevisionKey, revision},
};
use api::{ids::Revision, kv::KeyValue};

/// A put of `key` at a revision, as mvcc stores it.
fn entry(main: i64, name: &str, value: usize) -> [Op; 2] {
    let kv = KeyValue {
        key: Bytes::copy_from_slice(name.as_bytes()),
        create_revision: main,
        mod_revision: main,
        version: 1,
        value: vec![7; value].into(),
        lease: 3,
    };
    let stored = RevisionKey::new(Revision { main, sub: 0 }, false).to_bytes();
    let record =
        revision::Record { key: name.as_bytes(), create_revision: main, version: 1, lease: 3 };
    [crate::schema::key::put(&stored, kv.to_raw().0), revision::put(&stored, &record)]
}

fn store(entries: i64) -> MemBackend {
    let backend = MemBackend::new();
    let mut ops: Vec<Op> = (2..entries + 2)
        .flat_map(|main| entry(main, &format!("key{main}"), (main * 37 % 3000) as usize))
        .collect();
    let put = |bucket, key: &'static str, value: &'static str| Op::Put {
        bucket,
        key: key.into(),
        value: value.into(),
    };
    ops.push(put(Bucket::Meta, "consistent_index", "\0\0\0\0\0\0\0\x09"));
    ops.push(put(Bucket::Members, "8e9e05c52164694d", "{}"));
    backend.commit(&ops).unwrap();
    backend
}

fn bytes_of(backend: &dyn Backend) -> Vec<u8> {
    let view = backend.read().unwrap();
    let image = Image::plan(&*view).unwrap();
    let mut file = Vec::new();
    let mut last = CHUNK_BYTES;
    image
        .write(&mut |chunk| {
            assert_eq!(last, CHUNK_BYTES, "only the last chunk is shorter");
            last = chunk.len();
            file.extend_from_slice(&chunk);
            Ok(())
        })
        .unwrap();
    assert_eq!(file.len() as u64, image.bytes());
    file
}

fn all(backend: &dyn Backend) -> Vec<(Bucket, Vec<u8>, Vec<u8>)> {
    let view = backend.read().unwrap();
    let mut found = Vec::new();
    for bucket in Bucket::ALL {
        view.scan(bucket, b"", &mut |key, value| {
            found.push((bucket, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    found
}

#[test]
fn an_image_restores_every_bucket() {
    for entries in [0, 3, 2000] {
        let written = store(entries);
        let db = bbolt::Db::open(bytes_of(&written)).unwrap();
        db.check(&mut |fault| panic!("{fault}")).unwrap();
        let read = MemBackend::new();
        read.commit(&entry(99, "old", 3)).unwrap();
        restore(&read, &db).unwrap();
        assert_eq!(all(&read), all(&written));
        let (a, b) = (written.read().unwrap(), read.read().unwrap());
        assert_eq!(hash_all(&*a).unwrap(), hash_all(&*b).unwrap());
    }
}

#[test]
fn a_gone_receiver_ends_the_image() {
    let backend = store(2000);
    let view = backend.read().unwrap();
    let image = Image::plan(&*view).unwrap();
    let mut chunks = 0;
    let result = image.write(&mut |_| {
        chunks += 1;
        Err(io::ErrorKind::BrokenPipe.into())
    });
    assert!(matches!(result, Err(Error::Image(bbolt::Error::Io(_)))));
    assert_eq!(chunks, 1);
}

/// A file whose `key` bucket has one entry.
fn with_key(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut first = Writer::measure();
    first.begin(b"key").unwrap();
    first.entry(key, value).unwrap();
    let plan = first.finish().unwrap();
    let mut file = Vec::new();
    let mut sink = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok(())
    };
    let mut second = Writer::stream(&plan, &mut sink).unwrap();
    second.begin(b"key").unwrap();
    second.entry(key, value).unwrap();
    second.finish().unwrap();
    file
}

#[test]
fn a_key_bucket_that_no_etcd_wrote_is_refused_and_nothing_changes() {
    let good = RevisionKey::new(Revision { main: 5, sub: 0 }, false).to_bytes();
    let cases: [(&[u8], &[u8]); 3] =
        [(b"not a revision", b""), (&good[..16], b""), (&good, b"\x0a\x05k")];
    for (key, value) in cases {
        let db = bbolt::Db::open(with_key(key, value)).unwrap();
        let backend = store(3);
        let before = all(&backend);
        let error = restore(&backend, &db).unwrap_err();
        assert!(matches!(error, Error::Corrupt { bucket: "key", .. }), "{error}");
        assert_eq!(all(&backend), before);
    }
    // What `--bump-revision` leaves.
    let db = bbolt::Db::open(with_key(&good, b"")).unwrap();
    let backend = MemBackend::new();
    restore(&backend, &db).unwrap();
    let view = backend.read().unwrap();
    let record = view.get(Bucket::Revision, &good).unwrap().unwrap();
    let empty = revision::Record { key: b"", create_revision: 0, version: 0, lease: 0 };
    assert_eq!(revision::decode(record), Some(empty));
}

#[test]
fn v2_keys_are_in_an_image_only_where_they_are_wanted() {
    let backend = store(3);
    let v2 = Op::Put { bucket: Bucket::V2, key: "s".into(), value: "state".into() };
    backend.commit(std::slice::from_ref(&v2)).unwrap();
    let view = backend.read().unwrap();
    let file = |image: Image<'_>| {
        let mut file = Vec::new();
        let mut sink = |chunk: Bytes| {
            file.extend_from_slice(&chunk);
            Ok(())
        };
        image.write(&mut sink).unwrap();
        assert_eq!(file.len() as u64, image.bytes());
        bbolt::Db::open(file).unwrap()
    };
    let (plain, whole) =
        (file(Image::plan(&*view).unwrap()), file(Image::plan_with_v2(&*view).unwrap()));
    assert!(import_v2(&plain).unwrap().is_none());
    let ops: Vec<Op> = import_v2(&whole).unwrap().unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(ops, [v2]);
    // Nobody else sees a difference.
    let all = |db| import(db).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(all(&whole), all(&plain));
}
