//! The checksum of a bbolt file that has arrived, in a file beside it.
//!
//! A database of the leader lies on the disk from its arrival until it has become the store, and
//! bbolt's format has no checksums of what it holds: a bit that turned over meanwhile would be
//! given a new checksum in the store and taken for right. The file beside it has the name of the
//! database and `.crc32c`, and holds eight hex digits. Databases that another program has put
//! there have none, and are not checked.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, ErrorKind, Read, Write},
    path::{Path, PathBuf},
};

/// What the name of the file with the checksum ends with, after that of the database.
pub const SUM_SUFFIX: &str = ".crc32c";

/// How the name of one that is being written begins, as those of databases that are arriving do: a
/// start removes both.
const TEMPORARY: &str = "tmp-";

/// So much is read at a time.
const PART_BYTES: usize = 1 << 20;

/// The checksum of a database that is being written: CRC-32C of all its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DbSum(u32);

impl DbSum {
    /// Takes in what follows.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    /// The checksum of a database on the disk.
    pub fn of(db: &Path) -> io::Result<DbSum> {
        let mut file = File::open(db)?;
        let mut sum = DbSum::default();
        let mut part = vec![0; PART_BYTES];
        loop {
            match file.read(&mut part)? {
                0 => return Ok(sum),
                read => sum.add(&part[..read]),
            }
        }
    }

    /// Writes the checksum beside the database: a crash leaves a whole one or none. Its name is
    /// durable when the folder is synced.
    pub fn save(self, db: &Path) -> io::Result<()> {
        let path = sum_path(db);
        let mut name = OsString::from(TEMPORARY);
        name.push(path.file_name().unwrap_or_default());
        let temporary = path.with_file_name(name);
        let mut file = File::create(&temporary)?;
        writeln!(file, "{:08x}", self.0)?;
        file.sync_all()?;
        fs::rename(temporary, path)
    }

    /// Compares a database with the checksum beside it. Fails with [`ErrorKind::InvalidData`] when
    /// they differ; without one there is nothing to compare.
    pub fn verify(db: &Path) -> io::Result<()> {
        let wanted = match fs::read_to_string(sum_path(db)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            text => text?,
        };
        let sum = DbSum::of(db)?;
        if u32::from_str_radix(wanted.trim_end(), 16) == Ok(sum.0) {
            return Ok(());
        }
        let text = format!(
            "the file is damaged: it arrived with checksum {}, and has {:08x} now",
            wanted.trim_end(),
            sum.0
        );
        Err(io::Error::new(ErrorKind::InvalidData, text))
    }

    /// Removes the checksum of a database, if there is one.
    pub fn forget(db: &Path) -> io::Result<()> {
        match fs::remove_file(sum_path(db)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn sum_path(db: &Path) -> PathBuf {
    let mut path = db.as_os_str().to_owned();
    path.push(SUM_SUFFIX);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts() {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("0000000000000007.snap.db");
        let content: Vec<u8> = (0..PART_BYTES + 7).map(|at| (at / 3) as u8).collect();
        fs::write(&db, &content).unwrap();
        DbSum::verify(&db).expect("nothing to compare with");
        let mut sum = DbSum::default();
        content.chunks(1000).for_each(|chunk| sum.add(chunk));
        sum.save(&db).unwrap();
        DbSum::verify(&db).expect("as it arrived");
        for at in [0, 5000, PART_BYTES, PART_BYTES + 6] {
            let mut content = content.clone();
            content[at] ^= 1 << (at % 8);
            fs::write(&db, content).unwrap();
            let error = DbSum::verify(&db).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        }
        fs::write(&db, &content[..PART_BYTES]).unwrap();
        DbSum::verify(&db).unwrap_err();
        fs::write(&db, &content).unwrap();
        fs::write(dir.path().join("0000000000000007.snap.db.crc32c"), "x").unwrap();
        DbSum::verify(&db).unwrap_err();
        DbSum::forget(&db).unwrap();
        DbSum::verify(&db).unwrap();
        DbSum::forget(&db).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
