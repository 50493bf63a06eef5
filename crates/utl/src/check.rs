//! `etcdutl check`: everything that a member which does not run has on its disk, read and compared.
//!
//! The log from its first segment (checksums along the chain), the snapshot files, each row of the store
//! (its checksum, and what it says), the two rows of each revision against each other, and where store
//! and log end. Nothing is repaired; a torn end of the log is no fault, the next start cuts it off.

use std::{
    fmt::Write as _,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use api::ids::RaftIndex;
use storage::{
    Backend, Bucket, ReadTx,
    engine::{self, LmdbBackend, LmdbOptions, STORE_NAME},
    image::key_value,
    schema::{self, revision},
};
use vfs::{Fs, os::OsFs};
use wal::Wal;

use crate::Failure;

/// Faults that are told one by one.
const TOLD_MAX: usize = 100;

/// What was found.
#[derive(Default)]
struct Findings {
    text: String,
    faults: usize,
}

impl Findings {
    fn say(&mut self, what: &str) {
        let _ = writeln!(self.text, "{what}");
    }

    fn fault(&mut self, what: &str) {
        self.faults += 1;
        if self.faults <= TOLD_MAX {
            self.say(&format!("FAULT: {what}"));
        }
    }
}

/// Where the log begins and ends.
struct LogEnds {
    /// The newest snapshot record that counts.
    first: u64,
    last: u64,
}

/// Checks a data dir. The text says what was read; with faults it comes with an exit code.
pub fn check(data_dir: &Path, wal_dir: Option<PathBuf>) -> Result<String, Failure> {
    let snap_dir = data_dir.join("member/snap");
    let wal_dir = wal_dir.unwrap_or_else(|| data_dir.join("member/wal"));
    let mut findings = Findings::default();
    let ends = log(&wal_dir, &mut findings);
    snapshots(&snap_dir, &mut findings)?;
    let store_dir = snap_dir.join(STORE_NAME);
    if store_dir.is_dir() {
        let store = LmdbBackend::open(&store_dir, LmdbOptions::default());
        match store {
            Ok(store) => store_of(&store, ends.as_ref(), &mut findings)?,
            Err(error @ storage::Error::Locked(_)) => return Err(Failure::error(error)),
            Err(error) => findings.fault(&format!("store: {error}")),
        }
    } else {
        findings.fault(&format!("store: {} is missing", store_dir.display()));
    }
    let Findings { mut text, faults } = findings;
    if faults == 0 {
        let _ = writeln!(text, "no fault found");
        return Ok(text);
    }
    print!("{text}");
    Err(Failure::error(format!("{faults} faults found")))
}

fn log(wal_dir: &Path, findings: &mut Findings) -> Option<LogEnds> {
    let read = || {
        let records = Wal::valid_snapshots(&OsFs, wal_dir)?;
        let at = records.into_iter().max_by_key(|record| record.index).unwrap_or_default();
        let log = Wal::read_only(&OsFs, wal_dir, &at)?;
        Ok::<_, wal::Error>((at, log))
    };
    match read() {
        Ok((at, log)) => {
            let last = log.entries.last().map_or(at.index, |entry| entry.index);
            let state = log.hard_state;
            findings.say(&format!(
                "log: snapshot at index {}, {} entries behind it up to index {last}; \
                 term {}, vote {:x}, commit {}",
                at.index,
                log.entries.len(),
                state.term,
                state.vote,
                state.commit
            ));
            Some(LogEnds { first: at.index, last })
        }
        Err(error) => {
            findings.fault(&format!("log: {error}"));
            None
        }
    }
}

fn snapshots(snap_dir: &Path, findings: &mut Findings) -> Result<(), Failure> {
    let names = OsFs.list(snap_dir).map_err(|error| crate::exit::io("open", snap_dir, &error))?;
    let mut right = 0;
    for name in names {
        let path = snap_dir.join(&name);
        let outcome = if name.ends_with(".snap") {
            let content = OsFs.read(&path).map_err(|error| error.to_string());
            content.and_then(|content| {
                wal::snap::decode(&content).map(drop).map_err(|error| error.to_string())
            })
        } else if name.ends_with(".snap.db") {
            let whole = engine::DbSum::verify(&path).map_err(|error| error.to_string());
            let db = whole.and_then(|()| engine::open_db(&path).map_err(|error| error.to_string()));
            db.and_then(|db| {
                let mut ops = storage::image::import(&db);
                ops.try_for_each(|op| op.map(drop)).map_err(|error| error.to_string())
            })
        } else {
            continue;
        };
        match outcome {
            Ok(()) => right += 1,
            Err(error) => findings.fault(&format!("{name}: {error}")),
        }
    }
    findings.say(&format!("snapshot files: {right} read"));
    Ok(())
}

fn store_of(
    store: &LmdbBackend,
    ends: Option<&LogEnds>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let view = store.read().map_err(Failure::error)?;
    let mut rows = 0_u64;
    for bucket in Bucket::ALL {
        rows += rows_of(&*view, bucket, findings)?;
    }
    findings.say(&format!("store: {rows} rows read"));
    let index = match schema::read_consistent(&*view) {
        Ok(consistent) => consistent.map_or(0, |(RaftIndex(index), _)| index),
        Err(error) => {
            findings.fault(&format!("store: {error}"));
            return Ok(());
        }
    };
    findings.say(&format!("store: it has applied index {index}"));
    let Some(LogEnds { first, last }) = ends else { return Ok(()) };
    if index > *last {
        findings.fault(&format!("the store is at index {index}, the log ends at {last}"));
    }
    if index < *first {
        findings.fault(&format!("the store is at index {index}, the log begins after {first}"));
    }
    Ok(())
}

/// Reads a bucket; goes on behind what is damaged. Returns how many rows are right.
fn rows_of(view: &dyn ReadTx, bucket: Bucket, findings: &mut Findings) -> Result<u64, Failure> {
    let (mut rows, mut from) = (0, Vec::new());
    loop {
        let scanned = view.scan(bucket, &from, &mut |key, value| {
            rows += 1;
            if let Err(what) = judge(view, bucket, key, value) {
                let key = storage::Damage { bucket, key: key.to_vec() };
                findings.fault(&format!("store: {key}: {what}"));
            }
            ControlFlow::Continue(())
        });
        match scanned {
            Ok(()) => return Ok(rows),
            Err(storage::Error::Damaged(damage)) if damage.key >= from => {
                findings.fault(&format!("store: {damage}: the checksum does not match"));
                from = damage.key;
                from.push(0);
            }
            Err(error) if error.is_damage() => {
                findings.fault(&format!("store: {error}"));
                return Ok(rows);
            }
            Err(error) => return Err(Failure::error(error)),
        }
    }
}

/// What is wrong with a row: the two of each revision must say the same.
fn judge(view: &dyn ReadTx, bucket: Bucket, key: &[u8], value: &[u8]) -> Result<(), String> {
    match bucket {
        Bucket::Key => {
            let kv = key_value(key, &bytes::Bytes::copy_from_slice(value));
            let (_, deleted, kv) = kv.map_err(|error| error.to_string())?;
            let row = match view.get(Bucket::Revision, key) {
                // Told where that bucket is read.
                Err(error) if error.is_damage() => return Ok(()),
                row => row.map_err(|error| error.to_string())?,
            };
            let row = row.ok_or("it is not in the index")?;
            let record = revision::decode(row).ok_or("its record in the index cannot be read")?;
            let same = record.key == &kv.key[..]
                && (deleted
                    || (record.create_revision, record.version, record.lease)
                        == (kv.create_revision, kv.version, kv.lease));
            if same { Ok(()) } else { Err("the index says something else of it".to_owned()) }
        }
        Bucket::Revision => match view.get(Bucket::Key, key) {
            Ok(None) => Err("the index has it, and the store does not".to_owned()),
            Err(error) if !error.is_damage() => Err(error.to_string()),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
