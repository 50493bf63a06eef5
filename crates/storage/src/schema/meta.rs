//! Bucket `meta`: how far the log is applied, how far history is compacted, and the schema's version.

use api::ids::{RaftIndex, Revision, Term};
use bytes::Bytes;

use super::{corrupt, decode_u64, key::RevisionKey, put};
use crate::{Bucket, Error, Op, ReadTx};

const CONSISTENT_INDEX: &str = "consistent_index";
const TERM: &str = "term";
const CONF_STATE: &str = "confState";
const SCHEDULED_COMPACT: &str = "scheduledCompactRev";
const FINISHED_COMPACT: &str = "finishedCompactRev";
const STORAGE_VERSION: &str = "storageVersion";

/// Whether a key of this bucket is left out of [`crate::hash_all`].
pub(crate) fn differs_between_members(key: &[u8]) -> bool {
    [CONSISTENT_INDEX, TERM, STORAGE_VERSION].iter().any(|name| name.as_bytes() == key)
}

/// Records the last applied entry. Only [`crate::Window`] and an import write it.
pub fn put_consistent(index: RaftIndex, term: Term) -> [Op; 2] {
    let number = |value: u64| Bytes::copy_from_slice(&value.to_be_bytes());
    [put(Bucket::Meta, CONSISTENT_INDEX, number(index.0)), put(Bucket::Meta, TERM, number(term.0))]
}

/// The last entry that is applied in the backend; `None` in a new one. The term is 0 when an old
/// etcd (before 3.5) wrote the index without.
pub fn read_consistent(tx: &dyn ReadTx) -> Result<Option<(RaftIndex, Term)>, Error> {
    let number = |key: &str| {
        let value = tx.get(Bucket::Meta, key.as_bytes())?;
        value.map(|value| decode_u64(Bucket::Meta, value)).transpose()
    };
    let Some(index) = number(CONSISTENT_INDEX)? else { return Ok(None) };
    Ok(Some((RaftIndex(index), Term(number(TERM)?.unwrap_or(0)))))
}

/// Records the raft configuration, as JSON.
pub fn put_conf_state(json: Bytes) -> Op {
    put(Bucket::Meta, CONF_STATE, json)
}

/// The raft configuration, as JSON.
pub fn read_conf_state(tx: &dyn ReadTx) -> Result<Option<Bytes>, Error> {
    Ok(tx.get(Bucket::Meta, CONF_STATE.as_bytes())?.map(Bytes::copy_from_slice))
}

/// Records that everything below `main` is to be compacted.
pub fn put_scheduled_compact(main: i64) -> Op {
    put(Bucket::Meta, SCHEDULED_COMPACT, mark(main))
}

/// Records that everything below `main` is compacted.
pub fn put_finished_compact(main: i64) -> Op {
    put(Bucket::Meta, FINISHED_COMPACT, mark(main))
}

/// The last compaction that was begun.
pub fn read_scheduled_compact(tx: &dyn ReadTx) -> Result<Option<i64>, Error> {
    read_mark(tx, SCHEDULED_COMPACT)
}

/// The last compaction that was finished.
pub fn read_finished_compact(tx: &dyn ReadTx) -> Result<Option<i64>, Error> {
    read_mark(tx, FINISHED_COMPACT)
}

fn mark(main: i64) -> Bytes {
    RevisionKey::new(Revision { main, sub: 0 }, false).to_bytes()
}

fn read_mark(tx: &dyn ReadTx, name: &str) -> Result<Option<i64>, Error> {
    let Some(value) = tx.get(Bucket::Meta, name.as_bytes())? else { return Ok(None) };
    let (revision, _) = super::key::decode(value)
        .ok_or_else(|| corrupt(Bucket::Meta, "compaction mark is no revision"))?;
    Ok(Some(revision.main))
}

/// Records the version of the schema, such as `3.7.0`.
pub fn put_storage_version(version: &str) -> Op {
    put(Bucket::Meta, STORAGE_VERSION, version.to_owned())
}

/// Takes the version of the schema off the record, as before 3.6.
pub fn delete_storage_version() -> Op {
    Op::Delete { bucket: Bucket::Meta, key: Bytes::from_static(STORAGE_VERSION.as_bytes()) }
}

/// Refuses a store of a later release than this one: its schema may have changed. Patch releases have
/// the same schema.
pub fn check_storage_version(tx: &dyn ReadTx) -> Result<(), Error> {
    let minor = |version: &str| -> Option<(u64, u64)> {
        let mut parts = version.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    let Some(recorded) = read_storage_version(tx)? else { return Ok(()) };
    let own = minor(api::version::STORAGE).expect("the own version is well-formed");
    match minor(&recorded) {
        Some(version) if version <= own => Ok(()),
        Some(_) => Err(Error::Newer(recorded)),
        None => Err(corrupt(Bucket::Meta, "storage version is no version")),
    }
}

/// The version of the schema; `None` before 3.6.
pub fn read_storage_version(tx: &dyn ReadTx) -> Result<Option<String>, Error> {
    let Some(value) = tx.get(Bucket::Meta, STORAGE_VERSION.as_bytes())? else { return Ok(None) };
    match String::from_utf8(value.to_vec()) {
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(corrupt(Bucket::Meta, "storage version is not UTF-8")),
    }
}
