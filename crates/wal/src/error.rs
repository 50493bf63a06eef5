//! What can go wrong with a log, in etcd's words where etcd has them.

use std::{io, path::Path};

/// An error of the write-ahead log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record is not what was written: damage, not a torn write.
    #[error(
        "walpb: crc mismatch: expected: {expected:x} computed: {computed:x}: \
         in file '{file}' at position: {position}"
    )]
    CrcMismatch {
        /// The checksum that the record carries.
        expected: u32,
        /// The checksum of what was read.
        computed: u32,
        /// The segment.
        file: String,
        /// Where the record begins.
        position: u64,
    },
    /// A segment does not continue the one before it.
    #[error("walpb: crc mismatch")]
    SegmentCrcMismatch,
    /// The log ends within a record. At the end of the last segment that is a torn write and is
    /// repaired when the log is opened.
    #[error("unexpected EOF: in file '{file}' at position: {position}")]
    UnexpectedEof {
        /// The segment.
        file: String,
        /// Where the record begins.
        position: u64,
    },
    /// A record has a right checksum or no checksum, and cannot be decoded.
    #[error("wal: invalid record in file '{file}' at position: {position}: {source}")]
    InvalidRecord {
        /// The segment.
        file: String,
        /// Where the record begins.
        position: u64,
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// A record is of a type that no etcd writes.
    #[error("unexpected block type {0}")]
    UnexpectedBlockType(i64),
    /// There is no segment.
    #[error("wal: file not found")]
    FileNotFound,
    /// All segments begin after the snapshot.
    #[error("wal: file not found which matches the snapshot index '{0}'")]
    NoFileForSnapshot(u64),
    /// A segment is missing.
    #[error("wal: file sequence numbers (starting from {0}) do not increase continuously")]
    SequenceGap(usize),
    /// Segments name different members or clusters.
    #[error("wal: conflicting metadata found")]
    MetadataConflict,
    /// No segment says whose log it is.
    #[error("wal: metadata not found")]
    MetadataNotFound,
    /// The log does not know the snapshot it was to be opened at.
    #[error("wal: snapshot not found")]
    SnapshotNotFound,
    /// The log knows a snapshot of that index, but of another term.
    #[error("wal: snapshot mismatch")]
    SnapshotMismatch,
    /// An entry leaves a gap after the one before it.
    #[error(
        "wal: slice bounds out of range, snapshot[Index: {snapshot_index}, Term: {snapshot_term}], \
         current entry[Index: {index}, Term: {term}], len(ents): {entries}"
    )]
    SliceOutOfRange {
        /// The index of the snapshot that the log was opened at.
        snapshot_index: u64,
        /// The term of that snapshot.
        snapshot_term: u64,
        /// The index of the entry.
        index: u64,
        /// The term of the entry.
        term: u64,
        /// How many entries there were before it.
        entries: usize,
    },
    /// A snapshot to be saved lacks its members.
    #[error("Saved (not-initial) snapshot is missing ConfState: index:{index} term:{term}")]
    MissingConfState {
        /// The index of the snapshot.
        index: u64,
        /// The term of the snapshot.
        term: u64,
    },
    /// There is a log already.
    #[error("file already exists")]
    Exists,
    /// Another process, or another part of this one, has the log open.
    #[error("fileutil: file already locked: {0}")]
    Locked(String),
    /// An earlier write or sync failed; see the crate's invariants.
    #[error("wal: stopped by an earlier failure: {0}")]
    Poisoned(String),
    /// The file system refused.
    #[error("wal: failed to {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

/// Adds to an error of the file system what was tried, and on what.
pub(crate) trait Attempt<T> {
    fn attempt(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.display().to_string(), source })
    }
}
