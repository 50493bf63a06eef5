//! A bbolt file as the operations that fill a backend.

use api::{ids::Revision, kv::KeyValue};
use bbolt::{Cursor, Db, Source};
use bytes::Bytes;
use prost::Message;

use crate::{
    Bucket, Error, Op,
    schema::{key, revision},
};

/// The operations that fill an empty backend with what `db` holds: etcd's ten buckets, and our
/// revision bucket made from the `key` bucket. Buckets of other names are passed over.
pub fn import<S: Source>(db: &Db<S>) -> Import<'_, S> {
    let mut left = Bucket::ALL.to_vec();
    left.retain(|bucket| bucket.is_of_etcd());
    left.reverse();
    Import { db, left, open: None, pending: None, newest: None }
}

/// The operations that fill [`Bucket::V2`], if the file has that bucket.
pub fn import_v2<S: Source>(db: &Db<S>) -> Result<Option<Import<'_, S>>, Error> {
    if db.bucket(Bucket::V2.name().as_bytes())?.is_none() {
        return Ok(None);
    }
    Ok(Some(Import { db, left: vec![Bucket::V2], open: None, pending: None, newest: None }))
}

/// See [`import`]. Ends after its first error.
pub struct Import<'d, S> {
    db: &'d Db<S>,
    /// Buckets to come, the next one last.
    left: Vec<Bucket>,
    open: Option<(Bucket, Cursor<'d, S>)>,
    /// The second operation of an entry of the `key` bucket.
    pending: Option<Op>,
    /// The last revision of the `key` bucket.
    newest: Option<Revision>,
}

impl<S: Source> Iterator for Import<'_, S> {
    type Item = Result<Op, Error>;

    fn next(&mut self) -> Option<Result<Op, Error>> {
        if let Some(op) = self.pending.take() {
            return Some(Ok(op));
        }
        let next = self.step();
        if next.is_err() {
            (self.left, self.open) = (Vec::new(), None);
        }
        next.transpose()
    }
}

impl<S: Source> Import<'_, S> {
    fn step(&mut self) -> Result<Option<Op>, Error> {
        loop {
            let Some((bucket, cursor)) = &mut self.open else {
                let Some(bucket) = self.left.pop() else { return Ok(None) };
                let found = self.db.bucket(bucket.name().as_bytes())?;
                self.open = found.map(|found| (bucket, found.cursor()));
                continue;
            };
            let bucket = *bucket;
            let Some(entry) = cursor.next()? else {
                self.open = None;
                continue;
            };
            if entry.is_bucket {
                let what = "there is a bucket within it";
                return Err(Error::Corrupt { bucket: bucket.name(), what });
            }
            let (key, value) =
                (Bytes::copy_from_slice(entry.key), Bytes::copy_from_slice(entry.value));
            if bucket == Bucket::Key {
                self.pending = Some(self.record(&key, &value)?);
            }
            return Ok(Some(Op::Put { bucket, key, value }));
        }
    }

    /// Checks an entry of the `key` bucket; returns the one of the revision bucket.
    fn record(&mut self, stored: &Bytes, value: &Bytes) -> Result<Op, Error> {
        let (revision, deleted, kv) = key_value(stored, value)?;
        // Of one revision there is a put or a delete, not both.
        if self.newest.is_some_and(|newest| newest >= revision) {
            return Err(corrupt("a revision is there twice"));
        }
        self.newest = Some(revision);
        let record = if deleted {
            revision::Record { key: &kv.key, create_revision: 0, version: 0, lease: 0 }
        } else {
            revision::Record {
                key: &kv.key,
                create_revision: kv.create_revision,
                version: kv.version,
                lease: kv.lease,
            }
        };
        Ok(revision::put(stored, &record))
    }
}

/// An entry of the `key` bucket: its revision, whether it is a delete, and what was put. An empty
/// value stands for itself: a restore that moves the revision up leaves one.
pub fn key_value(stored: &[u8], value: &Bytes) -> Result<(Revision, bool, KeyValue), Error> {
    let (revision, deleted) =
        key::decode(stored).ok_or_else(|| corrupt("a key is not a revision"))?;
    let kv = KeyValue::decode(value.clone())
        .map_err(|_| corrupt("a value cannot be decoded as a key-value"))?;
    Ok((revision, deleted, kv))
}

fn corrupt(what: &'static str) -> Error {
    Error::Corrupt { bucket: Bucket::Key.name(), what }
}
