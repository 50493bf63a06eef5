//! `etcdutl snapshot status`: a check of a whole file, and a summary of it.

use std::{collections::HashSet, path::Path};

use api::kv::KeyValue;
use bbolt::{Db, Entry};
use prost::Message;
use storage::{
    Bucket,
    engine::{DbFile, Share},
    schema::key,
};

use crate::{
    Failure,
    open::{self, Timeout},
    print::{Column, human_bytes},
};

/// Faults that are told one by one; of more, only the number.
const FAULTS_MAX: usize = 100;

/// What a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// CRC-32C over names, keys and values of all buckets.
    pub hash: u32,
    /// The newest main revision.
    pub revision: i64,
    /// How many user keys live.
    pub total_keys: usize,
    /// Bytes of all pages.
    pub total_bytes: u64,
    /// The version of the schema; empty before 3.6.
    pub version: String,
}

impl Status {
    /// What is shown.
    pub(crate) fn columns(&self) -> [Column; 5] {
        [
            Column {
                heading: "hash",
                field: "Hash",
                json: "hash",
                text: format!("{:x}", self.hash),
                value: self.hash.into(),
            },
            Column {
                heading: "revision",
                field: "Revision",
                json: "revision",
                text: self.revision.to_string(),
                value: self.revision.into(),
            },
            Column {
                heading: "total keys",
                field: "Keys",
                json: "totalKey",
                text: self.total_keys.to_string(),
                value: self.total_keys.into(),
            },
            Column {
                heading: "total size",
                field: "Size",
                json: "totalSize",
                text: human_bytes(self.total_bytes),
                value: self.total_bytes.into(),
            },
            Column {
                heading: "version",
                field: "Version",
                json: "version",
                text: self.version.clone(),
                value: self.version.clone().into(),
            },
        ]
    }
}

/// Checks every page of a file and sums it up. Waits for a process that writes the file.
pub fn status(path: &Path, timeout: Timeout) -> Result<Status, Failure> {
    open::exists(path)?;
    let db = open::open_db(path, Share::Readers, timeout)?;
    check(&db)?;
    let meta = db.bucket(Bucket::Meta.name().as_bytes()).map_err(Failure::error)?;
    let version = match meta {
        Some(meta) => meta.get(b"storageVersion").map_err(Failure::error)?,
        None => None,
    };
    let mut sums = Sums { hash: 0, revision: 0, live: HashSet::new() };
    let mut names = db.root().cursor();
    while let Some(name) = names.next().map_err(Failure::error)? {
        let found = if name.is_bucket { db.bucket(name.key) } else { Ok(None) };
        let Some(bucket) = found.map_err(Failure::error)? else {
            return Err(Failure::error(format!("nil bucket: {}", quoted(name.key))));
        };
        sums.hash(name.key);
        let is_key = name.key == Bucket::Key.name().as_bytes();
        let mut cursor = bucket.cursor();
        while let Some(entry) = cursor.next().map_err(Failure::error)? {
            sums.add(is_key, &entry).map_err(|why| {
                let name = quoted(name.key);
                Failure::error(format!(
                    "error during bucket key iteration, name: {name} err: {why}"
                ))
            })?;
        }
    }
    Ok(Status {
        hash: sums.hash,
        revision: sums.revision,
        total_keys: sums.live.len(),
        total_bytes: db.size(),
        version: version.map_or(String::new(), |v| String::from_utf8_lossy(&v).into_owned()),
    })
}

fn check(db: &Db<DbFile>) -> Result<(), Failure> {
    let (mut faults, mut count) = (Vec::new(), 0_u64);
    db.check(&mut |fault| {
        count += 1;
        if faults.len() < FAULTS_MAX {
            faults.push(fault);
        }
    })
    .map_err(Failure::error)?;
    if count == 0 {
        return Ok(());
    }
    Err(Failure::error(format!(
        "snapshot file integrity check failed. {count} errors found.\n{}",
        faults.join("\n")
    )))
}

struct Sums {
    hash: u32,
    revision: i64,
    /// User keys whose last revision is a put.
    live: HashSet<Vec<u8>>,
}

impl Sums {
    fn hash(&mut self, bytes: &[u8]) {
        self.hash = crc32c::crc32c_append(self.hash, bytes);
    }

    fn add(&mut self, is_key: bool, entry: &Entry<'_>) -> Result<(), String> {
        self.hash(entry.key);
        if entry.is_bucket {
            // Its value is not content.
            return Ok(());
        }
        self.hash(entry.value);
        if !is_key {
            return Ok(());
        }
        let stored = quoted(entry.key);
        let (revision, deleted) = key::decode(entry.key)
            .ok_or_else(|| format!("cannot parse revision key: {stored} err: not a revision"))?;
        self.revision = revision.main;
        let kv = KeyValue::decode(entry.value)
            .map_err(|error| format!("cannot unmarshal value, key: {stored} err: {error}"))?;
        if deleted {
            self.live.remove(&kv.key[..]);
        } else {
            self.live.insert(kv.key.to_vec());
        }
        Ok(())
    }
}

/// Bytes as a quoted string.
fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
