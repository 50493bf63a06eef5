//! What a loss of power may leave, and what it may not.

use rand::SeedableRng;

use super::*;

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

fn content(tree: &Tree, at: &str) -> Option<Vec<u8>> {
    let ino = tree.lookup(ROOT, name(at)).ok()?;
    Some(tree.file(ino).unwrap().now.read(0, 1 << 20))
}

#[test]
fn what_was_synced_stays_and_the_rest_may_go() {
    let (mut all, mut none, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let mut tree = Tree::new();
        let file = tree.create(ROOT, name("a"), false, 0o600).unwrap();
        tree.write(file, 0, &[1; 3000], false).unwrap();
        tree.sync(file).unwrap();
        tree.sync_dir(ROOT).unwrap();
        tree.write(file, 1000, &[2; 9000], false).unwrap();
        tree.write(file, 20_000, &[3; 10], true).unwrap();
        tree.lose_power(&mut SmallRng::seed_from_u64(seed));
        let bytes = content(&tree, "a").unwrap();
        assert_eq!(bytes.len(), 20_010);
        assert!(bytes[..1000].iter().all(|byte| *byte == 1));
        assert!(bytes[1000..3000].iter().all(|byte| [1, 2].contains(byte)));
        assert!(bytes[3000..10_000].iter().all(|byte| [0, 2].contains(byte)));
        assert!(bytes[20_000..].iter().all(|byte| *byte == 3));
        match bytes[1000..10_000].iter().filter(|byte| **byte == 2).count() {
            9000 => all += 1,
            0 => none += 1,
            _ => torn += 1,
        }
    }
    assert!(all > 20 && none > 20 && torn > 20, "{all} {none} {torn}");
}

#[test]
fn names_and_contents_are_synced_apart() {
    let (mut with, mut without) = (0, 0);
    for seed in 0..60 {
        let mut tree = Tree::new();
        let old = tree.create(ROOT, name("file"), false, 0o600).unwrap();
        tree.write(old, 0, b"old", false).unwrap();
        tree.sync(old).unwrap();
        tree.sync_dir(ROOT).unwrap();
        let new = tree.create(ROOT, name("file.tmp"), false, 0o600).unwrap();
        tree.write(new, 0, b"new", false).unwrap();
        tree.sync(new).unwrap();
        tree.rename((ROOT, name("file.tmp")), (ROOT, name("file")), true).unwrap();
        let lost = tree.lose_power(&mut SmallRng::seed_from_u64(seed));
        assert_eq!(lost.unsynced, 2);
        // The rename is one change: there is always one of the two.
        match &content(&tree, "file").unwrap()[..] {
            b"old" => without += 1,
            b"new" => with += 1,
            other => panic!("{other:?}"),
        }
        assert!(tree.lookup(ROOT, name("file")).unwrap() > new);
    }
    assert!(with > 5 && without > 5);
    // A name that was synced, of content that was not: a file without it.
    let mut tree = Tree::new();
    let file = tree.create(ROOT, name("a"), false, 0o600).unwrap();
    tree.sync_dir(ROOT).unwrap();
    tree.write(file, 0, b"x", false).unwrap();
    tree.failing = true;
    assert_eq!(tree.sync(file), Err(libc::EIO));
    tree.failing = false;
    tree.sync(file).unwrap();
    tree.lose_power(&mut SmallRng::seed_from_u64(1));
    assert_eq!(content(&tree, "a").unwrap(), b"");
}

#[test]
fn a_full_disk_takes_what_needs_no_room() {
    let mut tree = Tree::new();
    let file = tree.create(ROOT, name("a"), false, 0o600).unwrap();
    tree.write(file, 0, &[1; 100], false).unwrap();
    tree.full = true;
    assert_eq!(tree.write(file, 90, &[2; 20], false), Err(libc::ENOSPC));
    assert_eq!(tree.create(ROOT, name("b"), false, 0o600), Err(libc::ENOSPC));
    tree.write(file, 0, &[2; 20], false).unwrap();
    tree.resize(file, 50).unwrap();
    tree.remove(ROOT, name("a"), false).unwrap();
}
