//! Files that are cut, empty, of another kind, or have wrong bits.

use super::*;
use crate::page::{HEADER_BYTES, Header, LEAF};

/// Everything that can be asked of a file. It ends, without a panic.
fn exercise(file: &[u8]) {
    let Ok(db) = Db::open(file) else { return };
    let mut faults = 0_u64;
    let _ = db.check(&mut |_| faults += 1);
    // Buckets in the root that are none would fail the assertion in `read`.
    let mut names = db.root().cursor();
    while let Ok(Some(name)) = names.next() {
        let Ok(Some(bucket)) = db.bucket(name.key) else { continue };
        let mut cursor = bucket.cursor();
        while let Ok(Some(entry)) = cursor.next() {
            std::hint::black_box(entry);
        }
        let _ = cursor.seek(b"key");
        let _ = cursor.next();
    }
}

fn sample() -> Vec<u8> {
    write(&Content::from([
        (b"a".to_vec(), uniform(300, 40)),
        (b"b".to_vec(), uniform(3, 9000)),
        (b"c".to_vec(), uniform(2, 10)),
    ]))
}

/// The same file with another meta record, checksum right.
fn with_meta(file: &[u8], change: impl Fn(&mut Meta)) -> Vec<u8> {
    let mut file = file.to_vec();
    let mut meta = *Db::open(&file).unwrap().meta();
    change(&mut meta);
    for at in [0, PAGE_BYTES] {
        let at = at + HEADER_BYTES;
        file[at..at + META_BYTES].copy_from_slice(&meta.encode());
    }
    file
}

#[test]
fn what_is_no_database_is_named_as_bbolt_names_it() {
    let good = sample();
    let text = |file: &[u8]| Db::open(file).unwrap_err().to_string();
    assert_eq!(text(b""), "invalid database");
    assert_eq!(text(&good[..100]), "invalid database");
    assert_eq!(text(&good[..5000]), "file size too small 5000");
    assert_eq!(text(&[0; 3 * PAGE_BYTES]), "invalid database");
    let both = |at: usize| {
        let mut file = good.clone();
        for page in [0, PAGE_BYTES] {
            file[page + HEADER_BYTES + at] ^= 1;
        }
        file
    };
    assert_eq!(text(&both(0)), "invalid database");
    assert_eq!(text(&both(4)), "version mismatch");
    assert_eq!(text(&both(20)), "checksum error");
    let cut = &good[..good.len() - 1];
    let expected = format!(
        "file is truncated: it has {} bytes, its pages need {}",
        good.len() - 1,
        good.len()
    );
    assert_eq!(text(cut), expected);
}

#[test]
fn one_meta_page_is_enough_and_the_newer_counts() {
    let good = sample();
    for page in [0, PAGE_BYTES] {
        let mut file = good.clone();
        file[page + HEADER_BYTES + 30] ^= 1;
        let db = Db::open(&file).unwrap();
        assert_eq!(db.meta().txid, if page == 0 { 1 } else { 2 });
        assert_eq!(read(&db).unwrap(), read(&Db::open(&good).unwrap()).unwrap());
    }
}

#[test]
fn meta_records_that_lead_outside_are_refused() {
    let good = sample();
    let refused = |change: &dyn Fn(&mut Meta)| Db::open(with_meta(&good, change)).is_err();
    assert!(refused(&|meta| meta.root = 1));
    assert!(refused(&|meta| meta.root = meta.high_water));
    assert!(refused(&|meta| meta.root = u64::MAX));
    assert!(refused(&|meta| meta.freelist = 0));
    assert!(refused(&|meta| meta.freelist = meta.high_water));
    assert!(refused(&|meta| meta.high_water = u64::MAX));
    assert!(refused(&|meta| meta.high_water += 1));
    assert!(refused(&|meta| meta.page_size = 0));
    assert!(refused(&|meta| meta.page_size = 3000));
    assert!(refused(&|meta| meta.page_size = 1 << 31));
    assert!(!refused(&|meta| meta.txid = 9));
}

/// Pages 2 and on, each given as a branch (children with their keys).
fn branches(pages: &[&[(&[u8], u64)]]) -> Vec<u8> {
    let meta = Meta {
        page_size: PAGE_BYTES as u32,
        root: 2,
        sequence: 0,
        freelist: NO_FREELIST,
        high_water: 2 + pages.len() as u64,
        txid: 1,
    };
    let mut file = [meta.encode_page(0), meta.encode_page(1)].concat();
    for (id, children) in (2..).zip(pages) {
        let flags = if children.is_empty() { LEAF } else { crate::page::BRANCH };
        let header = Header { id, flags, count: children.len() as u16, overflow: 0 };
        let mut page = header.encode().to_vec();
        let mut keys = Vec::new();
        for (index, (key, child)) in children.iter().enumerate() {
            let pos = (children.len() - index) * 16 + keys.len();
            page.extend_from_slice(&(pos as u32).to_le_bytes());
            page.extend_from_slice(&(key.len() as u32).to_le_bytes());
            page.extend_from_slice(&child.to_le_bytes());
            keys.extend_from_slice(key);
        }
        page.extend_from_slice(&keys);
        page.resize(PAGE_BYTES, 0);
        file.extend_from_slice(&page);
    }
    file
}

#[test]
fn cycles_and_pages_with_two_parents_end_in_an_error() {
    let to_itself: &[&[(&[u8], u64)]] = &[&[(b"a", 2), (b"b", 2)]];
    let one_to_another: &[&[(&[u8], u64)]] = &[&[(b"a", 3)], &[(b"a", 2)]];
    // Each page twice in the page above: walking it would take 2^20 steps.
    let ladder: Vec<[(&[u8], u64); 2]> =
        (3..23).map(|below| [(&b"a"[..], below), (&b"b"[..], below)]).collect();
    let mut diamond: Vec<&[(&[u8], u64)]> = ladder.iter().map(|page| &page[..]).collect();
    diamond.push(&[]);
    for pages in [to_itself, one_to_another, &diamond] {
        let file = branches(pages);
        let db = Db::open(&file).unwrap();
        assert!(read(&db).is_err());
        assert!(db.root().get(b"b").is_err());
        assert!(!faults(&db).is_empty());
    }
}

#[test]
fn the_check_finds_what_iterating_does_not() {
    let good = sample();
    // A page whose keys are not those that its branch tells of: seeks would miss them.
    let db = Db::open(&good).unwrap();
    assert!(faults(&db).is_empty());
    let (mut found, pages) = (0, good.len() / PAGE_BYTES);
    for page in 2..pages {
        let at = page * PAGE_BYTES;
        if Header::decode(&good[at..]).flags != crate::page::BRANCH {
            continue;
        }
        let mut file = good.clone();
        let second = at + HEADER_BYTES + 16;
        let pos = u32::from_le_bytes(file[second..second + 4].try_into().unwrap()) as usize;
        file[second + pos + 7] += 1;
        let db = Db::open(&file).unwrap();
        assert!(read(&db).is_ok());
        assert!(!faults(&db).is_empty());
        found += 1;
    }
    assert_eq!(found, 2);
}

#[test]
fn every_damaged_byte_is_survived() {
    let good = sample();
    let mut seed = 1_u64;
    for _ in 0..1000 {
        let mut file = good.clone();
        for _ in 0..2 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            // Mostly in headers and elements: there is more to break.
            let page = (seed >> 33) as usize % (good.len() / PAGE_BYTES);
            let within = (seed >> 20) as usize % if seed & 1 == 0 { 64 } else { PAGE_BYTES };
            file[page * PAGE_BYTES + within] = (seed >> 12) as u8;
        }
        exercise(&file);
    }
    for len in (0..good.len()).step_by(97) {
        exercise(&good[..len]);
    }
}

#[test]
fn an_empty_page_below_a_branch_is_a_fault() {
    let file = branches(&[&[(b"a", 3)], &[]]);
    let db = Db::open(&file).unwrap();
    assert!(read(&db).is_err());
    assert_eq!(faults(&db), ["page 3: only the only page of a tree may be empty"]);
    // As the root of a tree it is a bucket without entries.
    let db = Db::open(branches(&[&[]])).unwrap();
    assert!(read(&db).unwrap().is_empty() && faults(&db).is_empty());
}
