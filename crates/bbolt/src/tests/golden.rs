//! Files that others wrote: snapshots of real etcd 3.5 and 3.7, and a file of bbolt 1.5 with what etcd
//! does not use (a freelist, buckets within buckets). `testdata/README.md` says how they were made.

use super::*;

const ETCD_3_5: &[u8] = include_bytes!("../../testdata/etcd-3.5.snap");
const ETCD_3_7: &[u8] = include_bytes!("../../testdata/etcd-3.7.snap");
const FREELIST: &[u8] = include_bytes!("../../testdata/freelist.db");

/// The number of entries per bucket, as bbolt counts them.
const BUCKETS: [(&str, usize); 10] = [
    ("alarm", 0),
    ("auth", 1),
    ("authRoles", 1),
    ("authUsers", 1),
    ("cluster", 1),
    ("key", 67),
    ("lease", 1),
    ("members", 1),
    ("members_removed", 0),
    ("meta", 5),
];

#[test]
fn snapshots_of_etcd_are_read() {
    for (file, meta) in [(ETCD_3_5, 5), (ETCD_3_7, 6)] {
        let db = Db::open(file).unwrap();
        assert_eq!(faults(&db), Vec::<String>::new());
        // Behind the pages is the snapshot's hash.
        assert_eq!(db.size(), file.len() as u64 - 32);
        let content = read(&db).unwrap();
        let counts: Vec<_> = content.iter().map(|(k, v)| (k.clone(), v.len())).collect();
        let expected = BUCKETS.map(|(name, count)| {
            (name.as_bytes().to_vec(), if name == "meta" { meta } else { count })
        });
        assert_eq!(counts, expected);
        let users = db.bucket(b"authUsers").unwrap().unwrap();
        assert!(users.get(b"u").unwrap().is_some());
        assert_eq!(users.get(b"v").unwrap(), None);
        // What the writer makes of it reads the same.
        let rewritten = Db::open(write(&content)).unwrap();
        assert_eq!(read(&rewritten).unwrap(), content);
    }
}

#[test]
fn a_freelist_and_nested_buckets_are_read() {
    let db = Db::open(FREELIST).unwrap();
    assert_eq!(faults(&db), Vec::<String>::new());
    assert_ne!(db.meta().freelist, NO_FREELIST);
    let outer = db.bucket(b"outer").unwrap().unwrap();
    assert_eq!(outer.sequence(), 7);
    assert_eq!(outer.get(b"plain").unwrap(), Some(b"x".to_vec()));
    // A bucket is not a value, nor the other way round.
    assert_eq!(outer.get(b"inner").unwrap(), None);
    assert!(outer.bucket(b"plain").unwrap().is_none());
    let inner = outer.bucket(b"inner").unwrap().unwrap();
    assert_eq!(inner.get(b"k").unwrap(), Some(b"v".to_vec()));
    let tree = outer.bucket(b"tree").unwrap().unwrap();
    assert_eq!(tree.get(b"199").unwrap(), Some(vec![0; 100]));
    let large = db.bucket(b"large").unwrap().unwrap();
    assert_eq!(large.get(b"big").unwrap(), Some(vec![0; 20_000]));
    let mut wide = db.bucket(b"wide").unwrap().unwrap().cursor();
    let mut count = 0;
    while let Some(entry) = wide.next().unwrap() {
        let number = if count < 200 { count } else { count + 500 };
        assert_eq!(entry.key, format!("key{number:05}").as_bytes());
        assert_eq!(entry.value, format!("value{number}").as_bytes());
        count += 1;
    }
    assert_eq!(count, 400);
}
