//! The last record lost from any byte on.

use super::*;

/// What etcd's rule says of a record that begins at `start` and ends at `end`, in a file of which
/// `bytes` are left. Written apart from the reader, byte by byte.
#[derive(Debug, PartialEq)]
enum Verdict {
    Absent,
    Whole,
    Torn,
    Damaged,
}

fn verdict(bytes: &[u8], before: &[u8], start: usize) -> Verdict {
    if bytes == before {
        return Verdict::Whole;
    }
    if bytes.len() == start {
        return Verdict::Absent;
    }
    let Some(word) = bytes.get(start..start + 8) else { return Verdict::Torn };
    if word.iter().all(|byte| *byte == 0) {
        return Verdict::Absent;
    }
    let size = (0..7).fold(0, |sum, place| sum | (word[place] as usize) << (8 * place));
    let padding = if word[7] >= 0x80 { (word[7] & 7) as usize } else { 0 };
    let body = start + 8;
    if body + size + padding > bytes.len() {
        return Verdict::Torn;
    }
    let sectors: std::collections::BTreeSet<usize> =
        (body..body + size + padding).map(|at| at / 512).collect();
    let lost = |sector: &usize| {
        (body..body + size + padding).filter(|at| at / 512 == *sector).all(|at| bytes[at] == 0)
    };
    if sectors.iter().any(lost) { Verdict::Torn } else { Verdict::Damaged }
}

/// A log whose last record holds entry 2; its only segment without zeros behind, and where the last
/// record begins.
fn log(first: usize, size: usize) -> (MemFs, PathBuf, Vec<u8>, usize) {
    let fs = disk();
    let mut wal = create(&fs, 16384);
    wal.save(None, &[entry(1, 1, first)]).unwrap();
    let start = wal.offset as usize;
    wal.save(None, &[entry(2, 1, size)]).unwrap();
    let end = wal.offset as usize;
    drop(wal);
    let path = dir().join(&names(&fs)[0]);
    let mut bytes = fs.read(&path).unwrap();
    bytes.truncate(end);
    (fs, path, bytes, start)
}

/// Opens a log with this content, compares with the verdict, and writes on.
#[track_caller]
fn check(fs: &MemFs, path: &Path, bytes: &[u8], wanted: &Verdict, start: usize) {
    let fs = fs.crash_clone(0);
    fs.open(path, OpenMode::Truncate).unwrap().write_at(bytes, 0).unwrap();
    let entries = if *wanted == Verdict::Whole { 2 } else { 1 };
    if *wanted != Verdict::Damaged {
        let read = Wal::read_only(&fs, dir(), &snapshot(0, 0)).unwrap();
        assert_eq!(read.entries.len(), entries);
    }
    match open(&fs, &snapshot(0, 0)) {
        Ok((mut wal, recovered)) => {
            assert_ne!(*wanted, Verdict::Damaged);
            assert_eq!(recovered.entries.len(), entries);
            assert_eq!(recovered.repaired.is_some(), *wanted == Verdict::Torn);
            if let Some(repaired) = recovered.repaired {
                assert_eq!((repaired.length, &*repaired.file), (start as u64, path));
                assert_eq!(fs.read(&repaired.broken).unwrap(), bytes);
            }
            wal.save(None, &[entry(entries as u64 + 1, 2, 100)]).unwrap();
            drop(wal);
            let (_, again) = open(&fs, &snapshot(0, 0)).unwrap();
            assert_eq!(again.entries.len(), entries + 1);
            assert_eq!(again.repaired, None);
        }
        Err(error) => {
            assert_eq!(*wanted, Verdict::Damaged, "{error}");
            let damage = matches!(error, Error::CrcMismatch { .. } | Error::InvalidRecord { .. });
            assert!(damage, "{error}");
            assert_eq!(fs.list(dir()).unwrap().len(), 1, "damage is left as it is");
        }
    }
}

/// Sizes that put the last record in one sector, across two, and across many.
const SHAPES: [(usize, usize); 4] = [(10, 30), (350, 40), (300, 300), (100, 1700)];

#[test]
fn cut_short_at_any_byte() {
    for (first, size) in SHAPES {
        let (fs, path, whole, start) = log(first, size);
        for length in start..=whole.len() {
            let bytes = &whole[..length];
            let wanted = verdict(bytes, &whole, start);
            let clear = if length == start { Verdict::Absent } else { Verdict::Torn };
            assert_eq!(wanted, if length == whole.len() { Verdict::Whole } else { clear });
            check(&fs, &path, bytes, &wanted, start);
        }
    }
}

#[test]
fn zeros_from_any_byte_on() {
    let mut seen = [0; 4];
    for (first, size) in SHAPES {
        let (fs, path, whole, start) = log(first, size);
        for from in start..=whole.len() {
            let mut bytes = whole.clone();
            bytes[from..].fill(0);
            let wanted = verdict(&bytes, &whole, start);
            if from % 512 == 0 {
                assert!(matches!(wanted, Verdict::Absent | Verdict::Torn), "a lost sector");
            }
            bytes.resize(4096, 0);
            check(&fs, &path, &bytes, &wanted, start);
            seen[wanted as usize] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count >= SHAPES.len()), "{seen:?}");
}

#[test]
fn one_lost_sector_is_torn_and_one_lost_bit_is_damage() {
    let (fs, path, whole, start) = log(100, 1700);
    for sector in start / 512 + 1..whole.len() / 512 {
        let mut bytes = whole.clone();
        bytes[sector * 512..(sector + 1) * 512].fill(0);
        check(&fs, &path, &bytes, &Verdict::Torn, start);
        let mut bytes = whole.clone();
        bytes[sector * 512 + 100] ^= 4;
        check(&fs, &path, &bytes, &Verdict::Damaged, start);
    }
}

/// A record that is not the last is never torn, whatever its sectors say.
#[test]
fn lost_sectors_of_a_full_segment_are_damage() {
    let fs = disk();
    let mut wal = create(&fs, 4096);
    for index in 1..=12 {
        wal.save(None, &[entry(index, 1, 1500)]).unwrap();
    }
    drop(wal);
    let path = dir().join(&names(&fs)[0]);
    let length = fs.len(&path).unwrap();
    fs.open(&path, OpenMode::Write).unwrap().zero(1024, 1536).unwrap();
    let error = open(&fs, &snapshot(0, 0)).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("walpb: crc mismatch: expected: "), "{error}");
    fs.open(&path, OpenMode::Write).unwrap().truncate(length - 3).unwrap();
    fs.open(&path, OpenMode::Write).unwrap().write_at(&[0x81; 512], 1024).unwrap();
    let error = open(&fs, &snapshot(0, 0)).map(drop).unwrap_err();
    assert!(matches!(error, Error::UnexpectedEof { .. }), "{error}");
    assert!(names(&fs).iter().all(|name| !name.ends_with(".broken")));
}

/// Sectors of an unfinished save can lie behind a hole; they must not be read after the hole fills.
#[test]
fn sectors_behind_a_hole_are_cleared() {
    let (fs, path, whole, start) = log(100, 3000);
    let mut bytes = whole.clone();
    bytes[start..1024].fill(0);
    fs.open(&path, OpenMode::Truncate).unwrap().write_at(&bytes, 0).unwrap();
    let (mut wal, recovered) = open(&fs, &snapshot(0, 0)).unwrap();
    assert_eq!((recovered.entries.len(), recovered.repaired), (1, None));
    // Not written again, and durably so.
    for seed in 0..20 {
        let bytes = fs.crash_clone(seed).read(&path).unwrap();
        assert!(bytes[start..].iter().all(|byte| *byte == 0));
    }
    for index in 2..20 {
        wal.save(None, &[entry(index, 2, 7)]).unwrap();
    }
    drop(wal);
    assert_eq!(open(&fs, &snapshot(0, 0)).unwrap().1.entries.len(), 19);
}

#[test]
fn a_damaged_log_still_says_whose_it_is() {
    let fs = disk();
    let mut wal = create(&fs, 16384);
    for index in 1..60 {
        wal.save(None, &[entry(index, 1, 1000)]).unwrap();
    }
    drop(wal);
    let paths: Vec<_> = names(&fs).iter().map(|name| dir().join(name)).collect();
    assert!(paths.len() > 2);
    let flip = |path: &Path, at: u64| {
        let file = fs.open(path, OpenMode::Write).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 4], at).unwrap();
    };
    // In an entry, then in what the first segment and the next begin with.
    for (path, at) in [(&paths[0], 5000), (&paths[0], 36), (&paths[1], 36)] {
        flip(path, at);
        assert!(Wal::valid_snapshots(&fs, dir()).is_err());
        assert_eq!(Wal::owner(&fs, dir()).unwrap(), METADATA);
    }
    for path in &paths[2..] {
        flip(path, 36);
    }
    assert!(Wal::owner(&fs, dir()).is_err());
}

/// Where the records of a segment begin, after its length words.
fn words(bytes: &[u8]) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(word) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(word.try_into().unwrap());
        if word == 0 {
            break;
        }
        found.push((at, word));
        let (size, padding) = crate::record::parse_length_word(word);
        at += 8 + (size + padding) as usize;
    }
    found
}

/// No checksum covers a length word, and none of its bits may take records away: not one that
/// makes it zero, nor one that makes it point behind the log.
#[test]
fn any_bit_of_any_length_word_is_turned_back() {
    let fs = disk();
    let mut wal = create(&fs, 4096);
    for index in 1..=14 {
        // A state alone is a record of 16 bytes: one bit from zero.
        let state = state(1, index - 1);
        wal.save(Some(&state), &[entry(index, 1, 300 + index as usize)]).unwrap();
    }
    drop(wal);
    let (wanted, files) = (open(&fs, &snapshot(0, 0)).unwrap().1, names(&fs));
    assert_eq!((wanted.entries.len(), files.len()), (14, 2));
    let mut one_from_zero = 0;
    for name in &files {
        let path = dir().join(name);
        let whole = fs.read(&path).unwrap();
        for (at, word) in words(&whole) {
            one_from_zero += u64::from(word.is_power_of_two());
            for bit in 0..64 {
                let fs = fs.crash_clone(0);
                let turned = (word ^ 1 << bit).to_le_bytes();
                fs.open(&path, OpenMode::Write).unwrap().write_at(&turned, at as u64).unwrap();
                let read = Wal::read_only(&fs, dir(), &snapshot(0, 0)).unwrap();
                assert_eq!(read.entries, wanted.entries, "bit {bit} at {at} of {name}");
                let (_, opened) = open(&fs, &snapshot(0, 0)).unwrap();
                assert_eq!(opened.turned, [(PathBuf::from(name), at as u64)]);
                assert_eq!(opened.repaired, None);
                assert_eq!((opened.entries, opened.hard_state), (read.entries, wanted.hard_state));
                let durable = fs.crash_clone(1).read(&path).unwrap();
                assert!(durable == whole, "bit {bit} at {at} of {name} is as it was");
                assert_eq!(open(&fs, &snapshot(0, 0)).unwrap().1.turned, []);
            }
        }
    }
    assert!(one_from_zero > 5, "{one_from_zero}");
}

/// A save that a crash left without the sector of its first word is whole when everything behind
/// that word is there, whether or not the word was one bit from zero.
#[test]
fn a_record_without_its_length_word() {
    for size in 0..40 {
        let (fs, path, whole, start) = log(100, size);
        let word = u64::from_le_bytes(whole[start..start + 8].try_into().unwrap());
        let mut bytes = whole.clone();
        bytes[start..start + 8].fill(0);
        let wanted = if word.is_power_of_two() { Verdict::Whole } else { Verdict::Absent };
        check(&fs, &path, &bytes, &wanted, start);
    }
}
