//! What every engine offers: consistent reads, and one kind of write.

use std::ops::ControlFlow;

use crate::{Bucket, Damage, Error, Op};

/// A store of buckets. Readers never wait for writers, and see one commit as a whole.
pub trait Backend: Send + Sync {
    /// A view of the last commit. It pins freed space while it lives: keep it short.
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, Error>;

    /// Applies the changes in order as one transaction, and returns once it is on the disk.
    /// After an error nothing of it is visible.
    fn commit(&self, ops: &[Op]) -> Result<(), Error>;

    /// Drops everything and puts what `ops` yields in its place, as one change: a crash, a failure
    /// and every view see either the old content or the new. An error of `ops` comes back, and
    /// nothing has changed. Memory does not grow with the content.
    fn replace(&self, ops: &mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error>;

    /// The damaged rows that reads have met since this was last asked: each row once.
    fn take_damage(&self) -> Vec<Damage> {
        Vec::new()
    }

    /// How large the store is.
    fn size(&self) -> Result<Size, Error>;
}

/// What a scan calls with each key and its value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A consistent view of all buckets.
pub trait ReadTx {
    /// The value of a key.
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error>;

    /// Visits keys and values in ascending order, starting at `from` (inclusive), until the visitor
    /// breaks.
    fn scan(&self, bucket: Bucket, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Error>;

    /// Visits all of a bucket of revisions, as a start does: nobody waits for anything else meanwhile,
    /// and the disk may be asked for many pieces at once.
    fn scan_revisions(&self, bucket: Bucket, visit: &mut Visit<'_>) -> Result<(), Error> {
        self.scan(bucket, b"", visit)
    }

    /// Says that what was read so far is not read again soon: its memory may go. Allowed in a visit.
    fn forget(&self) {}
}

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Of the file: its high-water mark.
    pub allocated: u64,
    /// Of the pages in use: what the quota counts.
    pub in_use: u64,
}
