//! A bucket: a tree of entries, or an inline page.

use crate::{
    Cursor, Db, Error, Source,
    error::corrupt,
    page::{BUCKET_BYTES, u64_at},
};

/// A bucket of a file.
#[derive(Debug)]
pub struct Bucket<'d, S> {
    pub(crate) db: &'d Db<S>,
    pub(crate) root: Root,
    pub(crate) sequence: u64,
}

/// Where the entries of a bucket are.
#[derive(Clone, Debug)]
pub(crate) enum Root {
    /// The first page of a tree.
    Page(u64),
    /// The image of the only page.
    Inline(Vec<u8>),
}

impl Root {
    /// Reads the value of a bucket element, with the bucket's sequence.
    pub(crate) fn decode(page: u64, value: &[u8]) -> Result<(Root, u64), Error> {
        if value.len() < BUCKET_BYTES {
            return Err(corrupt(page, "bucket is too short"));
        }
        let root = match u64_at(value, 0) {
            0 => Root::Inline(value[BUCKET_BYTES..].to_vec()),
            id => Root::Page(id),
        };
        Ok((root, u64_at(value, 8)))
    }
}

impl<'d, S: Source> Bucket<'d, S> {
    /// Before the first entry.
    pub fn cursor(&self) -> Cursor<'d, S> {
        Cursor::new(self.db, self.root.clone())
    }

    /// The value of a key; `None` when it is not there, or is a bucket.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut cursor = self.cursor();
        cursor.seek(key)?;
        let entry = cursor.next()?.filter(|entry| entry.key == key && !entry.is_bucket);
        Ok(entry.map(|entry| entry.value.to_vec()))
    }

    /// The bucket of that name within this one.
    pub fn bucket(&self, name: &[u8]) -> Result<Option<Bucket<'d, S>>, Error> {
        let mut cursor = self.cursor();
        cursor.seek(name)?;
        let Some(entry) = cursor.next()?.filter(|entry| entry.key == name && entry.is_bucket)
        else {
            return Ok(None);
        };
        let (root, sequence) = Root::decode(entry.page, entry.value)?;
        Ok(Some(Bucket { db: self.db, root, sequence }))
    }

    /// The bucket's sequence; etcd does not use it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}
