//! Files and directories in memory, with what a loss of power would leave of them.
//!
//! Every file and directory is there twice: as programs see it, and as the medium has it. Between the
//! two stand the changes that nobody has synced, in order. `fsync` of a file makes its content durable
//! and not its name; `fsync` of a directory makes its names durable and not what is in its files: what
//! POSIX promises, and no more.
//!
//! A loss of power leaves of each file's changes all, none or some, cut at sectors; of each
//! directory's changes a first part. A rename within a directory is one change.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
};

use rand::{Rng, rngs::SmallRng};

use super::content::{Content, PAGE};

/// What a disk writes as a whole.
const SECTOR: usize = 512;
/// The number of the root directory.
pub(super) const ROOT: u64 = 1;

/// An error number of the system.
pub(super) type Errno = i32;

/// A change of a file that is not synced.
enum Change {
    Write { offset: u64, data: Data },
    Size(u64),
}

/// What was written; zeros take no room.
enum Data {
    Bytes(Vec<u8>),
    Zeros(usize),
}

impl Data {
    fn of(data: &[u8]) -> Data {
        match data.iter().all(|byte| *byte == 0) {
            true => Data::Zeros(data.len()),
            false => Data::Bytes(data.to_vec()),
        }
    }

    fn bytes(&self) -> std::borrow::Cow<'_, [u8]> {
        match self {
            Data::Bytes(bytes) => bytes.into(),
            Data::Zeros(len) => vec![0; *len].into(),
        }
    }
}

#[derive(Default)]
pub(super) struct File {
    pub(super) now: Content,
    durable: Content,
    pending: Vec<Change>,
}

type Names = BTreeMap<OsString, u64>;

#[derive(Default)]
pub(super) struct Dir {
    pub(super) now: Names,
    durable: Names,
    /// Each change sets or removes names, all at once.
    pending: Vec<Vec<(OsString, Option<u64>)>>,
}

pub(super) enum Kind {
    File(File),
    Dir(Dir),
}

pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) mode: u32,
    /// How often the kernel was told of it and has not forgotten it.
    lookups: u64,
}

impl Node {
    fn new(kind: Kind, mode: u32) -> Node {
        Node { kind, mode, lookups: 0 }
    }

    pub(super) fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(file) => file.now.size,
            Kind::Dir(_) => PAGE as u64,
        }
    }
}

/// What a loss of power took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Changes of files and directories that nobody had synced.
    pub unsynced: usize,
    /// Of those, the ones that are not there any more, in whole or in part.
    pub lost: usize,
}

/// All files and directories of a disk.
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Set while there is no room.
    pub(super) full: bool,
    /// Set while every sync fails.
    pub(super) failing: bool,
}

impl Tree {
    pub(super) fn new() -> Tree {
        let root = Node::new(Kind::Dir(Dir::default()), 0o755);
        let nodes = BTreeMap::from([(ROOT, root)]);
        Tree { nodes, next: ROOT + 1, full: false, failing: false }
    }

    pub(super) fn node(&self, ino: u64) -> Result<&Node, Errno> {
        self.nodes.get(&ino).ok_or(libc::ENOENT)
    }

    pub(super) fn node_mut(&mut self, ino: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&ino).ok_or(libc::ENOENT)
    }

    pub(super) fn file(&self, ino: u64) -> Result<&File, Errno> {
        match &self.node(ino)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir(_) => Err(libc::EISDIR),
        }
    }

    fn file_mut(&mut self, ino: u64) -> Result<&mut File, Errno> {
        match &mut self.node_mut(ino)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir(_) => Err(libc::EISDIR),
        }
    }

    pub(super) fn dir(&self, ino: u64) -> Result<&Dir, Errno> {
        match &self.node(ino)?.kind {
            Kind::Dir(dir) => Ok(dir),
            Kind::File(_) => Err(libc::ENOTDIR),
        }
    }

    fn dir_mut(&mut self, ino: u64) -> Result<&mut Dir, Errno> {
        match &mut self.node_mut(ino)?.kind {
            Kind::Dir(dir) => Ok(dir),
            Kind::File(_) => Err(libc::ENOTDIR),
        }
    }

    pub(super) fn lookup(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.dir(parent)?.now.get(name).copied().ok_or(libc::ENOENT)
    }

    /// The kernel is told of a node.
    pub(super) fn told(&mut self, ino: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups += 1;
        }
    }

    /// The kernel forgets some of that.
    pub(super) fn forget(&mut self, ino: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(count);
        }
    }

    fn change(&mut self, parent: u64, names: Vec<(OsString, Option<u64>)>) -> Result<(), Errno> {
        let dir = self.dir_mut(parent)?;
        set(&mut dir.now, &names);
        dir.pending.push(names);
        Ok(())
    }

    pub(super) fn create(
        &mut self,
        parent: u64,
        name: &OsStr,
        is_dir: bool,
        mode: u32,
    ) -> Result<u64, Errno> {
        if self.dir(parent)?.now.contains_key(name) {
            return Err(libc::EEXIST);
        }
        if self.full {
            return Err(libc::ENOSPC);
        }
        let kind = match is_dir {
            true => Kind::Dir(Dir::default()),
            false => Kind::File(File::default()),
        };
        let ino = self.next;
        self.next += 1;
        self.nodes.insert(ino, Node::new(kind, mode));
        self.change(parent, vec![(name.to_owned(), Some(ino))])?;
        Ok(ino)
    }

    pub(super) fn remove(&mut self, parent: u64, name: &OsStr, dir: bool) -> Result<(), Errno> {
        let ino = self.lookup(parent, name)?;
        match (&self.node(ino)?.kind, dir) {
            (Kind::Dir(_), false) => return Err(libc::EISDIR),
            (Kind::File(_), true) => return Err(libc::ENOTDIR),
            (Kind::Dir(dir), true) if !dir.now.is_empty() => return Err(libc::ENOTEMPTY),
            _ => {}
        }
        self.change(parent, vec![(name.to_owned(), None)])
    }

    pub(super) fn rename(
        &mut self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        replace: bool,
    ) -> Result<(), Errno> {
        let ino = self.lookup(from.0, from.1)?;
        match self.lookup(to.0, to.1) {
            Ok(_) if !replace => return Err(libc::EEXIST),
            Ok(old) if old == ino => return Ok(()),
            Ok(old) => match &self.node(old)?.kind {
                Kind::Dir(dir) if !dir.now.is_empty() => return Err(libc::ENOTEMPTY),
                _ => {}
            },
            Err(_) => {}
        }
        let (gone, come) = ((from.1.to_owned(), None), (to.1.to_owned(), Some(ino)));
        if from.0 == to.0 {
            return self.change(from.0, vec![gone, come]);
        }
        self.change(to.0, vec![come])?;
        self.change(from.0, vec![gone])
    }

    /// Writes; with `sync` what is written is durable at once.
    pub(super) fn write(
        &mut self,
        ino: u64,
        offset: u64,
        data: &[u8],
        sync: bool,
    ) -> Result<(), Errno> {
        let (full, failing) = (self.full, self.failing);
        let file = self.file_mut(ino)?;
        let end = offset + data.len() as u64;
        if full && end > file.now.size {
            return Err(libc::ENOSPC);
        }
        if sync && failing {
            return Err(libc::EIO);
        }
        file.now.write(offset, data);
        if sync {
            file.durable.write(offset, data);
        } else {
            file.pending.push(Change::Write { offset, data: Data::of(data) });
        }
        Ok(())
    }

    pub(super) fn resize(&mut self, ino: u64, size: u64) -> Result<(), Errno> {
        let full = self.full;
        let file = self.file_mut(ino)?;
        if full && size > file.now.size {
            return Err(libc::ENOSPC);
        }
        file.now.resize(size);
        file.pending.push(Change::Size(size));
        Ok(())
    }

    /// Makes a file's content durable. One that fails has lost what was not synced before: as on a
    /// real disk, a second one has nothing left to write, and succeeds.
    pub(super) fn sync(&mut self, ino: u64) -> Result<(), Errno> {
        let failing = self.failing;
        let file = self.file_mut(ino)?;
        if failing {
            file.pending.clear();
            return Err(libc::EIO);
        }
        for change in file.pending.drain(..) {
            apply(&mut file.durable, &change, &mut |_| true);
        }
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_dir(&mut self, ino: u64) -> Result<(), Errno> {
        if self.failing {
            return Err(libc::EIO);
        }
        let dir = self.dir_mut(ino)?;
        dir.pending.clear();
        dir.durable = dir.now.clone();
        self.collect();
        Ok(())
    }

    /// Lets go of what nobody can reach, not even after a loss of power.
    fn collect(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        for node in self.nodes.values() {
            let Kind::Dir(dir) = &node.kind else { continue };
            reached.extend(dir.now.values().chain(dir.durable.values()));
            reached.extend(dir.pending.iter().flatten().filter_map(|(_, ino)| *ino));
        }
        self.nodes.retain(|ino, node| node.lookups > 0 || reached.contains(ino));
    }

    /// The power fails and comes back. Nobody may have a file open. Numbers of files are new ones, so
    /// that nothing the kernel remembers of the old ones is believed.
    pub(super) fn lose_power(&mut self, rng: &mut SmallRng) -> Lost {
        let mut lost = Lost::default();
        for node in self.nodes.values_mut() {
            node.lookups = 0;
            match &mut node.kind {
                Kind::File(file) => lose_writes(file, rng, &mut lost),
                Kind::Dir(dir) => lose_names(dir, rng, &mut lost),
            }
        }
        self.collect();
        self.renumber();
        lost
    }

    fn renumber(&mut self) {
        let old: Vec<u64> = self.nodes.keys().copied().filter(|ino| *ino != ROOT).collect();
        let new: BTreeMap<u64, u64> = old.into_iter().zip(self.next..).collect();
        self.next += new.len() as u64;
        let number = |ino: u64| new.get(&ino).copied().unwrap_or(ino);
        let nodes = std::mem::take(&mut self.nodes);
        for (ino, mut node) in nodes {
            if let Kind::Dir(dir) = &mut node.kind {
                let names = dir.now.values_mut().chain(dir.durable.values_mut());
                names.for_each(|ino| *ino = number(*ino));
            }
            self.nodes.insert(number(ino), node);
        }
    }
}

fn set(names: &mut Names, change: &[(OsString, Option<u64>)]) {
    for (name, ino) in change {
        match ino {
            Some(ino) => names.insert(name.clone(), *ino),
            None => names.remove(name),
        };
    }
}

/// Applies a change, or those sectors of it that `keep` wants; whether that was all of it.
fn apply(content: &mut Content, change: &Change, keep: &mut dyn FnMut(u64) -> bool) -> bool {
    let mut all = true;
    match change {
        Change::Size(size) => {
            all = keep(0);
            if all {
                content.resize(*size);
            }
        }
        Change::Write { offset, data } => {
            let bytes = data.bytes();
            let mut done = 0;
            while done < bytes.len() {
                let at = offset + done as u64;
                let piece = (SECTOR - (at % SECTOR as u64) as usize).min(bytes.len() - done);
                if keep(at / SECTOR as u64) {
                    content.write(at, &bytes[done..done + piece]);
                } else {
                    all = false;
                }
                done += piece;
            }
        }
    }
    all
}

fn lose_writes(file: &mut File, rng: &mut SmallRng, lost: &mut Lost) {
    let changes = std::mem::take(&mut file.pending);
    lost.unsynced += changes.len();
    let fate = rng.random_range(0..4);
    for change in &changes {
        let kept = match fate {
            0 => false,
            1 => apply(&mut file.durable, change, &mut |_| true),
            // Whole changes in any order, or sectors of any.
            2 => {
                let keep = rng.random();
                apply(&mut file.durable, change, &mut |_| keep)
            }
            _ => apply(&mut file.durable, change, &mut |_| rng.random()),
        };
        lost.lost += usize::from(!kept);
    }
    file.now = file.durable.clone();
}

fn lose_names(dir: &mut Dir, rng: &mut SmallRng, lost: &mut Lost) {
    let changes = std::mem::take(&mut dir.pending);
    let kept = match rng.random_range(0..3) {
        0 => 0,
        1 => changes.len(),
        _ => rng.random_range(0..=changes.len()),
    };
    changes[..kept].iter().for_each(|change| set(&mut dir.durable, change));
    lost.unsynced += changes.len();
    lost.lost += changes.len() - kept;
    dir.now = dir.durable.clone();
}

#[cfg(test)]
mod tests;
