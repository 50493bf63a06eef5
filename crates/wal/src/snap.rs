//! `.snap` files: a raft snapshot with its checksum, named by term and index.
//!
//! ```text
//! %016x-%016x.snap = term, index:   08 <crc> 12 <size> <data>
//! crc = CRC-32C of data, data = raftpb.Snapshot, with its zero fields as etcd 3.5 writes them
//! ```
//!
//! In etcd the payload is the membership as JSON of the v2 store; this module does not look at it.

use std::{io, path::Path};

use api::{
    ids::{RaftIndex, Term},
    raftpb::Snapshot,
    snappb,
};
use prost::{Message, encoding::encode_varint};
use vfs::{Fs, OpenMode};

use crate::record::{conf_state_bytes, field};

/// An error of snapshot files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file could be read, or none was asked for.
    #[error("snap: no available snapshot")]
    NoSnapshot,
    /// The file, or the snapshot in it, is empty.
    #[error("snap: empty snapshot")]
    EmptySnapshot,
    /// The file is not what was written.
    #[error("snap: crc mismatch")]
    CrcMismatch,
    /// The file cannot be decoded.
    #[error("snap: invalid snapshot: {0}")]
    Invalid(#[from] prost::DecodeError),
    /// The file system refused.
    #[error("snap: {0}")]
    Io(#[from] io::Error),
}

/// The name of the file of a snapshot.
pub fn name(term: Term, index: RaftIndex) -> String {
    format!("{:016x}-{:016x}.snap", term.0, index.0)
}

/// The content of the file of a snapshot.
pub fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let metadata = snapshot.metadata.clone().unwrap_or_default();
    let conf_state = conf_state_bytes(&metadata.conf_state.unwrap_or_default());
    let mut described = Vec::new();
    block(&mut described, 1, &conf_state);
    field(&mut described, 2, metadata.index);
    field(&mut described, 3, metadata.term);
    let mut data = Vec::with_capacity(snapshot.data.len() + described.len() + 16);
    if !snapshot.data.is_empty() {
        block(&mut data, 1, &snapshot.data);
    }
    block(&mut data, 2, &described);
    let mut out = Vec::with_capacity(data.len() + 16);
    field(&mut out, 1, u64::from(crc32c::crc32c(&data)));
    block(&mut out, 2, &data);
    out
}

/// Bytes with their length.
fn block(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag << 3 | 2);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// The snapshot of a file's content.
pub fn decode(content: &[u8]) -> Result<Snapshot, Error> {
    let framed = snappb::Snapshot::decode(content)?;
    if framed.data.is_empty() || framed.crc == 0 {
        return Err(Error::EmptySnapshot);
    }
    if crc32c::crc32c(&framed.data) != framed.crc {
        return Err(Error::CrcMismatch);
    }
    Ok(Snapshot::decode(framed.data)?)
}

/// Writes a snapshot to its file, durably. What a failure has left of it is removed.
pub fn save(fs: &dyn Fs, dir: &Path, snapshot: &Snapshot) -> Result<(), Error> {
    let metadata = snapshot.metadata.as_ref().ok_or(Error::EmptySnapshot)?;
    let path = dir.join(name(Term(metadata.term), RaftIndex(metadata.index)));
    let write = || {
        let file = fs.open(&path, OpenMode::Truncate)?;
        file.write_at(&encode(snapshot), 0)?;
        file.sync_all()?;
        fs.sync_dir(dir)
    };
    write().map_err(|error| {
        // The first error is the one to tell; a file left behind does not pass its checksum.
        let _ = fs.remove(&path);
        Error::Io(error)
    })
}

/// The names of the snapshot files of a directory, newest first.
pub fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>, Error> {
    let mut names = fs.list(dir)?;
    names.retain(|name| name.ends_with(".snap"));
    names.reverse();
    Ok(names)
}

/// The newest snapshot that can be read and is wanted, such as one of
/// [`crate::Wal::valid_snapshots`]. A file that cannot be read gets `.broken` behind its name.
pub fn newest(
    fs: &dyn Fs,
    dir: &Path,
    mut wanted: impl FnMut(&Snapshot) -> bool,
) -> Result<Snapshot, Error> {
    for name in list(fs, dir)? {
        let path = dir.join(&name);
        let read = fs.read(&path).map_err(Error::Io).and_then(|content| decode(&content));
        match read {
            Ok(snapshot) if wanted(&snapshot) => return Ok(snapshot),
            Ok(_) => {}
            Err(_) => fs.rename(&path, &dir.join(format!("{name}.broken")))?,
        }
    }
    Err(Error::NoSnapshot)
}

#[cfg(test)]
mod tests;
