//! Reader against writer.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::*;

mod damage;
mod golden;

/// What a file holds: buckets by name, each a map.
type Content = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn feed(writer: &mut Writer<'_>, content: &Content) {
    for (name, entries) in content {
        writer.begin(name).unwrap();
        for (key, value) in entries {
            writer.entry(key, value).unwrap();
        }
    }
}

/// Both passes.
fn write(content: &Content) -> Vec<u8> {
    let mut first = Writer::measure();
    feed(&mut first, content);
    let plan = first.finish().unwrap();
    let mut file = Vec::new();
    let mut sink = |piece: &[u8]| {
        file.extend_from_slice(piece);
        Ok(())
    };
    let mut second = Writer::stream(&plan, &mut sink).unwrap();
    feed(&mut second, content);
    assert_eq!(second.finish().unwrap(), plan);
    assert_eq!(file.len() as u64, plan.bytes());
    file
}

/// Everything in a file.
fn read<S: Source>(db: &Db<S>) -> Result<Content, Error> {
    let mut content = Content::new();
    let mut names = db.root().cursor();
    while let Some(name) = names.next()? {
        assert!(name.is_bucket);
        let bucket = db.bucket(name.key)?.expect("the bucket that was just seen");
        let mut cursor = bucket.cursor();
        let mut entries = BTreeMap::new();
        while let Some(entry) = cursor.next()? {
            entries.insert(entry.key.to_vec(), entry.value.to_vec());
        }
        content.insert(name.key.to_vec(), entries);
    }
    Ok(content)
}

fn faults<S: Source>(db: &Db<S>) -> Vec<String> {
    let mut faults = Vec::new();
    db.check(&mut |fault| faults.push(fault)).unwrap();
    faults
}

/// `count` entries with values of `bytes` each.
fn uniform(count: u64, bytes: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    (0..count).map(|number| (number.to_be_bytes().to_vec(), vec![number as u8; bytes])).collect()
}

#[test]
fn an_empty_file_has_a_root_and_nothing_in_it() {
    let file = write(&Content::new());
    assert_eq!(file.len(), 3 * PAGE_BYTES);
    let db = Db::open(file).unwrap();
    assert!(read(&db).unwrap().is_empty());
    assert!(faults(&db).is_empty());
    assert_eq!((db.meta().txid, db.meta().freelist), (2, NO_FREELIST));
    assert!(db.bucket(b"key").unwrap().is_none());
}

#[test]
fn small_buckets_are_inline_and_large_ones_are_trees() {
    let inline: BTreeMap<_, _> = [(vec![b'k'; 8], vec![b'v'; 1024 - 16 - 16 - 8])].into();
    let tree: BTreeMap<_, _> = [(vec![b'k'; 8], vec![b'v'; 1024 - 16 - 16 - 7])].into();
    for (entries, pages) in [(BTreeMap::new(), 3), (inline, 3), (tree, 4)] {
        let content = Content::from([(b"b".to_vec(), entries)]);
        let file = write(&content);
        assert_eq!(file.len(), pages * PAGE_BYTES);
        let db = Db::open(file).unwrap();
        assert_eq!(read(&db).unwrap(), content);
        assert!(faults(&db).is_empty());
    }
}

#[test]
fn deep_trees_and_values_of_all_sizes() {
    let content = Content::from([
        (b"a".to_vec(), uniform(40_000, 20)),
        (b"b".to_vec(), uniform(40, 2100)),
        (b"c".to_vec(), uniform(7, 1_500_000)),
        (b"d".to_vec(), BTreeMap::new()),
        (b"e".to_vec(), (1..200).map(|len| (vec![b'k'; len * 100], vec![0; len])).collect()),
    ]);
    let file = write(&content);
    let db = Db::open(file).unwrap();
    assert_eq!(read(&db).unwrap(), content);
    assert!(faults(&db).is_empty());
}

#[test]
fn little_room_is_wasted() {
    // Just over half a page, and just under three quarters: the worst.
    for bytes in [100, 500, 1400, 2100, 3000, 4050, 5000, 9000] {
        let content = Content::from([(b"b".to_vec(), uniform(2000, bytes))]);
        let needed = 2000 * (bytes + 24);
        let size = write(&content).len();
        assert!(size * 3 < needed * 4 + 40 * PAGE_BYTES, "{bytes}: {size} for {needed}");
    }
}

#[test]
fn seeks_find_the_first_entry_from_a_key_on() {
    let entries: BTreeMap<_, _> =
        (0..5000_u64).map(|n| ((2 * n + 1).to_be_bytes().to_vec(), vec![0; 30])).collect();
    let content = Content::from([(b"b".to_vec(), entries.clone())]);
    let db = Db::open(write(&content)).unwrap();
    let bucket = db.bucket(b"b").unwrap().unwrap();
    let mut cursor = bucket.cursor();
    for from in (0..10_002_u64).step_by(7).chain([9_999, 10_000]) {
        let from = from.to_be_bytes();
        cursor.seek(&from).unwrap();
        for expected in entries.range(from.to_vec()..).take(150) {
            let entry = cursor.next().unwrap().unwrap();
            assert_eq!((entry.key, entry.value), (&expected.0[..], &expected.1[..]));
        }
        let expected = entries.get(&from[..]).cloned();
        assert_eq!(bucket.get(&from).unwrap(), expected);
    }
    cursor.seek(b"\xff").unwrap();
    assert_eq!(cursor.next().unwrap(), None);
    assert_eq!(cursor.next().unwrap(), None);
}

#[test]
fn what_does_not_ascend_or_fit_is_not_written() {
    let mut writer = Writer::measure();
    writer.begin(b"b").unwrap();
    assert!(matches!(writer.entry(b"", b""), Err(Error::KeySize(0))));
    assert!(matches!(writer.entry(&[1; 32769], b""), Err(Error::KeySize(32769))));
    writer.entry(b"b", b"").unwrap();
    assert!(matches!(writer.entry(b"b", b""), Err(Error::Order)));
    assert!(matches!(writer.entry(b"a", b""), Err(Error::Order)));
    assert!(matches!(writer.begin(b"b"), Err(Error::Order)));
    assert!(matches!(writer.begin(b""), Err(Error::KeySize(0))));
    writer.begin(b"c").unwrap();
    writer.entry(b"a", b"").unwrap();
}

#[test]
fn other_content_in_the_second_pass_is_noticed() {
    let content = Content::from([(b"b".to_vec(), uniform(400, 20))]);
    let mut first = Writer::measure();
    feed(&mut first, &content);
    let plan = first.finish().unwrap();
    let mut ignore = |_: &[u8]| Ok(());
    let mut second = Writer::stream(&plan, &mut ignore).unwrap();
    feed(&mut second, &Content::from([(b"b".to_vec(), uniform(600, 20))]));
    assert!(matches!(second.finish(), Err(Error::Changed)));
}

#[test]
fn a_failing_sink_ends_the_pass() {
    let content = Content::from([(b"b".to_vec(), uniform(400, 20))]);
    let mut first = Writer::measure();
    feed(&mut first, &content);
    let plan = first.finish().unwrap();
    let mut pieces = 0;
    let mut sink = |_: &[u8]| {
        pieces += 1;
        if pieces > 2 { Err(std::io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    };
    let mut second = Writer::stream(&plan, &mut sink).unwrap();
    second.begin(b"b").unwrap();
    let failed = uniform(400, 20).iter().find_map(|(k, v)| second.entry(k, v).err()).unwrap();
    assert!(matches!(failed, Error::Io(error) if error.kind() == std::io::ErrorKind::BrokenPipe));
}

fn contents() -> impl Strategy<Value = Content> {
    let key = prop::collection::vec(any::<u8>(), 1..40);
    let value = prop_oneof![
        8 => (any::<u8>(), 0..200_usize),
        2 => (any::<u8>(), 0..5000_usize),
        1 => (any::<u8>(), 0..100_000_usize),
    ]
    .prop_map(|(byte, len)| vec![byte; len]);
    let entries = prop::collection::btree_map(key, value, 0..120);
    let name = prop::collection::vec(any::<u8>(), 1..10);
    prop::collection::btree_map(name, entries, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_written_is_read_back(content in contents()) {
        let db = Db::open(write(&content)).unwrap();
        prop_assert_eq!(read(&db).unwrap(), content);
        prop_assert_eq!(faults(&db), Vec::<String>::new());
    }
}
