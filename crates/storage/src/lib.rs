//! The durable store below mvcc, lease, auth and membership: named buckets of ordered keys.
//!
//! Invariants:
//! - One commit is one fully synced transaction: after a crash it is there as a whole or not at all.
//! - The bucket names and contents are etcd's (`server/storage/schema`), but for
//!   [`Bucket::Revision`], which is ours and holds nothing that the `key` bucket does not say.
//! - Apply never commits. It appends [`Op`]s to a [`Window`], and the storage thread flushes that
//!   together with the consistent index of the last entry in it.
//! - Only [`engine`] names the engine; all else sees [`Backend`] and [`ReadTx`].

mod backend;
mod bucket;
mod damage;
pub mod engine;
mod error;
mod hash;
pub mod image;
pub mod mem;
pub mod schema;
pub mod scrub;
mod window;

pub use backend::{Backend, ReadTx, Size, Visit};
pub use bucket::{Bucket, Op};
pub use damage::Damage;
pub use error::Error;
pub use hash::hash_all;
pub use window::{Flushed, Window};

/// The longest key that a backend takes, which is the longest of etcd's file. Revision keys have 18
/// bytes; only names of users and roles come near, and apply refuses longer ones.
pub const KEY_BYTES_MAX: usize = 32768;
