//! Why a read fails.

/// Why a read, a compaction or a hash cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The revision is below the compact revision.
    #[error("required revision has been compacted")]
    Compacted,
    /// The revision is above the current revision.
    #[error("required revision is a future revision")]
    Future,
    /// The backend failed, or holds what no store wrote.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}
