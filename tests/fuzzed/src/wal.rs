//! The reader of logs and of `.snap` files: it ends without a panic. What can be opened for writing can be
//! written to and opened again.
//!
//! The first byte of the input says what the rest is: 0, a segment as it is; 1, records without frames
//! (kind, length, data), which get frames and checksums; 2, the content of a `.snap` file.

use std::{path::Path, sync::Arc};

use api::{
    raftpb::{Entry, HardState},
    walpb,
};
use vfs::{Fs, OpenMode, mem::MemFs};
use wal::{Options, Wal};

/// Runs an input.
pub fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    match how % 3 {
        0 => exercise(rest),
        1 => exercise(&framed(rest)),
        _ => {
            let _ = wal::snap::decode(rest);
        }
    }
}

fn exercise(segment: &[u8]) {
    let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
    let dir = Path::new("wal");
    fs.create_dir_all(dir).expect("a directory in memory");
    let path = dir.join("0000000000000000-0000000000000000.wal");
    let file = fs.open(&path, OpenMode::CreateNew).expect("a file in memory");
    file.write_at(segment, 0).expect("a file in memory takes bytes");
    drop(file);

    let snapshots = Wal::valid_snapshots(&*fs, dir).unwrap_or_default();
    let start = walpb::Snapshot::default();
    for at in snapshots.iter().take(8).chain([&start]) {
        let _ = Wal::read_only(&*fs, dir, at);
    }
    let options = Options { segment_bytes: 1 << 16, ..Options::default() };
    let at = snapshots.last().unwrap_or(&start);
    let Ok((mut log, before)) = Wal::open(fs.clone(), dir, at, options.clone()) else { return };
    let index = before.entries.last().map_or(at.index, |entry| entry.index);
    let Some(index) = index.checked_add(1) else { return };
    let term = before.hard_state.term.max(at.term);
    let entry = Entry { index, term, ..Entry::default() };
    let state = HardState { term, vote: 0, commit: before.hard_state.commit };
    if log.save(Some(&state), &[entry]).is_err() {
        return;
    }
    log.close().expect("a file in memory is synced");
    let (_, after) = Wal::open(fs, dir, at, options).expect("what was just written is opened");
    let terms_fall = after.entries.is_empty();
    assert!(terms_fall || after.entries.last().map(|entry| entry.index) == Some(index));
}

/// A segment of the records of the input: a byte of kind, two of length, the data.
fn framed(mut input: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    let mut crc = 0;
    while let [kind, low, high, rest @ ..] = input {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (data, rest) = rest.split_at(len);
        input = rest;
        let kind = kind % 7;
        let mut record = vec![0x08, kind];
        if kind != 4 {
            crc = crc32c::crc32c_append(crc, data);
        }
        record.push(0x10);
        varint(u64::from(crc), &mut record);
        if kind != 4 {
            record.push(0x1a);
            varint(data.len() as u64, &mut record);
            record.extend_from_slice(data);
        }
        let pad = (8 - record.len() % 8) % 8;
        let marked = if pad == 0 { 0 } else { (0x80 | pad as u64) << 56 };
        segment.extend_from_slice(&(record.len() as u64 | marked).to_le_bytes());
        segment.extend_from_slice(&record);
        segment.resize(segment.len() + pad, 0);
    }
    segment.resize(segment.len() + 1024, 0);
    segment
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
