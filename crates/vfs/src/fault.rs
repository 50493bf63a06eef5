//! A file system that fails on demand.
//!
//! [`FaultFs`] wraps another one and counts operations by kind. A plan names the n-th operation of
//! a kind, from now on, and what happens to it. A plan is used once; what follows it succeeds
//! again, so that a test sees whether its subject really stopped.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use parking_lot::Mutex;

use crate::{File, Fs, OpenMode};

/// The kinds of operations a plan can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// [`Fs::open`].
    Open,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`], also as part of `append` and `zero`.
    Write,
    /// [`File::preallocate`].
    Preallocate,
    /// [`File::truncate`].
    Truncate,
    /// [`File::sync_data`] and [`File::sync_all`].
    Sync,
    /// [`Fs::sync_dir`].
    SyncDir,
    /// [`Fs::rename`].
    Rename,
    /// [`Fs::remove`] and [`Fs::remove_dir_all`].
    Remove,
    /// [`File::try_lock`].
    Lock,
}

/// What happens to a planned operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing and gives this error of the operating system (`libc::EIO`, ...).
    Error(i32),
    /// A write writes only its first bytes, at most this many, then gives "no space left".
    /// On any other operation the same as that error.
    ShortWrite(usize),
}

#[derive(Default)]
struct State {
    counts: BTreeMap<Operation, u64>,
    plans: BTreeMap<(Operation, u64), Fault>,
}

/// A wrapper that fails the operations it was told to fail. Clones share plans and counts.
#[derive(Clone)]
pub struct FaultFs {
    inner: Arc<dyn Fs>,
    state: Arc<Mutex<State>>,
}

struct FaultFile {
    inner: Box<dyn File>,
    state: Arc<Mutex<State>>,
}

impl FaultFs {
    /// Wraps `inner`, with no plan.
    pub fn new(inner: Arc<dyn Fs>) -> FaultFs {
        FaultFs { inner, state: Arc::default() }
    }

    /// Plans `fault` for the `nth` operation of that kind from now on; 1 is the next one.
    pub fn fail(&self, operation: Operation, nth: u64, fault: Fault) {
        assert!(nth > 0, "operations are counted from 1");
        let mut state = self.state.lock();
        let count = state.counts.get(&operation).copied().unwrap_or(0);
        state.plans.insert((operation, count + nth), fault);
    }

    /// How many operations of that kind there were so far, failed ones included.
    pub fn count(&self, operation: Operation) -> u64 {
        self.state.lock().counts.get(&operation).copied().unwrap_or(0)
    }

    /// Whether every plan was used.
    pub fn exhausted(&self) -> bool {
        self.state.lock().plans.is_empty()
    }
}

impl State {
    fn next(&mut self, operation: Operation) -> Option<Fault> {
        let count = self.counts.entry(operation).or_default();
        *count += 1;
        self.plans.remove(&(operation, *count))
    }
}

/// Counts the operation; gives its planned error, if any.
fn check(state: &Mutex<State>, operation: Operation) -> io::Result<()> {
    match state.lock().next(operation) {
        None => Ok(()),
        Some(Fault::Error(code)) => Err(io::Error::from_raw_os_error(code)),
        Some(Fault::ShortWrite(_)) => Err(no_space()),
    }
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOSPC)
}

impl Fs for FaultFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        check(&self.state, Operation::Open)?;
        let inner = self.inner.open(path, mode)?;
        Ok(Box::new(FaultFile { inner, state: Arc::clone(&self.state) }))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        check(&self.state, Operation::SyncDir)?;
        self.inner.sync_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check(&self.state, Operation::Rename)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        check(&self.state, Operation::Remove)?;
        self.inner.remove(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        check(&self.state, Operation::Remove)?;
        self.inner.remove_dir_all(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.inner.len(path)
    }
}

impl File for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        check(&self.state, Operation::Read)?;
        self.inner.read_at(buf, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let fault = self.state.lock().next(Operation::Write);
        match fault {
            None => self.inner.write_at(data, offset),
            Some(Fault::Error(code)) => Err(io::Error::from_raw_os_error(code)),
            Some(Fault::ShortWrite(bytes)) => {
                self.inner.write_at(&data[..bytes.min(data.len())], offset)?;
                Err(no_space())
            }
        }
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        check(&self.state, Operation::Preallocate)?;
        self.inner.preallocate(len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        check(&self.state, Operation::Truncate)?;
        self.inner.truncate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        check(&self.state, Operation::Sync)?;
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        check(&self.state, Operation::Sync)?;
        self.inner.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn try_lock(&self) -> io::Result<bool> {
        check(&self.state, Operation::Lock)?;
        self.inner.try_lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::MemFs;

    #[test]
    fn fails_the_nth_operation_once() {
        let fs = FaultFs::new(Arc::new(MemFs::new()));
        let file = fs.open(Path::new("/a"), OpenMode::Create).unwrap();
        fs.fail(Operation::Write, 2, Fault::Error(libc::EIO));
        file.write_at(b"one", 0).unwrap();
        assert_eq!(file.write_at(b"two", 3).unwrap_err().raw_os_error(), Some(libc::EIO));
        assert!(fs.exhausted());
        file.write_at(b"three", 3).unwrap();
        assert_eq!(fs.read(Path::new("/a")).unwrap(), b"onethree");
        assert_eq!(fs.count(Operation::Write), 3);
    }

    #[test]
    fn short_write_leaves_its_first_bytes() {
        let fs = FaultFs::new(Arc::new(MemFs::new()));
        let file = fs.open(Path::new("/a"), OpenMode::Create).unwrap();
        fs.fail(Operation::Write, 1, Fault::ShortWrite(2));
        let error = file.write_at(b"abcdef", 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(fs.read(Path::new("/a")).unwrap(), b"ab");
    }
}
