//! The bbolt file format: a reader that trusts nothing it read and a streaming writer, pure over bytes.
//!
//! A file is an array of pages; all numbers are little-endian. Pages 0 and 1 each hold a meta record,
//! and the valid one with the higher transaction id tells where the tree of the root bucket starts.
//! Each entry of the root bucket is a bucket of its own: the root page of another tree or, when it
//! is small, an image of its only page. Trees are B+trees of branch and leaf pages, and a page that
//! needs more room is followed by its overflow pages.
//!
//! ```text
//! page    | id u64 | flags u16 | count u16 | overflow u32 | elements ... | keys and values ...
//! meta    | magic u32 | version u32 | page size u32 | flags u32 | root u64 | sequence u64
//!         | freelist u64 | high water u64 | txid u64 | FNV-1a of all before, u64
//! branch  | pos u32 | key size u32 | page u64
//! leaf    | flags u32 | pos u32 | key size u32 | value size u32
//! bucket  | root u64 | sequence u64 | page image, if root is 0
//! ```
//!
//! Invariants:
//! - Reading ends, without a panic and within bounded memory, whatever the bytes are: every id,
//!   count, offset and length is checked against the file before it is used, trees have a greatest
//!   depth, and keys that do not ascend end an iteration, so no page is walked twice.
//! - Writing takes the same input twice: [`Writer::measure`] finds the place of every page, then
//!   [`Writer::stream`] emits the pages in the order of the file and holds one page per level.
//!
//! Source: the format of bbolt 1.5 (file version 2), as etcd's `member/snap/db` uses it.

mod bucket;
mod check;
mod cursor;
mod db;
mod error;
mod meta;
mod node;
mod page;
mod source;
mod writer;

#[cfg(test)]
mod tests;

pub use bucket::Bucket;
pub use cursor::{Cursor, Entry};
pub use db::Db;
pub use error::Error;
pub use meta::{META_BYTES, Meta, NO_FREELIST};
pub use source::Source;
pub use writer::{PAGE_BYTES, Plan, Sink, Writer};
