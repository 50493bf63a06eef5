//! A file system in memory that can lose power.
//!
//! It keeps what was written apart from what was synced: [`MemFs::crash_clone`] returns what a disk
//! may hold after a crash, chosen by a seed: of each unsynced 512-byte sector the old or the new
//! content, of each unsynced change of a directory before or after.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{File, Fs};

const SECTOR: usize = 512;

/// See the module. Clones share the files.
#[derive(Clone, Default)]
pub struct MemFs {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Names of files as they are now.
    names: BTreeMap<PathBuf, usize>,
    /// Names of files as they are durable.
    durable: BTreeMap<PathBuf, usize>,
    dirs: Vec<PathBuf>,
    inodes: Vec<Inode>,
}

#[derive(Clone, Default)]
struct Inode {
    data: Vec<u8>,
    synced: Vec<u8>,
    locked: bool,
}

struct MemFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    holds_lock: bool,
}

/// A small generator (splitmix64): the same seed gives the same crash.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

impl MemFs {
    /// An empty file system.
    pub fn new() -> MemFs {
        MemFs::default()
    }

    /// What may be left after power was lost now.
    pub fn crash_clone(&self, seed: u64) -> MemFs {
        let mut random = Random(seed);
        let state = self.state.lock();
        let mut names = state.durable.clone();
        let mut paths: Vec<&PathBuf> = state.names.keys().chain(state.durable.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let (now, then) = (state.names.get(path), state.durable.get(path));
            if now != then && random.coin() {
                match now {
                    Some(inode) => names.insert(path.clone(), *inode),
                    None => names.remove(path),
                };
            }
        }
        let inodes = state.inodes.iter().map(|inode| inode.after_crash(&mut random)).collect();
        let crashed = State { durable: names.clone(), names, dirs: state.dirs.clone(), inodes };
        MemFs { state: Arc::new(Mutex::new(crashed)) }
    }
}

impl Inode {
    fn after_crash(&self, random: &mut Random) -> Inode {
        let grown = self.data.len() != self.synced.len() && random.coin();
        let len = if grown { self.data.len() } else { self.synced.len() };
        let mut data = vec![0; len];
        for start in (0..len).step_by(SECTOR) {
            let end = (start + SECTOR).min(len);
            let source = if random.coin() { &self.data } else { &self.synced };
            let until = end.min(source.len());
            if until > start {
                data[start..until].copy_from_slice(&source[start..until]);
            }
        }
        Inode { synced: data.clone(), data, locked: false }
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state.lock();
        let data = &state.inodes[self.inode].data;
        let start = usize::try_from(offset).map_err(io::Error::other)?.min(data.len());
        let read = buf.len().min(data.len() - start);
        buf[..read].copy_from_slice(&data[start..start + read]);
        Ok(read)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let data = &mut state.inodes[self.inode].data;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + bytes.len();
        if data.len() < end {
            data.resize(end, 0);
        }
        data[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.state.lock().inodes[self.inode].data.resize(len, 0);
        Ok(())
    }

    fn preallocate(&mut self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = &mut state.inodes[self.inode];
        inode.synced.clone_from(&inode.data);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().inodes[self.inode].data.len() as u64)
    }

    fn try_lock(&mut self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.inodes[self.inode].locked && !self.holds_lock {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.inodes[self.inode].locked = true;
        self.holds_lock = true;
        Ok(())
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        if self.holds_lock {
            self.state.lock().inodes[self.inode].locked = false;
        }
    }
}

impl MemFs {
    fn file(&self, inode: usize) -> Box<dyn File> {
        Box::new(MemFile { state: self.state.clone(), inode, holds_lock: false })
    }
}

impl Fs for MemFs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state.lock();
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(path.to_owned(), inode);
        Ok(self.file(inode))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let inode = self.state.lock().names.get(path).copied();
        inode.map(|inode| self.file(inode)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some(inode) = state.names.remove(from) {
            state.names.insert(to.to_owned(), inode);
            return Ok(());
        }
        // A directory: its files move with it, durably, as one step.
        let inside = |path: &PathBuf| path.starts_with(from);
        let moved: Vec<PathBuf> = state.names.keys().filter(|path| inside(path)).cloned().collect();
        if moved.is_empty() && !state.dirs.iter().any(|dir| dir == from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let renamed = |path: &Path| to.join(path.strip_prefix(from).expect("filtered above"));
        for path in moved {
            let inode = state.names.remove(&path).expect("listed above");
            state.names.insert(renamed(&path), inode);
            if let Some(durable) = state.durable.remove(&path) {
                state.durable.insert(renamed(&path), durable);
            }
        }
        state.dirs.retain(|dir| dir != from);
        state.dirs.push(to.to_owned());
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let removed = self.state.lock().names.remove(path);
        removed.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.names.retain(|name, _| !name.starts_with(path));
        state.durable.retain(|name, _| !name.starts_with(path));
        state.dirs.retain(|dir| !dir.starts_with(path));
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if !state.dirs.iter().any(|dir| dir == path) {
            state.dirs.push(path.to_owned());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|p| Some(p.file_name()?.to_string_lossy().into_owned())).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        Ok(state.names.contains_key(path) || state.dirs.iter().any(|dir| dir == path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let in_dir = |path: &Path| path.parent() == Some(dir);
        state.durable.retain(|path, _| !in_dir(path));
        let State { names, durable, .. } = &mut *state;
        durable.extend(names.iter().filter(|(p, _)| in_dir(p)).map(|(p, i)| (p.clone(), *i)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_keeps_what_was_synced() {
        let fs = MemFs::new();
        let path = Path::new("/d/f");
        fs.create_dir_all(Path::new("/d")).unwrap();
        let mut file = fs.create(path).unwrap();
        file.write_at(&[1; 2000], 0).unwrap();
        file.sync_data().unwrap();
        fs.sync_dir(Path::new("/d")).unwrap();
        file.write_at(&[2; 2000], 1000).unwrap();
        let mut torn = 0;
        for seed in 0..50 {
            let crashed = fs.crash_clone(seed);
            let data = crate::read_all(&*crashed.open(path).unwrap()).unwrap();
            assert_eq!(&data[..512], &[1; 512][..], "a synced sector changed");
            torn += usize::from(data.contains(&1) && data[1024..].contains(&2));
        }
        assert!(torn > 0, "no crash left a part of the unsynced write");
    }

    #[test]
    fn an_unsynced_name_may_be_lost_and_a_lock_is_exclusive() {
        let fs = MemFs::new();
        let mut first = fs.create(Path::new("/x")).unwrap();
        let found = |seed| fs.crash_clone(seed).exists(Path::new("/x")).unwrap();
        assert!((0..20).any(found) && !(0..20).all(found));
        first.try_lock().unwrap();
        assert!(fs.open(Path::new("/x")).unwrap().try_lock().is_err());
        drop(first);
        fs.open(Path::new("/x")).unwrap().try_lock().unwrap();
    }
}
