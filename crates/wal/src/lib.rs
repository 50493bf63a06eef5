//! etcd's write-ahead log and `.snap` files, byte for byte.
//!
//! A log is a directory of segments. Each is a file of framed records with one rolling checksum
//! that runs on through all segments (`record.rs` draws the bytes):
//!
//! ```text
//! 0000000000000000-0000000000000000.wal   crc 0, metadata, snapshot 0, then entries, states,
//!                                         snapshots as they come
//! 0000000000000001-0000000000000a01.wal   crc, metadata, state, then the same
//! 0000000000000002-0000000000001407.wal   the same, then zeros up to the size of a segment
//! 0.tmp                                   the next segment, being prepared
//! ```
//!
//! The first number of a name counts segments, the second is the index of the first entry that a
//! segment can begin with. All segments but the last end at their last record.
//!
//! **Architecture invariants:**
//! - When [`Wal::save`] with entries or a new term or vote, or [`Wal::save_snapshot`], has
//!   returned, a power loss cannot take back what it was given (unless syncing is switched off).
//! - A write or sync that failed is final: the [`Wal`] refuses everything afterwards. What a disk
//!   holds after a failed sync is unknown, and a second sync may succeed without having written.
//! - Damage is never mistaken for a torn write: only an incomplete last record, one with a
//!   sector that never arrived, is cut off, and a copy of the file is kept.
//!
//! No clock and no thread here: [`Preparation`] is work that the owner may do on another thread.
//! Answers to etcd's `server/storage/wal` and `server/etcdserver/api/snap`.

mod error;
mod prepare;
mod reader;
mod record;
mod recover;
mod repair;
mod segment;
pub mod snap;
mod wal;

pub use error::Error;
pub use prepare::{Preparation, Prepared};
pub use recover::Recovered;
pub use repair::Repaired;
pub use wal::{Options, Stats, Wal};
