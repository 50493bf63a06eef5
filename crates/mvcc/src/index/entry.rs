//! One key of the index with its surviving versions.

use api::ids::{LeaseId, Revision};
use mutants::{Mutant, is_on};

/// One version of a key: a put, or a delete with zero create revision and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Main revision of the change.
    pub(crate) main: i64,
    /// Main revision of the put that began the generation.
    pub(crate) create: i64,
    /// Count of puts in the generation.
    pub(crate) version: i64,
    /// Sub revision of the change.
    pub(crate) sub: u32,
    /// Whether the change was a delete.
    pub(crate) deleted: bool,
}

impl Version {
    /// A delete.
    pub(crate) fn delete(revision: Revision) -> Version {
        Version { main: revision.main, create: 0, version: 0, sub: sub(revision), deleted: true }
    }

    /// A put.
    pub(crate) fn put(revision: Revision, create: i64, version: i64) -> Version {
        Version { main: revision.main, create, version, sub: sub(revision), deleted: false }
    }

    /// Where the change stands.
    pub(crate) fn revision(&self) -> Revision {
        Revision { main: self.main, sub: i64::from(self.sub) }
    }
}

fn sub(revision: Revision) -> u32 {
    u32::try_from(revision.sub).expect("a transaction has less than 2^32 changes")
}

/// What the index knows of the current version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMeta {
    /// Main revision of the put that began this generation of the key.
    pub create_revision: i64,
    /// Where the last put stands.
    pub modified: Revision,
    /// Count of puts in this generation.
    pub version: i64,
    /// The lease that the key is attached to; 0 for none.
    pub lease: LeaseId,
}

/// A key. The common one with a single version is held inline: 64 bytes and the key itself.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Box<[u8]>,
    /// The newest version.
    pub(crate) head: Version,
    /// The lease of the newest version. Older ones need none.
    pub(crate) lease: i64,
    /// The versions before, ascending; never an empty vector.
    #[allow(clippy::box_collection, reason = "a thin pointer: most keys have no older versions")]
    older: Option<Box<Vec<Version>>>,
}

impl Entry {
    /// A key with its first version.
    pub(crate) fn new(key: Box<[u8]>, head: Version, lease: i64) -> Entry {
        Entry { key, head, lease, older: None }
    }

    /// Adds a version on top.
    pub(crate) fn push(&mut self, version: Version, lease: i64) {
        debug_assert!(version.revision() > self.head.revision(), "versions of a key ascend");
        self.older.get_or_insert_default().push(self.head);
        self.head = version;
        self.lease = lease;
    }

    /// The versions before the newest, ascending.
    pub(crate) fn older(&self) -> &[Version] {
        self.older.as_deref().map_or(&[], |older| &older[..])
    }

    /// Whether a compaction may find something to remove.
    pub(crate) fn is_stale(&self) -> bool {
        self.older.is_some() || self.head.deleted
    }

    /// The newest version, unless the key is deleted.
    pub(crate) fn current(&self) -> Option<KeyMeta> {
        (!self.head.deleted).then(|| KeyMeta {
            create_revision: self.head.create,
            modified: self.head.revision(),
            version: self.head.version,
            lease: LeaseId(self.lease),
        })
    }

    /// The newest version at main revision `main`, unless the key did not exist there.
    pub(crate) fn at(&self, main: i64) -> Option<&Version> {
        self.newest_at(main).filter(|version| !version.deleted)
    }

    /// Whether the key was deleted at main revision `main` itself, put again or not.
    pub(crate) fn is_deleted_in(&self, main: i64) -> bool {
        let older = self.older();
        let from = older.partition_point(|version| version.main < main);
        let since = older[from..].iter().chain([&self.head]);
        since.take_while(|version| version.main == main).any(|version| version.deleted)
    }

    /// What etcd's hash takes for the newest version at main revision `main`: it does not count a
    /// put that follows a delete of the key in the same transaction.
    pub(crate) fn hashed_at(&self, main: i64) -> Option<&Version> {
        self.at(main).filter(|version| version.main < main || !self.is_deleted_in(main))
    }

    fn newest_at(&self, main: i64) -> Option<&Version> {
        if self.head.main <= main {
            return Some(&self.head);
        }
        let older = self.older();
        let after = older.partition_point(|version| version.main <= main);
        after.checked_sub(1).map(|at| &older[at])
    }

    /// The version just before `revision`, if it is kept and no delete.
    pub(crate) fn before(&self, revision: Revision) -> Option<Revision> {
        let version = if self.head.revision() < revision {
            &self.head
        } else {
            let older = self.older();
            let after = older.partition_point(|version| version.revision() < revision);
            &older[after.checked_sub(1)?]
        };
        (!version.deleted).then(|| version.revision())
    }

    /// What a watcher is shown as replaced by the change at `revision`: the version before its
    /// transaction, as etcd shows it. None when there was none, or when the change creates the key.
    pub(crate) fn replaced_by(&self, revision: Revision) -> Option<Revision> {
        let before = self.before(revision)?;
        if before.main < revision.main {
            return Some(before);
        }
        self.before(Revision { main: revision.main, sub: 0 })
    }

    /// Removes what a compaction at `main` removes, calling `removed` for each version. False when
    /// nothing is left of the key.
    pub(crate) fn compact(&mut self, main: i64, mut removed: impl FnMut(Version)) -> bool {
        let falls = is_on(Mutant::RevisionFalls);
        let (old, last) = (is_on(Mutant::DeleteLost), is_on(Mutant::LastDeleteLost) || falls);
        let drops = |kept: &Version, at_once: bool| {
            kept.deleted && (kept.main < main || (at_once && kept.main == main))
        };
        if self.head.main <= main {
            for version in self.older.take().into_iter().flat_map(|older| *older) {
                removed(version);
            }
            let drop_head = drops(&self.head, last);
            if drop_head {
                removed(self.head);
            }
            return !drop_head;
        }
        let Some(older) = &mut self.older else { return true };
        let Some(kept) = older.partition_point(|version| version.main <= main).checked_sub(1)
        else {
            return true;
        };
        let first = if drops(&older[kept], old) { kept + 1 } else { kept };
        older.drain(..first).for_each(removed);
        if older.is_empty() {
            self.older = None;
        } else if older.capacity() > 4 * older.len() {
            older.shrink_to_fit();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rev(main: i64) -> Revision {
        Revision { main, sub: 0 }
    }

    /// Put at 2, put at 4, delete at 6, put at 8.
    fn entry() -> Entry {
        let mut entry = Entry::new(b"k"[..].into(), Version::put(rev(2), 2, 1), 0);
        entry.push(Version::put(rev(4), 2, 2), 7);
        entry.push(Version::delete(rev(6)), 0);
        entry.push(Version::put(rev(8), 8, 1), 9);
        entry
    }

    fn mains(entry: &Entry) -> Vec<i64> {
        entry.older().iter().chain([&entry.head]).map(|version| version.main).collect()
    }

    #[test]
    fn reads_at_a_revision() {
        let entry = entry();
        let at = |main| entry.at(main).map(|version| (version.main, version.version));
        let expected = [None, None, Some((2, 1)), Some((2, 1)), Some((4, 2)), Some((4, 2))];
        assert_eq!((0..6).map(at).collect::<Vec<_>>(), expected);
        assert_eq!((6..10).map(at).collect::<Vec<_>>(), [None, None, Some((8, 1)), Some((8, 1))]);
        assert_eq!(entry.before(rev(2)), None);
        assert_eq!(entry.before(rev(6)), Some(rev(4)));
        assert_eq!(entry.before(rev(8)), None);
        assert_eq!(entry.before(rev(9)), Some(rev(8)));
        assert_eq!(std::mem::size_of::<Entry>(), 64);
    }

    #[test]
    fn a_put_after_a_delete_in_one_transaction_is_not_hashed() {
        let mut entry = Entry::new(b"k"[..].into(), Version::put(rev(2), 2, 1), 0);
        entry.push(Version::delete(rev(3)), 0);
        entry.push(Version::put(Revision { main: 3, sub: 1 }, 3, 1), 0);
        assert!(entry.is_deleted_in(3) && !entry.is_deleted_in(2) && !entry.is_deleted_in(4));
        assert_eq!(entry.at(3).map(|version| version.sub), Some(1));
        assert_eq!(entry.hashed_at(3), None);
        assert_eq!(entry.hashed_at(4).map(|version| version.sub), Some(1));
        entry.push(Version::put(rev(5), 3, 2), 0);
        assert!(entry.is_deleted_in(3));
        assert_eq!(entry.hashed_at(2).map(|version| version.main), Some(2));
        assert_eq!(entry.hashed_at(3), None);
    }

    #[test]
    fn compaction_keeps_the_newest_and_a_delete_at_the_very_revision() {
        let cases: [(i64, &[i64]); 9] = [
            (1, &[2, 4, 6, 8]),
            (2, &[2, 4, 6, 8]),
            (3, &[2, 4, 6, 8]),
            (4, &[4, 6, 8]),
            (5, &[4, 6, 8]),
            (6, &[6, 8]),
            (7, &[8]),
            (8, &[8]),
            (9, &[8]),
        ];
        for (main, kept) in cases {
            let (mut entry, mut removed) = (entry(), Vec::new());
            assert!(entry.compact(main, |version| removed.push(version.main)));
            assert_eq!(mains(&entry), kept, "compacted at {main}");
            removed.extend(kept);
            assert_eq!(removed, [2, 4, 6, 8]);
        }
        let mut dead = Entry::new(b"k"[..].into(), Version::put(rev(2), 2, 1), 0);
        dead.push(Version::delete(rev(3)), 0);
        assert!(dead.compact(3, |version| assert_eq!(version.main, 2)));
        assert!(!dead.compact(4, |version| assert_eq!(version.main, 3)));
    }
}
