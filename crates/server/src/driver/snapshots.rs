//! The files of snapshots in `member/snap`: which ones may go.
//!
//! A `.snap` file is written for older releases and tools; the store and the log do without. A
//! `.snap.db` file is a database of the leader, needed until the store has taken it over.

use std::{fs, io, path::Path};

use api::ids::RaftIndex;

/// Removes the oldest files beyond `keep` of each kind.
pub(crate) fn purge(snap_dir: &Path, keep: usize) {
    for suffix in [".snap", ".snap.db"] {
        if let Err(error) = purge_kind(snap_dir, suffix, keep) {
            tracing::warn!(%error, suffix, "failed to purge snapshot files");
        }
    }
}

fn purge_kind(snap_dir: &Path, suffix: &str, keep: usize) -> io::Result<()> {
    let mut names = named(snap_dir, suffix)?;
    names.sort_unstable();
    let surplus = names.len().saturating_sub(keep);
    for name in &names[..surplus] {
        fs::remove_file(snap_dir.join(name))?;
        tracing::info!(path = %snap_dir.join(name).display(), "purged");
    }
    Ok(())
}

/// Removes databases of the leader that the store has taken over, or that are older than it.
pub(crate) fn remove_covered(snap_dir: &Path, applied: RaftIndex) {
    let remove = || -> io::Result<()> {
        for name in named(snap_dir, ".snap.db")? {
            let index = name.strip_suffix(".snap.db").map(|hex| u64::from_str_radix(hex, 16));
            if matches!(index, Some(Ok(index)) if index <= applied.0) {
                fs::remove_file(snap_dir.join(&name))?;
            }
        }
        Ok(())
    };
    if let Err(error) = remove() {
        tracing::warn!(%error, "failed to remove databases of snapshots");
    }
}

fn named(snap_dir: &Path, suffix: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(snap_dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(suffix) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_each_kind_stay() {
        let dir = tempfile::tempdir().unwrap();
        let touch = |name: String| fs::write(dir.path().join(name), b"").unwrap();
        for index in 0..6 {
            touch(format!("{:016x}-{index:016x}.snap", 2));
            touch(format!("{index:016x}.snap.db"));
        }
        touch("db".into());
        touch("x.snap.broken".into());
        purge(dir.path(), 2);
        let kept = |suffix| {
            let mut names = named(dir.path(), suffix).unwrap();
            names.sort();
            names
        };
        assert_eq!(
            kept(".snap"),
            ["0000000000000002-0000000000000004.snap", "0000000000000002-0000000000000005.snap"]
        );
        assert_eq!(kept(".snap.db"), ["0000000000000004.snap.db", "0000000000000005.snap.db"]);
        remove_covered(dir.path(), RaftIndex(4));
        assert_eq!(kept(".snap.db"), ["0000000000000005.snap.db"]);
        assert!(dir.path().join("db").exists() && dir.path().join("x.snap.broken").exists());
    }
}
