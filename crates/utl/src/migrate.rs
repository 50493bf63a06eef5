//! `etcdutl migrate`: the schema of a data dir taken to another version.
//!
//! 3.6 added one entry, `storageVersion` in the meta bucket; 3.7 added none. Going down is refused when
//! the log has entries that the older version cannot apply.

use std::{collections::BTreeMap, path::Path};

use api::{etcdserverpb::InternalRaftRequest, raftpb::EntryType, walpb};
use membership::Version;
use prost::Message;
use serde_json::Value;
use storage::{
    Backend, Bucket, Op,
    engine::{LmdbBackend, LmdbOptions, Share},
    schema,
};
use vfs::os::OsFs;
use wal::Wal;

use crate::{
    Failure, console,
    copy::Edit,
    defrag::rewrite,
    file_store::FileStore,
    open::{self, Database, Timeout},
};

const PLACE: &str = "utl/migrate.rs";
/// The versions of the schema, lowest first.
const KNOWN: [Version; 3] = [version(5), version(6), version(7)];
/// The key of the version in the meta bucket.
const STORAGE_VERSION: &str = "storageVersion";

const fn version(minor: u64) -> Version {
    Version { major: 3, minor, patch: 0 }
}

/// Reads a target, `X.Y`.
pub(crate) fn parse_target(text: &str) -> Result<Version, Failure> {
    let Some((major, minor)) = text.split_once('.').filter(|(_, minor)| !minor.contains('.'))
    else {
        let message = format!("wrong target version format, expected \"X.Y\", got {text:?}");
        return Err(Failure::bad_args(message));
    };
    let number = |part: &str| {
        part.parse::<u64>().map_err(|_| {
            Failure::bad_args(format!(
                "failed to parse target version: strconv.ParseInt: parsing {part:?}: invalid syntax"
            ))
        })
    };
    let target = Version { major: number(major)?, minor: number(minor)?, patch: 0 };
    if target < KNOWN[0] {
        let message = format!("target version {:?} not supported. Minimal \"3.5\"", short(target));
        return Err(Failure::bad_args(message));
    }
    Ok(target)
}

/// Migrates a data dir. With `force`, the version is set even when that is not safe.
pub(crate) fn migrate(
    data_dir: &Path,
    target: Version,
    force: bool,
    timeout: Timeout,
) -> Result<(), Failure> {
    match open::find(data_dir)? {
        Database::File(path) => {
            let db = open::open_db(&path, Share::Nobody, timeout)?;
            let store = FileStore::new(db).map_err(Failure::error)?;
            let Some(change) = plan(&store, data_dir, target, force)? else { return Ok(()) };
            let mut edit = Edit::default();
            match &change.storage_version {
                Some(version) => edit.put(STORAGE_VERSION, version.to_string()),
                None => edit.delete(STORAGE_VERSION),
            }
            let edits = BTreeMap::from([(Bucket::Meta.name().as_bytes().to_vec(), edit)]);
            rewrite(&path, store.db(), edits)?;
            change.tell();
        }
        Database::Store(path) => {
            let store = LmdbBackend::open(&path, LmdbOptions::default()).map_err(Failure::error)?;
            let Some(change) = plan(&store, data_dir, target, force)? else { return Ok(()) };
            let op = match &change.storage_version {
                Some(version) => schema::meta::put_storage_version(&version.to_string()),
                None => Op::Delete { bucket: Bucket::Meta, key: STORAGE_VERSION.into() },
            };
            store.commit(&[op]).map_err(Failure::error)?;
            change.tell();
        }
    }
    Ok(())
}

/// What is to be done.
struct Change {
    /// The version to record; none to remove the record.
    storage_version: Option<Version>,
    /// The versions on the way, the target last; empty when forced.
    steps: Vec<Version>,
}

impl Change {
    fn to(target: Version, steps: Vec<Version>) -> Change {
        Change { storage_version: (target >= KNOWN[1]).then_some(target), steps }
    }

    fn tell(&self) {
        for step in &self.steps {
            let fields = [("new-storage-version", Value::from(step.to_string()))];
            console::info(PLACE, "updated storage version", &fields);
        }
        if !self.steps.is_empty() {
            return;
        }
        match self.storage_version {
            None => console::warn(PLACE, "forcefully cleared storage version", &[]),
            Some(version) => {
                let fields = [("storage-version", Value::from(short(version)))];
                console::warn(PLACE, "forcefully set storage version", &fields);
            }
        }
    }
}

/// Decides what to do; `None` when the version is right already.
fn plan(
    store: &dyn Backend,
    data_dir: &Path,
    target: Version,
    force: bool,
) -> Result<Option<Change>, Failure> {
    let current = detect(store).inspect_err(|_| {
        let message = "failed to detect storage version. Please make sure you are using data dir \
                       from etcd v3.5 and older";
        console::error(PLACE, message, &[]);
    })?;
    if current == target {
        let fields = [("storage-version", Value::from(short(current)))];
        console::info(PLACE, "storage version up-to-date", &fields);
        return Ok(None);
    }
    let needed = needed_by_log(data_dir)?;
    match steps(current, target, needed) {
        Ok(steps) => Ok(Some(Change::to(target, steps))),
        Err(failure) if !force => Err(failure),
        Err(failure) => {
            let fields = [("error", Value::from(failure.to_string()))];
            console::info(PLACE, "normal migrate failed, trying with force", &fields);
            Ok(Some(Change::to(target, Vec::new())))
        }
    }
}

/// The version of the schema: as recorded, or 3.5 when the term is there.
fn detect(store: &dyn Backend) -> Result<Version, Failure> {
    let view = store.read().map_err(Failure::error)?;
    let recorded = schema::meta::read_storage_version(&*view).map_err(Failure::error)?;
    if let Some(text) = recorded {
        let unreadable = || Failure::error(format!("unreadable storage version {text:?}"));
        return Version::parse(&text).ok_or_else(unreadable);
    }
    let consistent = schema::read_consistent(&*view).map_err(Failure::error)?;
    match consistent {
        Some((_, term)) if term.0 > 0 => Ok(KNOWN[0]),
        _ => Err(Failure::error("missing term information")),
    }
}

/// The versions from one to another, if all are known and the log allows it.
fn steps(
    current: Version,
    target: Version,
    needed: Option<Version>,
) -> Result<Vec<Version>, Failure> {
    let no_plan = |why: String| Failure::error(format!("cannot create migration plan: {why}"));
    let (current, target) = (current.minor_only(), target.minor_only());
    if current.major != target.major {
        return Err(no_plan("changing major storage version is not supported".into()));
    }
    let unknown =
        |version: Version| no_plan(format!("version {:?} is not supported", version.to_string()));
    if target > current {
        let between = (current.minor + 1..=target.minor).map(version);
        return between.map(|v| if KNOWN.contains(&v) { Ok(v) } else { Err(unknown(v)) }).collect();
    }
    // What a version added is what going below it takes away.
    let left = (target.minor + 1..=current.minor).rev().map(version);
    let steps = left.map(|v| match KNOWN.contains(&v) {
        true => Ok(version(v.minor - 1)),
        false => Err(unknown(v)),
    });
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    match needed {
        Some(needed) if target < needed => Err(Failure::error(format!(
            "cannot downgrade storage, WAL contains newer entries, as the target version ({target}) \
             is lower than the version ({needed}) detected from WAL logs"
        ))),
        _ => Ok(steps),
    }
}

/// The lowest version that can apply the entries behind the last snapshot of the log, if any needs
/// more than 3.5.
fn needed_by_log(data_dir: &Path) -> Result<Option<Version>, Failure> {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        let fields = [("error", Value::from(error.to_string()))];
        console::error(PLACE, "Failed to finalize config", &fields);
        Failure::error(format!("{what}: {error}"))
    };
    let dir = data_dir.join("member/wal");
    let snapshots = Wal::valid_snapshots(&OsFs, &dir)
        .map_err(|error| failed("failed to get the lastest snapshot", &error))?;
    let at = snapshots.last().cloned().unwrap_or_else(walpb::Snapshot::default);
    let log =
        Wal::read_only(&OsFs, &dir, &at).map_err(|error| failed("failed to open wal", &error))?;
    let mut needed = None;
    for entry in log.entries {
        if entry.r#type != EntryType::EntryNormal as i32 {
            continue;
        }
        let request = InternalRaftRequest::decode(entry.data)
            .map_err(|error| failed("failed to read wal", &error))?;
        // All other fields are of 3.5 and before.
        if let Some(test) = request.downgrade_version_test {
            needed = needed.max(Some(version(6))).max(Version::parse(&test.ver));
        }
    }
    Ok(needed)
}

/// `3.6` of 3.6.0.
fn short(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        assert_eq!(parse_target("3.6").unwrap(), version(6));
        let text = |target: &str| {
            let failure = parse_target(target).unwrap_err();
            assert_eq!(failure.code, 128);
            failure.message
        };
        assert_eq!(text("3"), "wrong target version format, expected \"X.Y\", got \"3\"");
        assert_eq!(text("3.6.0"), "wrong target version format, expected \"X.Y\", got \"3.6.0\"");
        assert_eq!(text("3.4"), "target version \"3.4\" not supported. Minimal \"3.5\"");
        assert_eq!(
            text("a.b"),
            "failed to parse target version: strconv.ParseInt: parsing \"a\": invalid syntax"
        );
    }

    #[test]
    fn steps_up_and_down() {
        let found =
            |from, to, needed: Option<u64>| steps(version(from), version(to), needed.map(version));
        assert_eq!(found(5, 7, None).unwrap(), [version(6), version(7)]);
        assert_eq!(found(7, 5, Some(5)).unwrap(), [version(6), version(5)]);
        let text = |from, to, needed| found(from, to, needed).unwrap_err().message;
        assert_eq!(
            text(7, 8, None),
            "cannot create migration plan: version \"3.8.0\" is not supported"
        );
        assert_eq!(
            text(8, 7, None),
            "cannot create migration plan: version \"3.8.0\" is not supported"
        );
        assert_eq!(
            text(7, 5, Some(6)),
            "cannot downgrade storage, WAL contains newer entries, as the target version (3.5.0) is \
             lower than the version (3.6.0) detected from WAL logs"
        );
        // Going up, the log does not matter.
        assert!(found(5, 6, Some(7)).is_ok());
        let major = steps(version(6), Version { major: 4, minor: 0, patch: 0 }, None);
        assert_eq!(
            major.unwrap_err().message,
            "cannot create migration plan: changing major storage version is not supported"
        );
    }
}
