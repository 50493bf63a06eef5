//! A bbolt file written anew from another, with some entries changed on the way.
//!
//! Both passes of the writer read the source, so a source that is damaged anywhere is found before
//! the first byte is written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use bbolt::{Db, Plan, Source, Writer};

use storage::engine::DbFile;

use crate::{Failure, exit::io, progress::Progress};

/// More buckets than that, and it is no file of etcd.
const BUCKETS_MAX: usize = 1000;
/// The file is written in pieces of about this.
const BUFFER_BYTES: usize = 1 << 20;

/// What becomes of one bucket. A bucket that the source does not have is created.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edit {
    /// Whether the entries of the source are left out.
    pub(crate) clear: bool,
    /// Entries to set or, without a value, to leave out.
    pub(crate) entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Edit {
    /// Sets an entry.
    pub(crate) fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.entries.insert(key.into(), Some(value.into()));
    }

    /// Leaves an entry out.
    pub(crate) fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.entries.insert(key.into(), None);
    }
}

/// A copy that is planned: all of the source has been read.
pub(crate) struct Copy<'d, S> {
    /// The source; none for a file that is all new.
    db: Option<&'d Db<S>>,
    edits: BTreeMap<Vec<u8>, Edit>,
    plan: Plan,
}

impl Copy<'static, DbFile> {
    /// A file that holds the entries of `edits` alone.
    pub(crate) fn of_nothing(edits: BTreeMap<Vec<u8>, Edit>) -> Result<Self, Failure> {
        Copy::plan_any(None, edits)
    }
}

impl<'d, S: Source> Copy<'d, S> {
    /// Reads the source.
    pub(crate) fn plan(
        db: &'d Db<S>,
        edits: BTreeMap<Vec<u8>, Edit>,
    ) -> Result<Copy<'d, S>, Failure> {
        Copy::plan_any(Some(db), edits)
    }

    fn plan_any(
        db: Option<&'d Db<S>>,
        edits: BTreeMap<Vec<u8>, Edit>,
    ) -> Result<Copy<'d, S>, Failure> {
        let mut writer = Writer::measure();
        feed(db, &edits, &mut writer)?;
        let plan = writer.finish().map_err(Failure::error)?;
        Ok(Copy { db, edits, plan })
    }

    /// The size of the copy.
    pub(crate) fn bytes(&self) -> u64 {
        self.plan.bytes()
    }

    /// Writes the copy to a new file, durably but for its name.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| io("write", path, &error);
        let mut options = OpenOptions::new();
        let open = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = open.map_err(|error| io("open", path, &error))?;
        let mut progress = Progress::new("writing the database", self.bytes());
        let mut buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        let mut sink = |piece: &[u8]| {
            progress.add(piece.len() as u64);
            buffer.extend_from_slice(piece);
            if buffer.len() >= BUFFER_BYTES { drain(&mut file, &mut buffer) } else { Ok(()) }
        };
        let mut writer = Writer::stream(&self.plan, &mut sink).map_err(Failure::error)?;
        feed(self.db, &self.edits, &mut writer)?;
        writer.finish().map_err(Failure::error)?;
        drain(&mut file, &mut buffer).map_err(failed)?;
        file.sync_all().map_err(failed)
    }
}

fn drain(file: &mut File, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    file.write_all(buffer)?;
    buffer.clear();
    Ok(())
}

/// One pass: the buckets of the source and of the edits, in the order of names.
fn feed<S: Source>(
    db: Option<&Db<S>>,
    edits: &BTreeMap<Vec<u8>, Edit>,
    writer: &mut Writer<'_>,
) -> Result<(), Failure> {
    let mut names: BTreeSet<Vec<u8>> = edits.keys().cloned().collect();
    if let Some(db) = db {
        buckets(db, &mut names)?;
    }
    let nothing = Edit::default();
    for name in names {
        writer.begin(&name).map_err(Failure::error)?;
        let edit = edits.get(&name).unwrap_or(&nothing);
        let bucket = match db.filter(|_| !edit.clear) {
            None => None,
            Some(db) => db.bucket(&name).map_err(Failure::error)?,
        };
        let mut edited = edit.entries.iter().peekable();
        if let Some(bucket) = bucket {
            let mut cursor = bucket.cursor();
            while let Some(entry) = cursor.next().map_err(Failure::error)? {
                if entry.is_bucket {
                    return Err(Failure::error("the database has a bucket within a bucket"));
                }
                while let Some((key, value)) = edited.next_if(|(key, _)| &key[..] < entry.key) {
                    put(writer, key, value.as_deref())?;
                }
                if let Some((key, value)) = edited.next_if(|(key, _)| &key[..] == entry.key) {
                    put(writer, key, value.as_deref())?;
                    continue;
                }
                put(writer, entry.key, Some(entry.value))?;
            }
        }
        for (key, value) in edited {
            put(writer, key, value.as_deref())?;
        }
    }
    Ok(())
}

/// Adds the names of the source's buckets.
fn buckets<S: Source>(db: &Db<S>, names: &mut BTreeSet<Vec<u8>>) -> Result<(), Failure> {
    let mut root = db.root().cursor();
    while let Some(entry) = root.next().map_err(Failure::error)? {
        if !entry.is_bucket {
            return Err(Failure::error("the root of the database has an entry that is no bucket"));
        }
        names.insert(entry.key.to_vec());
        if names.len() > BUCKETS_MAX {
            return Err(Failure::error("the database has too many buckets"));
        }
    }
    Ok(())
}

fn put(writer: &mut Writer<'_>, key: &[u8], value: Option<&[u8]>) -> Result<(), Failure> {
    let Some(value) = value else { return Ok(()) };
    writer.entry(key, value).map_err(Failure::error)
}
