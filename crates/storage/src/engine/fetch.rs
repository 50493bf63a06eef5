//! Reading a bucket of revisions from a disk that has to be asked for every page of it.
//!
//! Its pages lie between those of other buckets, and the kernel reads what is around a page with it:
//! of a store with large values nearly all, for the hundredth part that is wanted. So that is turned
//! off, and threads ask for the pages ahead of the one that reads them, many at a time, as disks and
//! the storage of clouds want it. They fetch what they look up and keep nothing of it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    thread,
};

use api::ids::Revision;
use heed::{Database, Env, WithoutTls, types::Bytes};

use super::LmdbRead;
use crate::{
    Bucket,
    schema::key::{self, RevisionKey},
};

/// Buckets with fewer revisions than this are read as they are.
const REVISIONS_MIN: i64 = 20_000;
/// How many pages are asked for at once.
const THREADS: usize = 16;
/// Every so many revisions one is looked up: a page has some dozens of them.
const STRIDE: i64 = 16;

impl LmdbRead<'_> {
    /// Does work that reads all of a bucket of revisions.
    pub(super) fn with_pages_fetched<T>(&self, bucket: Bucket, work: impl FnOnce() -> T) -> T {
        let database = self.buckets[bucket as usize];
        // What cannot be read is for the work to find.
        let ends = [database.first(&self.txn), database.last(&self.txn)];
        let [first, last] = ends.map(|row| {
            let (revision, _) = key::decode(row.ok().flatten()?.0)?;
            Some(revision.main)
        });
        let (Some(first), Some(last)) = (first, last) else { return work() };
        if last - first < REVISIONS_MIN {
            return work();
        }
        self.backend.read_around(false);
        let (env, next) = (&self.backend.env, AtomicI64::new(first));
        let done = thread::scope(|scope| {
            for _ in 0..THREADS {
                let work = || {
                    let _as_far_as_it_went = fetch(env, database, &next, last);
                };
                // Without a thread the work does it all.
                let _started =
                    thread::Builder::new().name("fetch".to_owned()).spawn_scoped(scope, work);
            }
            let done = work();
            // Nothing is left to be ahead of.
            next.store(i64::MAX / 2, Ordering::Relaxed);
            done
        });
        self.backend.read_around(true);
        done
    }
}

/// Looks up one revision after another, each the next that nobody has looked up.
fn fetch(
    env: &Env<WithoutTls>,
    database: Database<Bytes, Bytes>,
    next: &AtomicI64,
    last: i64,
) -> Result<(), heed::Error> {
    let txn = env.read_txn()?;
    loop {
        let main = next.fetch_add(STRIDE, Ordering::Relaxed);
        if main > last {
            return Ok(());
        }
        let key = RevisionKey::new(Revision { main, sub: 0 }, false);
        database.get_greater_than_or_equal_to(&txn, &key)?;
    }
}
