//! What can be wrong with a file, or with what is to be written.

use std::io;

/// An error of reading or writing a bbolt file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No meta page has bbolt's magic number.
    #[error("invalid database")]
    Invalid,
    /// The file has another version of the format.
    #[error("version mismatch")]
    VersionMismatch,
    /// No meta page has the checksum of its content.
    #[error("checksum error")]
    Checksum,
    /// There is no room for two meta pages.
    #[error("file size too small {0}")]
    TooSmall(u64),
    /// The file ends before its last page.
    #[error("file is truncated: it has {actual} bytes, its pages need {expected}")]
    Truncated {
        /// What the meta page says.
        expected: u64,
        /// What is there.
        actual: u64,
    },
    /// Bytes that no writer of the format leaves.
    #[error("page {page}: {what}")]
    Corrupt {
        /// Where.
        page: u64,
        /// What is wrong, for the operator.
        what: &'static str,
    },
    /// Reading the source, or handing on what was written, failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An entry or a bucket was written that does not sort after the one before.
    #[error("keys are not written in ascending order")]
    Order,
    /// A key that the format does not take: empty, or longer than 32768 bytes.
    #[error("key of {0} bytes: allowed are 1 to 32768")]
    KeySize(usize),
    /// A value that the format does not take: 2^31 - 2 bytes are the most.
    #[error("value of {0} bytes is too large")]
    ValueSize(usize),
    /// The second pass of the writer was given something else than the first.
    #[error("the content changed between the two passes of the writer")]
    Changed,
}

/// A page that no writer leaves so.
pub(crate) fn corrupt(page: u64, what: &'static str) -> Error {
    Error::Corrupt { page, what }
}
