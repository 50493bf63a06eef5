//! Why a log cannot be read or written, in etcd's words where it has them.

use std::io;

/// A failure of the log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record does not have the checksum that it should, and no torn write explains it.
    #[error("walpb: crc mismatch in {file} at byte {offset}")]
    Crc {
        /// The segment.
        file: String,
        /// Where the record begins.
        offset: u64,
    },
    /// A record is longer than its segment, cannot be decoded or is of an unknown kind.
    #[error("wal: invalid record in {file} at byte {offset}: {what}")]
    Record {
        /// The segment.
        file: String,
        /// Where the record begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// There is no segment that the snapshot's index could be in, or one is missing.
    #[error("wal: file not found")]
    FileNotFound,
    /// The log has no record of the snapshot that it was to be opened at.
    #[error("wal: snapshot not found")]
    SnapshotNotFound,
    /// The log has a snapshot of that index, but of another term.
    #[error("wal: snapshot mismatch")]
    SnapshotMismatch,
    /// Segments name different members or clusters.
    #[error("wal: conflicting metadata found")]
    MetadataConflict,
    /// An entry's index leaves a gap after the one before.
    #[error(
        "wal: slice bounds out of range, snapshot[Index: {snapshot}], current entry[Index: {index}]"
    )]
    Gap {
        /// The index of the snapshot that the log was opened at.
        snapshot: u64,
        /// The index of the entry.
        index: u64,
    },
    /// Another process has the log open.
    #[error("wal: file already locked: {0}")]
    Locked(String),
    /// An earlier write or sync failed: the state of the disk is not known.
    #[error("wal: an earlier write failed")]
    Poisoned,
    /// The disk said no.
    #[error("wal: {action}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// What came of it.
        #[source]
        source: io::Error,
    },
}

/// Gives an I/O error its place.
pub(crate) trait During<T> {
    fn during(self, action: &'static str) -> Result<T, Error>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, source })
    }
}
