//! The store as etcd's own file: written from a view, and read into a backend.
//!
//! Invariants:
//! - An image has etcd's ten buckets: [`Bucket::Revision`] says nothing that the `key` bucket does
//!   not, so it is left out of an image and rebuilt from one. [`Bucket::V2`] goes the way that etcd's v2
//!   store goes, not with the image, unless whoever plans the image wants it there too.
//! - The size of an image is known before its first byte, and memory does not grow with it.
//! - What is read was written by somebody else: every entry of the `key` bucket is looked into, and
//!   the first that no etcd would write ends the import.

mod import;
#[cfg(test)]
mod tests;

use std::{io, ops::ControlFlow};

use bbolt::{Plan, Source, Writer};
use bytes::{Bytes, BytesMut};

use crate::{Backend, Bucket, Error, ReadTx};

pub use import::{Import, import, import_v2, key_value};

/// Length of the chunks of an image, but for the last: those of etcd's `Maintenance.Snapshot`.
pub const CHUNK_BYTES: usize = 32 << 10;

/// A piece of the work of a plan.
const PIECE_BYTES: usize = 1 << 20;

/// Memory that a scan of the view may take before it is given back: the file behind a view is mapped.
const FORGET_BYTES: usize = 64 << 20;

/// A view as the content of a bbolt file (etcd's `member/snap/db`).
pub struct Image<'t> {
    tx: &'t dyn ReadTx,
    with_v2: bool,
    plan: Plan,
}

impl<'t> Image<'t> {
    /// Measures the view: reads its keys and the lengths of its values.
    pub fn plan(tx: &'t dyn ReadTx) -> Result<Image<'t>, Error> {
        Image::plan_in_pieces(tx, &mut |_| {})
    }

    /// The same for an image that has [`Bucket::V2`] as well.
    pub fn plan_with_v2(tx: &'t dyn ReadTx) -> Result<Image<'t>, Error> {
        Image::plan_of(tx, true, &mut |_| {})
    }

    /// The same; `pause` is called between pieces of the work, with the bytes that were read.
    pub fn plan_in_pieces(
        tx: &'t dyn ReadTx,
        pause: &mut dyn FnMut(usize),
    ) -> Result<Image<'t>, Error> {
        Image::plan_of(tx, false, pause)
    }

    fn plan_of(
        tx: &'t dyn ReadTx,
        with_v2: bool,
        pause: &mut dyn FnMut(usize),
    ) -> Result<Image<'t>, Error> {
        let mut writer = Writer::measure();
        feed(&mut writer, tx, with_v2, pause)?;
        Ok(Image { tx, with_v2, plan: writer.finish()? })
    }

    /// The exact size of the file.
    pub fn bytes(&self) -> u64 {
        self.plan.bytes()
    }

    /// Hands the file to `sink` from front to back, in chunks of [`CHUNK_BYTES`]. An error of the
    /// sink ends it, and comes back within [`Error::Image`].
    pub fn write(&self, sink: &mut dyn FnMut(Bytes) -> io::Result<()>) -> Result<(), Error> {
        let mut chunks = Chunks { open: BytesMut::new(), sink };
        let mut pieces = |piece: &[u8]| chunks.add(piece);
        let mut writer = Writer::stream(&self.plan, &mut pieces)?;
        feed(&mut writer, self.tx, self.with_v2, &mut |_| {})?;
        writer.finish()?;
        chunks.end().map_err(bbolt::Error::from)?;
        Ok(())
    }
}

/// One pass of a view through the writer.
fn feed(
    writer: &mut Writer<'_>,
    tx: &dyn ReadTx,
    with_v2: bool,
    pause: &mut dyn FnMut(usize),
) -> Result<(), Error> {
    let mut buckets = Bucket::ALL;
    buckets.sort_by_key(|bucket| bucket.name());
    let (mut seen, mut piece) = (0, 0);
    let wanted = |bucket: &Bucket| bucket.is_of_etcd() || with_v2 && *bucket == Bucket::V2;
    for bucket in buckets.into_iter().filter(wanted) {
        writer.begin(bucket.name().as_bytes())?;
        let mut result = Ok(());
        tx.scan(bucket, b"", &mut |key, value| {
            result = writer.entry(key, value);
            seen += key.len() + value.len();
            piece += key.len() + value.len();
            if piece >= PIECE_BYTES {
                pause(std::mem::take(&mut piece));
            }
            if seen >= FORGET_BYTES {
                seen = 0;
                tx.forget();
            }
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result?;
    }
    tx.forget();
    Ok(())
}

/// Pieces of any length in, chunks of one length out.
struct Chunks<'s> {
    open: BytesMut,
    sink: &'s mut dyn FnMut(Bytes) -> io::Result<()>,
}

impl Chunks<'_> {
    fn add(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            if self.open.capacity() == 0 {
                self.open.reserve(CHUNK_BYTES);
            }
            let some = piece.len().min(CHUNK_BYTES - self.open.len());
            self.open.extend_from_slice(&piece[..some]);
            piece = &piece[some..];
            if self.open.len() == CHUNK_BYTES {
                (self.sink)(std::mem::take(&mut self.open).freeze())?;
            }
        }
        Ok(())
    }

    fn end(self) -> io::Result<()> {
        if self.open.is_empty() { Ok(()) } else { (self.sink)(self.open.freeze()) }
    }
}

/// Makes the backend hold what a bbolt file holds, and nothing else: see [`Backend::replace`].
pub fn restore<S: Source>(backend: &dyn Backend, db: &bbolt::Db<S>) -> Result<(), Error> {
    backend.replace(&mut import(db))
}
