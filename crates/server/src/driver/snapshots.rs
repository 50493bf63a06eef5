//! The files of snapshots in `member/snap`: which ones may go.
//!
//! A `.snap` file is written for older releases and tools; the store and the log do without. A
//! `.snap.db` file is a database of the leader, needed until the store has taken it over.

use std::{fs, io, path::Path, time::Duration};

use api::ids::RaftIndex;
use storage::engine::{DbSum, SUM_SUFFIX};

/// What the names of databases of the leader end with.
const DATABASE: &str = ".snap.db";

/// Removes the oldest files beyond `keep` of each kind. Of databases only those go that are older
/// than `index`, where the log begins: the one of that index may be about to become the store.
pub(crate) fn purge(snap_dir: &Path, keep: usize, index: RaftIndex) {
    let is_old = |name: &str| index_of(name).is_some_and(|of| of < index.0);
    let purged = purge_kind(snap_dir, ".snap", keep, |_| true)
        .and_then(|()| purge_kind(snap_dir, DATABASE, keep, is_old));
    if let Err(error) = purged {
        tracing::warn!(%error, "failed to purge snapshot files");
    }
}

fn purge_kind(
    snap_dir: &Path,
    suffix: &str,
    keep: usize,
    may_go: impl Fn(&str) -> bool,
) -> io::Result<()> {
    let mut names = named(snap_dir, suffix)?;
    names.sort_unstable();
    let surplus = names.len().saturating_sub(keep);
    for name in names[..surplus].iter().filter(|name| may_go(name)) {
        fs::remove_file(snap_dir.join(name))?;
        DbSum::forget(&snap_dir.join(name))?;
        tracing::info!(path = %snap_dir.join(name).display(), "purged");
    }
    Ok(())
}

/// The index in the name of a database.
fn index_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(DATABASE)?, 16).ok()
}

/// Removes databases of the leader that the store has taken over, or that are older than it.
pub(crate) fn remove_covered(snap_dir: &Path, applied: RaftIndex) {
    let remove = || -> io::Result<()> {
        for name in named(snap_dir, DATABASE)? {
            if index_of(&name).is_some_and(|index| index <= applied.0) {
                remove_slowly(snap_dir, &name)?;
            }
        }
        // A crash can have left the checksum of a database that never came.
        for name in named(snap_dir, &format!("{DATABASE}{SUM_SUFFIX}"))? {
            let database = name.trim_end_matches(SUM_SUFFIX);
            if index_of(database).is_some_and(|index| index <= applied.0) {
                DbSum::forget(&snap_dir.join(database))?;
            }
        }
        Ok(())
    };
    if let Err(error) = remove() {
        tracing::warn!(%error, "failed to remove databases of snapshots");
    }
}

/// What a file that goes is called; a start removes what is left under such names.
const GOING: &str = "tmp-";
/// So much of it goes at a time.
const GOING_BYTES: u64 = 4 << 20;
/// Pause between two such steps.
const GOING_PAUSE: Duration = Duration::from_millis(20);

/// Takes the file from its name at once, and gives its room back in small steps, aside: a file system
/// that discards what it frees keeps everybody waiting who shares the disk.
fn remove_slowly(snap_dir: &Path, name: &str) -> io::Result<()> {
    let going = snap_dir.join(format!("{GOING}{}", name.trim_end_matches(DATABASE)));
    fs::rename(snap_dir.join(name), &going)?;
    let aside = going.clone();
    let work = move || shrink(&aside);
    match std::thread::Builder::new().name("snap-gone".to_owned()).spawn(work) {
        Ok(_detached) => Ok(()),
        Err(_) => fs::remove_file(&going),
    }
}

/// Makes the file shorter until nothing is left of it. Whatever fails, the next start removes it.
fn shrink(path: &Path) {
    let file = fs::File::options().write(true).open(path);
    let mut left = fs::metadata(path).map_or(0, |file| file.len());
    while let (Ok(file), true) = (&file, left > GOING_BYTES) {
        left -= GOING_BYTES;
        if file.set_len(left).is_err() {
            break;
        }
        std::thread::sleep(GOING_PAUSE);
    }
    let _ = fs::remove_file(path);
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
        purge(dir.path(), 2, RaftIndex(9));
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

    #[test]
    fn what_goes_has_lost_its_name_and_then_its_room() {
        let dir = tempfile::tempdir().unwrap();
        let name = format!("{:016x}.snap.db", 3);
        fs::write(dir.path().join(&name), vec![1; 2 * GOING_BYTES as usize + 1]).unwrap();
        remove_covered(dir.path(), RaftIndex(3));
        assert!(named(dir.path(), DATABASE).unwrap().is_empty());
        while fs::read_dir(dir.path()).unwrap().count() > 0 {
            std::thread::sleep(GOING_PAUSE);
        }
    }

    /// The next one may have arrived before the store has followed the log to the first.
    #[test]
    fn a_database_that_is_still_needed_stays() {
        let dir = tempfile::tempdir().unwrap();
        for index in [3, 5, 7] {
            fs::write(dir.path().join(format!("{index:016x}.snap.db")), b"").unwrap();
        }
        purge(dir.path(), 1, RaftIndex(5));
        let mut kept = named(dir.path(), DATABASE).unwrap();
        kept.sort();
        assert_eq!(kept, ["0000000000000005.snap.db", "0000000000000007.snap.db"]);
    }
}
