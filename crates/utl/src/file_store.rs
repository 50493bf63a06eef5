//! A bbolt file as a [`Backend`] that is only read: what the key index and hashes need of one.

use std::{collections::BTreeMap, ops::ControlFlow};

use bbolt::{Db, Source};
use storage::{Backend, Bucket, Error, Op, ReadTx, Size, Visit, image, schema::revision};

/// The most bytes that the entries of the meta bucket may have.
const META_BYTES_MAX: usize = 1 << 20;

/// The file, and its meta bucket in memory.
pub(crate) struct FileStore<S> {
    db: Db<S>,
    meta: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<S: Source> FileStore<S> {
    /// The file.
    pub(crate) fn db(&self) -> &Db<S> {
        &self.db
    }

    /// Reads the meta bucket.
    pub(crate) fn new(db: Db<S>) -> Result<FileStore<S>, Error> {
        let mut meta = BTreeMap::new();
        let mut bytes = 0;
        if let Some(bucket) = db.bucket(Bucket::Meta.name().as_bytes())? {
            let mut cursor = bucket.cursor();
            while let Some(entry) = cursor.next()? {
                bytes += entry.key.len() + entry.value.len();
                if bytes > META_BYTES_MAX {
                    let what = "the bucket is too large";
                    return Err(Error::Corrupt { bucket: Bucket::Meta.name(), what });
                }
                meta.insert(entry.key.to_vec(), entry.value.to_vec());
            }
        }
        Ok(FileStore { db, meta })
    }
}

impl<S: Source + Send + Sync> Backend for FileStore<S> {
    fn read(&self) -> Result<Box<dyn ReadTx + '_>, Error> {
        Ok(Box::new(View(self)))
    }

    fn commit(&self, _: &[Op]) -> Result<(), Error> {
        Err(Error::Engine("the file is only read".into()))
    }

    fn replace(&self, _: &mut dyn Iterator<Item = Result<Op, Error>>) -> Result<(), Error> {
        Err(Error::Engine("the file is only read".into()))
    }

    fn size(&self) -> Result<Size, Error> {
        Ok(Size { allocated: self.db.size(), in_use: self.db.size() })
    }
}

struct View<'a, S>(&'a FileStore<S>);

impl<S: Source> ReadTx for View<'_, S> {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        if bucket != Bucket::Meta {
            return Err(Error::Engine("only the meta bucket is held in memory".into()));
        }
        Ok(self.0.meta.get(key).map(|value| &value[..]))
    }

    /// The revision bucket, which the file does not have, is made from the key bucket.
    fn scan(&self, bucket: Bucket, from: &[u8], visit: &mut Visit<'_>) -> Result<(), Error> {
        let stored = if bucket == Bucket::Revision { Bucket::Key } else { bucket };
        let Some(found) = self.0.db.bucket(stored.name().as_bytes())? else { return Ok(()) };
        let mut cursor = found.cursor();
        cursor.seek(from)?;
        while let Some(entry) = cursor.next()? {
            let flow = if bucket == Bucket::Revision {
                visit(entry.key, &record(entry.key, entry.value)?)
            } else {
                visit(entry.key, entry.value)
            };
            if flow == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
}

fn record(stored: &[u8], value: &[u8]) -> Result<bytes::Bytes, Error> {
    let (_, deleted, kv) = image::key_value(stored, &bytes::Bytes::copy_from_slice(value))?;
    let number = |number: i64| if deleted { 0 } else { number };
    let record = revision::Record {
        key: &kv.key,
        create_revision: number(kv.create_revision),
        version: number(kv.version),
        lease: number(kv.lease),
    };
    Ok(record.encode())
}
