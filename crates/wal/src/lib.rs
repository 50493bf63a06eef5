//! etcd's write-ahead log: raft entries and states in segments of framed, checksummed records.
//!
//! **Invariants**
//! - [`Wal::save`] returns only when what it was given is durable (unless syncing is switched off),
//!   with one write and one fdatasync.
//! - The checksum of a record covers the data of every record before it, across segments.
//! - After a failed write or sync nothing more is written: what the disk holds is not known.
//! - Nothing of a torn tail was ever acknowledged: it is cut off when the log is opened.
//!
//! Format: spec `storage.md` section 5. Records in `record.rs`, segments in `segment.rs`.

mod error;
mod reader;
mod record;
mod segment;
mod writer;

pub use error::Error;
pub use reader::Recovered;
pub use writer::{Options, Stats, Wal};
