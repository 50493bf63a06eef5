//! Writing a file from sorted input, front to back, with bounded memory.
//!
//! The meta pages come first and name the root, which is known last. So the input is taken twice:
//! the first pass only counts, the second emits. Both run the same code, and what they decide
//! depends on the lengths of keys and values alone.
//!
//! ```text
//! page 0, 1   meta, with transactions 2 and 1
//! page 2 ..   bucket by bucket, in the order of names: leaves as they fill, a branch page after
//!             the last page below it
//! last        the root bucket: an entry per bucket, small buckets inline
//! ```

mod tree;

use std::io;

use crate::{
    Error, Meta, NO_FREELIST,
    page::{BUCKET_BYTES, BUCKET_ELEMENT},
    writer::tree::{Finished, Out, Tree},
};

/// Bytes of a page in what is written; a reader takes the size from the meta page.
pub const PAGE_BYTES: usize = 4096;

/// The longest key that bbolt takes.
const KEY_BYTES_MAX: usize = 32768;
/// The longest value that bbolt takes.
const VALUE_BYTES_MAX: usize = (1 << 31) - 2;
/// Its parity says which meta page is newer: page 0, as in a copy that bbolt makes.
const TXID: u64 = 2;

/// What takes the bytes of the file, piece by piece.
pub type Sink<'s> = dyn FnMut(&[u8]) -> io::Result<()> + 's;

/// Where everything goes: the outcome of the first pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    root: u64,
    high_water: u64,
}

impl Plan {
    /// The exact size of the file.
    pub fn bytes(&self) -> u64 {
        self.high_water * PAGE_BYTES as u64
    }

    fn meta(&self, txid: u64) -> Meta {
        Meta {
            page_size: PAGE_BYTES as u32,
            root: self.root,
            sequence: 0,
            freelist: NO_FREELIST,
            high_water: self.high_water,
            txid,
        }
    }
}

/// A pass over the input: buckets in ascending order of names, the entries of each in ascending order
/// of keys.
pub struct Writer<'s> {
    out: Out<'s>,
    /// What the first pass found; `None` during it.
    plan: Option<Plan>,
    /// The root bucket.
    root: Tree,
    bucket: Option<(Vec<u8>, Tree)>,
    /// The last key of the bucket, or empty.
    last: Vec<u8>,
}

impl<'s> Writer<'s> {
    /// The first pass: finds the plan. Values are not looked at but for their length.
    pub fn measure() -> Writer<'static> {
        Writer::new(Out::new(None), None)
    }

    /// The second pass: the same input, handed to `sink` as the pages of the file from its start. A
    /// piece is a page with its overflow pages.
    pub fn stream(plan: &Plan, sink: &'s mut Sink<'s>) -> Result<Writer<'s>, Error> {
        sink(&plan.meta(TXID).encode_page(0))?;
        sink(&plan.meta(TXID - 1).encode_page(1))?;
        Ok(Writer::new(Out::new(Some(sink)), Some(*plan)))
    }

    fn new(out: Out<'s>, plan: Option<Plan>) -> Writer<'s> {
        let root = Tree::new(plan.is_some());
        Writer { out, plan, root, bucket: None, last: Vec::new() }
    }

    /// Begins a bucket. Its name is above those of all buckets before.
    pub fn begin(&mut self, name: &[u8]) -> Result<(), Error> {
        let before = self.bucket.as_ref().map(|(name, _)| &name[..]);
        check_key(name, before)?;
        self.end_bucket()?;
        self.last.clear();
        self.bucket = Some((name.to_vec(), Tree::new(self.plan.is_some())));
        Ok(())
    }

    /// Adds an entry to the bucket that was begun last.
    pub fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let (_, tree) = self.bucket.as_mut().expect("a bucket was begun");
        check_key(key, Some(&self.last))?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::ValueSize(value.len()));
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        tree.entry(key, &[value], 0, &mut self.out)
    }

    /// Ends the pass. The plan of the second pass is that of the first, or it fails.
    pub fn finish(mut self) -> Result<Plan, Error> {
        self.end_bucket()?;
        let root = std::mem::replace(&mut self.root, Tree::new(false)).finish(&mut self.out)?;
        let plan = Plan { root, high_water: self.out.next_page() };
        match self.plan {
            Some(first) if first != plan => Err(Error::Changed),
            _ => Ok(plan),
        }
    }

    fn end_bucket(&mut self) -> Result<(), Error> {
        let Some((name, tree)) = self.bucket.take() else { return Ok(()) };
        let (root, image) = match tree.finish_bucket(&mut self.out)? {
            Finished::Page(root) => (root, Vec::new()),
            Finished::Inline(image) => (0, image),
        };
        let mut header = [0; BUCKET_BYTES];
        header[..8].copy_from_slice(&root.to_le_bytes());
        self.root.entry(&name, &[&header, &image], BUCKET_ELEMENT, &mut self.out)
    }
}

fn check_key(key: &[u8], before: Option<&[u8]>) -> Result<(), Error> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::KeySize(key.len()));
    }
    if before.is_some_and(|before| before >= key) { Err(Error::Order) } else { Ok(()) }
}
