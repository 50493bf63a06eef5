//! Tests of the file system in memory.

use std::path::Path;

use super::*;

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn write(fs: &MemFs, name: &str, data: &[u8]) -> Box<dyn File> {
    let file = fs.open(path(name), OpenMode::Create).unwrap();
    file.write_at(data, 0).unwrap();
    file
}

/// The outcomes of many crashes, without repetition.
fn outcomes<T: Ord>(fs: &MemFs, look: impl Fn(&MemFs) -> T) -> std::collections::BTreeSet<T> {
    (0..200).map(|seed| look(&fs.crash_clone(seed))).collect()
}

#[test]
fn open_modes() {
    let fs = MemFs::new();
    let kind = |result: io::Result<Box<dyn File>>| result.map(drop).unwrap_err().kind();
    assert_eq!(kind(fs.open(path("/a"), OpenMode::Write)), io::ErrorKind::NotFound);
    assert_eq!(kind(fs.open(path("/no/a"), OpenMode::Create)), io::ErrorKind::NotFound);
    write(&fs, "/a", b"abc");
    assert_eq!(kind(fs.open(path("/a"), OpenMode::CreateNew)), io::ErrorKind::AlreadyExists);
    assert_eq!(fs.open(path("/a"), OpenMode::Create).unwrap().len().unwrap(), 3);
    let read_only = fs.open(path("/a"), OpenMode::Read).unwrap();
    assert!(read_only.write_at(b"x", 0).is_err());
    assert_eq!(fs.open(path("/a"), OpenMode::Truncate).unwrap().len().unwrap(), 0);
}

#[test]
fn synced_bytes_survive_and_unsynced_sectors_go_each_its_way() {
    let fs = MemFs::new();
    let file = write(&fs, "/a", &[1; 1500]);
    file.sync_data().unwrap();
    fs.sync_dir(path("/")).unwrap();
    assert_eq!(outcomes(&fs, |fs| fs.read(path("/a")).unwrap()).len(), 1);

    file.write_at(&[2; 1000], 300).unwrap();
    let seen = outcomes(&fs, |fs| fs.read(path("/a")).unwrap());
    // Three sectors, each old or new; nothing in between.
    assert_eq!(seen.len(), 8);
    for data in seen {
        assert_eq!((&data[..300], &data[1300..]), (&[1; 300][..], &[1; 200][..]));
        for part in [&data[300..512], &data[512..1024], &data[1024..1300]] {
            assert!(part.iter().all(|byte| *byte == part[0]), "a sector is half written");
        }
    }
}

#[test]
fn unsynced_length_is_old_or_new() {
    let fs = MemFs::new();
    let file = write(&fs, "/a", &[1; 100]);
    file.sync_data().unwrap();
    fs.sync_dir(path("/")).unwrap();
    file.truncate(10).unwrap();
    let lengths = outcomes(&fs, |fs| fs.len(path("/a")).unwrap());
    assert_eq!(Vec::from_iter(lengths), [10, 100]);
    file.sync_data().unwrap();
    file.preallocate(5000).unwrap();
    file.preallocate(7).unwrap();
    assert_eq!(file.len().unwrap(), 5000);
    let lengths = outcomes(&fs, |fs| fs.len(path("/a")).unwrap());
    assert_eq!(Vec::from_iter(lengths), [10, 5000]);
}

#[test]
fn names_are_durable_with_their_directory() {
    let fs = MemFs::new();
    fs.create_dir_all(path("/d/e")).unwrap();
    write(&fs, "/d/e/a", b"x").sync_all().unwrap();
    let there = |fs: &MemFs| fs.exists(path("/d/e/a")).unwrap();
    assert_eq!(Vec::from_iter(outcomes(&fs, there)), [false, true]);
    // The name is durable in its directory, but not yet that directory in its own.
    fs.sync_dir(path("/d/e")).unwrap();
    assert_eq!(Vec::from_iter(outcomes(&fs, there)), [false, true]);
    fs.sync_dir(path("/d")).unwrap();
    fs.sync_dir(path("/")).unwrap();
    assert_eq!(Vec::from_iter(outcomes(&fs, there)), [true]);
    fs.remove(path("/d/e/a")).unwrap();
    assert_eq!(Vec::from_iter(outcomes(&fs, there)), [false, true]);
}

#[test]
fn a_rename_is_whole_or_not_at_all() {
    let fs = MemFs::new();
    write(&fs, "/old", b"old").sync_all().unwrap();
    write(&fs, "/new", b"new").sync_all().unwrap();
    fs.sync_dir(path("/")).unwrap();
    fs.rename(path("/new"), path("/old")).unwrap();
    let look = |fs: &MemFs| (fs.list(path("/")).unwrap(), fs.read(path("/old")).unwrap());
    let seen = Vec::from_iter(outcomes(&fs, look));
    let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let before = (names(&["new", "old"]), b"old".to_vec());
    assert_eq!(seen, [before, (names(&["old"]), b"new".to_vec())]);
}

#[test]
fn directories_move_with_their_files_and_replace_empty_ones() {
    let fs = MemFs::new();
    fs.create_dir_all(path("/w.tmp")).unwrap();
    let file = write(&fs, "/w.tmp/a", b"1");
    file.sync_data().unwrap();
    fs.sync_dir(path("/w.tmp")).unwrap();
    fs.create_dir_all(path("/w")).unwrap();
    write(&fs, "/w/junk", b"");
    let error = fs.rename(path("/w.tmp"), path("/w")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::DirectoryNotEmpty);
    fs.remove_dir_all(path("/w")).unwrap();
    fs.remove_dir_all(path("/w")).unwrap();
    fs.rename(path("/w.tmp"), path("/w")).unwrap();
    fs.sync_dir(path("/")).unwrap();
    file.write_at(b"2", 0).unwrap();
    assert_eq!(fs.read(path("/w/a")).unwrap(), b"2");
    let seen = outcomes(&fs, |fs| (fs.list(path("/")).unwrap(), fs.list(path("/w")).unwrap()));
    assert_eq!(Vec::from_iter(seen), [(vec!["w".to_owned()], vec!["a".to_owned()])]);
}

#[test]
fn locks_belong_to_handles() {
    let fs = MemFs::new();
    let first = write(&fs, "/a", b"");
    let second = fs.open(path("/a"), OpenMode::Write).unwrap();
    assert!(first.try_lock().unwrap());
    assert!(first.try_lock().unwrap());
    assert!(!second.try_lock().unwrap());
    let after = fs.crash_clone(0);
    fs.rename(path("/a"), path("/b")).unwrap();
    assert!(!fs.open(path("/b"), OpenMode::Write).unwrap().try_lock().unwrap());
    drop(first);
    assert!(second.try_lock().unwrap());
    if let Ok(file) = after.open(path("/a"), OpenMode::Write) {
        assert!(file.try_lock().unwrap());
    }
}

#[test]
fn same_seed_same_crash() {
    let fs = MemFs::new();
    for name in ["/a", "/b", "/c"] {
        write(&fs, name, &[7; 3000]);
    }
    let look = |fs: &MemFs| {
        let names = fs.list(path("/")).unwrap();
        let data: Vec<_> =
            names.iter().map(|name| fs.read(&path("/").join(name)).unwrap()).collect();
        (names, data)
    };
    for seed in 0..50 {
        assert_eq!(look(&fs.crash_clone(seed)), look(&fs.crash_clone(seed)));
    }
}
