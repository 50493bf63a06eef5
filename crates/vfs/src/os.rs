//! The real file system, through `std::fs` and two system calls std does not have.
//!
//! Locks are open file description locks, as etcd takes them on Linux: they exclude a real etcd on
//! the same files, and a second handle of this process. They belong to the handle and survive a
//! rename.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::AsRawFd,
        unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    },
    path::Path,
};

use crate::{File, Fs, OpenMode};

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

struct OsFile(fs::File);

impl Fs for OsFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::Truncate => options.write(true).create(true).truncate(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Box::new(OsFile(options.open(path)?)))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // The parent of a bare name is the empty path, which stands for the working directory.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::File::open(dir)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }
}

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let length = libc::off_t::try_from(len).map_err(io::Error::other)?;
        loop {
            // SAFETY: a plain system call on a descriptor this handle keeps open.
            let result = unsafe { libc::fallocate(self.0.as_raw_fd(), 0, 0, length) };
            if result == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // The file system cannot reserve: at least give the file its length.
                Some(libc::EOPNOTSUPP) if self.len()? < len => return self.0.set_len(len),
                Some(libc::EOPNOTSUPP) => return Ok(()),
                _ => return Err(error),
            }
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn try_lock(&self) -> io::Result<bool> {
        // SAFETY: all zeros is a valid `flock`: whole file, no owner, as this kind of lock wants.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        // SAFETY: a plain system call; `lock` outlives it.
        let result = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_OFD_SETLK, &lock) };
        if result == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => Ok(false),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_on_the_real_disk() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        OsFs.create_dir_all(&at("d/e")).unwrap();
        let file = OsFs.open(&at("d/e/a"), OpenMode::CreateNew).unwrap();
        let error = OsFs.open(&at("d/e/a"), OpenMode::CreateNew).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        file.preallocate(10_000).unwrap();
        file.preallocate(5).unwrap();
        file.write_at(b"hello", 3).unwrap();
        file.append(b"end").unwrap();
        file.zero(4, 6).unwrap();
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        OsFs.rename(&at("d/e/a"), &at("d/b")).unwrap();
        OsFs.sync_dir(&at("d")).unwrap();
        let data = OsFs.read(&at("d/b")).unwrap();
        assert_eq!(data.len(), 10_003);
        assert_eq!((&data[..9], &data[10_000..]), (&b"\0\0\0h\0\0lo\0"[..], &b"end"[..]));
        file.truncate(4).unwrap();
        assert_eq!(OsFs.len(&at("d/b")).unwrap(), 4);
        assert_eq!(OsFs.list(&at("d")).unwrap(), ["b", "e"]);
        OsFs.remove(&at("d/b")).unwrap();
        OsFs.remove_dir_all(&at("d")).unwrap();
        OsFs.remove_dir_all(&at("d")).unwrap();
        assert!(!OsFs.exists(&at("d")).unwrap());
    }

    #[test]
    fn a_lock_excludes_other_handles_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let first = OsFs.open(&path, OpenMode::Create).unwrap();
        let second = OsFs.open(&path, OpenMode::Write).unwrap();
        assert!(first.try_lock().unwrap());
        assert!(first.try_lock().unwrap());
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
    }
}
