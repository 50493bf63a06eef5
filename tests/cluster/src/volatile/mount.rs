//! The tree as a file system that the kernel knows (FUSE).
//!
//! The kernel keeps pages, so files can be mapped, but no names and no attributes; writes come at
//! once. Times stand still: a changed time would make the kernel throw pages away.

use std::{
    ffi::OsStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{
    Shared,
    content::PAGE,
    tree::{Errno as Number, Kind, ROOT, Tree},
};

/// Nothing is remembered.
const TTL: Duration = Duration::ZERO;
const NO_HANDLE: FileHandle = FileHandle(0);

pub(super) struct Mounted(pub(super) Arc<Shared>);

/// How long each sync takes.
#[derive(Default)]
pub(super) struct Slowness(AtomicU64);

impl Slowness {
    pub(super) fn set(&self, each: Duration) {
        self.0.store(each.as_millis() as u64, Ordering::Relaxed);
    }

    fn wait(&self) {
        let each = self.0.load(Ordering::Relaxed);
        if each > 0 {
            std::thread::sleep(Duration::from_millis(each));
        }
    }
}

fn error(number: Number) -> Errno {
    Errno::from_i32(number)
}

impl Mounted {
    fn with<T>(&self, work: impl FnOnce(&mut Tree) -> T) -> T {
        work(&mut self.0.tree())
    }

    fn attr(tree: &Tree, ino: u64) -> Result<FileAttr, Number> {
        let node = tree.node(ino)?;
        let is_dir = matches!(node.kind, Kind::Dir(_));
        let (size, time) = (node.size(), SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30));
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if is_dir { FileType::Directory } else { FileType::RegularFile },
            perm: (node.mode & 0o7777) as u16,
            nlink: if is_dir { 2 } else { 1 },
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: PAGE as u32,
            flags: 0,
        })
    }

    /// Tells the kernel of a node.
    fn entry(&self, reply: ReplyEntry, work: impl FnOnce(&mut Tree) -> Result<u64, Number>) {
        let found = self.with(|tree| {
            let ino = work(tree)?;
            tree.told(ino);
            Mounted::attr(tree, ino)
        });
        match found {
            Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
            Err(number) => reply.error(error(number)),
        }
    }

    fn empty(&self, reply: ReplyEmpty, work: impl FnOnce(&mut Tree) -> Result<(), Number>) {
        match self.with(work) {
            Ok(()) => reply.ok(),
            Err(number) => reply.error(error(number)),
        }
    }
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |tree| tree.lookup(parent.0, name));
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.with(|tree| tree.forget(ino.0, count));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|tree| Mounted::attr(tree, ino.0)) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(number) => reply.error(error(number)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.with(|tree| {
            if let Some(mode) = mode {
                tree.node_mut(ino.0)?.mode = mode;
            }
            if let Some(size) = size {
                tree.resize(ino.0, size)?;
            }
            Mounted::attr(tree, ino.0)
        });
        match changed {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(number) => reply.error(error(number)),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        self.entry(reply, |tree| tree.create(parent.0, name, true, mode));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |tree| tree.remove(parent.0, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |tree| tree.remove(parent.0, name, true));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        self.empty(reply, |tree| tree.rename((parent.0, name), (new_parent.0, new_name), replace));
    }

    fn open(&self, _: &Request, _ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(NO_HANDLE, FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.with(|tree| {
            let ino = tree.create(parent.0, name, false, mode)?;
            tree.told(ino);
            Mounted::attr(tree, ino)
        });
        match made {
            Ok(attr) => {
                let flags = FopenFlags::FOPEN_KEEP_CACHE;
                reply.created(&TTL, &attr, Generation(0), NO_HANDLE, flags);
            }
            Err(number) => reply.error(error(number)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = |tree: &mut Tree| Ok(tree.file(ino.0)?.now.read(offset, size as usize));
        match self.with(read) {
            Ok(data) => reply.data(&data),
            Err(number) => reply.error(error(number)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let sync = flags.0 & libc::O_DSYNC != 0;
        if sync {
            self.0.slowness.wait();
        }
        match self.with(|tree| tree.write(ino.0, offset, data, sync)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(number) => reply.error(error(number)),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.0.slowness.wait();
        self.empty(reply, |tree| tree.sync(ino.0));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.0.slowness.wait();
        self.empty(reply, |tree| tree.sync_dir(ino.0));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.with(|tree| {
            let mut all = vec![(ino.0, true, ".".into()), (ROOT, true, "..".into())];
            for (name, child) in &tree.dir(ino.0)?.now {
                let is_dir = matches!(tree.node(*child)?.kind, Kind::Dir(_));
                all.push((*child, is_dir, name.clone()));
            }
            Ok(all)
        });
        let all = match listed {
            Ok(all) => all,
            Err(number) => return reply.error(error(number)),
        };
        for (place, (child, is_dir, name)) in all.into_iter().enumerate().skip(offset as usize) {
            let kind = if is_dir { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(child), place as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, |tree| {
            if mode & !libc::FALLOC_FL_KEEP_SIZE != 0 {
                return Err(libc::EOPNOTSUPP);
            }
            let wanted = offset.saturating_add(length);
            let now = tree.node(ino.0)?.size();
            if mode & libc::FALLOC_FL_KEEP_SIZE != 0 || wanted <= now {
                return Ok(());
            }
            tree.resize(ino.0, wanted)
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let free = if self.with(|tree| tree.full) { 0 } else { 1 << 20 };
        reply.statfs(1 << 21, free, free, 1 << 20, 1 << 19, PAGE as u32, 255, PAGE as u32);
    }
}
