//! The file system as a trait: the real one, one in memory that can lose power, and one that fails
//! on demand.
//!
//! **Architecture invariant:** depends on no other crate of the workspace. The crates above never
//! name the files of the standard library; whoever owns a disk passes an [`Fs`] down.
//!
//! What may be relied on after a power loss, and no more: bytes of a file whose `sync_data` or
//! `sync_all` returned, at the length it then had; and the names of a directory whose `sync_dir`
//! returned. Everything later may be there, not be there, or be there in part.

pub mod fault;
mod fs;
pub mod mem;
pub mod os;

pub use fs::{File, Fs, OpenMode};
