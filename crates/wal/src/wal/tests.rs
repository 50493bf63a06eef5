//! Tests of the log, and what they share.

mod crash;
mod faults;
mod golden;
mod log;
mod torn;

use api::raftpb::ConfState;
use vfs::mem::MemFs;

use super::*;
use crate::record::Kind;

const DIR: &str = "/data/member/wal";

const METADATA: Metadata = Metadata { node_id: 7, cluster_id: 9 };

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, sync: true, zero_fill: true }
}

fn entry(index: u64, term: u64, size: usize) -> Entry {
    Entry { term, index, r#type: 0, data: vec![index as u8 | 0x80; size].into() }
}

fn state(term: u64, commit: u64) -> HardState {
    HardState { term, vote: 7, commit }
}

fn snapshot(index: u64, term: u64) -> walpb::Snapshot {
    let conf_state = ConfState { voters: vec![7], ..ConfState::default() };
    walpb::Snapshot { index, term, conf_state: (index > 0).then_some(conf_state) }
}

/// A file system with the directory above the log, durably.
fn disk() -> MemFs {
    let fs = MemFs::new();
    fs.create_dir_all(Path::new("/data/member")).unwrap();
    fs.sync_dir(Path::new("/data")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    fs
}

fn create(fs: &MemFs, segment_bytes: u64) -> Wal {
    Wal::create(Arc::new(fs.clone()), dir(), &METADATA, options(segment_bytes)).unwrap()
}

fn open(fs: &MemFs, at: &walpb::Snapshot) -> Result<(Wal, Recovered), Error> {
    Wal::open(Arc::new(fs.clone()), dir(), at, options(4096))
}

fn names(fs: &MemFs) -> Vec<String> {
    fs.list(dir()).unwrap()
}
