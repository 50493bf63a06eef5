//! What can go wrong below: fatal to the member, all of it.

use std::path::PathBuf;

/// An error of the storage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process, or another backend of this process, has the directory open.
    #[error("storage directory {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// A key longer than [`crate::KEY_BYTES_MAX`], or an empty one.
    #[error("storage key of {bytes} bytes in bucket {bucket}: allowed are 1 to 32768 bytes")]
    KeySize {
        /// The bucket that was written.
        bucket: &'static str,
        /// The length of the key.
        bytes: usize,
    },
    /// Stored bytes that no encoder of this crate wrote.
    #[error("corrupt record in bucket {bucket}: {what}")]
    Corrupt {
        /// The bucket that was read.
        bucket: &'static str,
        /// What was wrong, for the operator.
        what: &'static str,
    },
    /// A row that is not what was written: the disk, or the memory it went through, is at fault.
    #[error("the store is damaged: {0}; `etcdutl rebuild` makes it anew from a peer")]
    Damaged(crate::Damage),
    /// The file system refused.
    #[error("storage {action} {}: {source}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The store cannot be kept in memory as it was asked to be.
    #[error(
        "mlock error: {}: the store has {bytes} bytes to lock; raise the limit of locked memory \
         (RLIMIT_MEMLOCK), or leave out --memory-mlock", lock_error(.source)
    )]
    MemoryLock {
        /// The bytes of the file.
        bytes: usize,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store is that of a later release, whose schema is not known here.
    #[error("version {0:?} is not supported")]
    Newer(String),
    /// A bbolt file could not be read, or an image not be handed on.
    #[error("database file: {0}")]
    Image(#[from] bbolt::Error),
    /// The engine failed.
    #[error("storage engine: {0}")]
    Engine(String),
}

impl Error {
    /// Whether stored data is at fault, and not the request or the system: what it was is lost here,
    /// and other members have it.
    pub fn is_damage(&self) -> bool {
        matches!(self, Error::Damaged(_) | Error::Corrupt { .. })
    }
}

/// The system's answer to a lock of memory, in the words that etcd has for it.
fn lock_error(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => "cannot allocate memory".into(),
        Some(libc::EPERM) => "operation not permitted".into(),
        Some(libc::EAGAIN) => "resource temporarily unavailable".into(),
        _ => error.to_string(),
    }
}
