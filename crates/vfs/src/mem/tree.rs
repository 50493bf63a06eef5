//! The directories: as they are, and what the disk has of them.
//!
//! Every change is made in the names of now at once, and waits in one ordered list until its
//! directory is synced. A crash applies some of the waiting changes to the durable names; one whose
//! ground is missing (a rename of a file whose creation was lost) is lost with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Component, Path},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{Content, Random};

type DirId = u64;
type Names = BTreeMap<String, Node>;

const ROOT: DirId = 0;

#[derive(Clone)]
enum Node {
    File(Arc<Mutex<Content>>),
    Dir(DirId),
}

/// A directory with its names of now and those on the disk.
#[derive(Default)]
struct Directory {
    now: Names,
    durable: Names,
}

/// A change of directories that is not durable yet.
#[derive(Clone)]
enum Change {
    Link { dir: DirId, name: String, node: Node },
    Unlink { dir: DirId, name: String, node: Node },
    Rename { from: (DirId, String), to: (DirId, String) },
}

impl Change {
    /// The directories that must be synced together for this change to be durable.
    fn touches(&self) -> [DirId; 2] {
        match self {
            Change::Link { dir, .. } => [*dir; 2],
            // A directory goes after what is in it.
            Change::Unlink { dir, node: Node::Dir(gone), .. } => [*dir, *gone],
            Change::Unlink { dir, .. } => [*dir; 2],
            Change::Rename { from, to } => [from.0, to.0],
        }
    }
}

pub(super) struct Tree {
    dirs: BTreeMap<DirId, Directory>,
    next: DirId,
    waiting: Vec<Change>,
}

impl Default for Tree {
    fn default() -> Tree {
        let dirs = BTreeMap::from([(ROOT, Directory::default())]);
        Tree { dirs, next: ROOT + 1, waiting: Vec::new() }
    }
}

fn error<T>(kind: ErrorKind) -> io::Result<T> {
    Err(kind.into())
}

/// The names on the way from the root.
fn parts(path: &Path) -> io::Result<Vec<&str>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => match name.to_str() {
                Some(name) => parts.push(name),
                None => return error(ErrorKind::InvalidInput),
            },
            Component::ParentDir | Component::Prefix(_) => return error(ErrorKind::InvalidInput),
        }
    }
    Ok(parts)
}

impl Tree {
    fn now(&self, dir: DirId) -> &Names {
        &self.dirs.get(&dir).expect("a directory in the tree is known").now
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Dir(ROOT);
        for part in parts(path)? {
            let Node::Dir(dir) = node else { return error(ErrorKind::NotADirectory) };
            match self.now(dir).get(part) {
                Some(child) => node = child.clone(),
                None => return error(ErrorKind::NotFound),
            }
        }
        Ok(node)
    }

    fn dir(&self, path: &Path) -> io::Result<DirId> {
        match self.node(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => error(ErrorKind::NotADirectory),
        }
    }

    /// The directory that holds the last name of a path, and that name.
    fn parent(&self, path: &Path) -> io::Result<(DirId, String)> {
        let parts = parts(path)?;
        let Some(name) = parts.last() else { return error(ErrorKind::InvalidInput) };
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.dir(parent)?, (*name).to_owned()))
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Arc<Mutex<Content>>> {
        match self.node(path)? {
            Node::File(content) => Ok(content),
            Node::Dir(_) => error(ErrorKind::IsADirectory),
        }
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Arc<Mutex<Content>>> {
        let (dir, name) = self.parent(path)?;
        let content = Arc::<Mutex<Content>>::default();
        self.change(Change::Link { dir, name, node: Node::File(Arc::clone(&content)) });
        Ok(content)
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut dir = ROOT;
        for part in parts(path)? {
            dir = match self.now(dir).get(part) {
                Some(Node::Dir(child)) => *child,
                Some(Node::File(_)) => return error(ErrorKind::NotADirectory),
                None => {
                    let child = self.next;
                    self.next += 1;
                    self.dirs.insert(child, Directory::default());
                    self.change(Change::Link { dir, name: part.into(), node: Node::Dir(child) });
                    child
                }
            };
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Ok(self.now(self.dir(path)?).keys().cloned().collect())
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.node(path) {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        match self.now(dir).get(&name).cloned() {
            None => error(ErrorKind::NotFound),
            Some(Node::Dir(_)) => error(ErrorKind::IsADirectory),
            Some(node) => {
                self.change(Change::Unlink { dir, name, node });
                Ok(())
            }
        }
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let gone = self.dir(path)?;
        let (dir, name) = self.parent(path)?;
        for child in self.list(path)? {
            let child = path.join(child);
            match self.node(&child)? {
                Node::File(_) => self.remove(&child)?,
                Node::Dir(_) => self.remove_dir_all(&child)?,
            }
        }
        self.change(Change::Unlink { dir, name, node: Node::Dir(gone) });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let moved = self.node(from)?;
        let (from_place, to_place) = (self.parent(from)?, self.parent(to)?);
        if from_place == to_place {
            return Ok(());
        }
        if matches!(moved, Node::Dir(_)) && to.starts_with(from) {
            return error(ErrorKind::InvalidInput);
        }
        match (moved, self.now(to_place.0).get(&to_place.1)) {
            (_, None) | (Node::File(_), Some(Node::File(_))) => {}
            (Node::Dir(_), Some(Node::Dir(old))) if self.now(*old).is_empty() => {}
            (Node::Dir(_), Some(Node::Dir(_))) => return error(ErrorKind::DirectoryNotEmpty),
            (Node::Dir(_), Some(Node::File(_))) => return error(ErrorKind::NotADirectory),
            (Node::File(_), Some(Node::Dir(_))) => return error(ErrorKind::IsADirectory),
        }
        self.change(Change::Rename { from: from_place, to: to_place });
        Ok(())
    }

    /// Makes a change now; it is durable later.
    fn change(&mut self, change: Change) {
        apply(&mut self.dirs, |directory| &mut directory.now, &change);
        self.waiting.push(change);
    }

    /// Makes the names of a directory durable, with those other directories that a rename ties to
    /// it.
    pub(super) fn sync(&mut self, path: &Path) -> io::Result<()> {
        let mut together = BTreeSet::from([self.dir(path)?]);
        loop {
            let known = together.len();
            for change in &self.waiting {
                let touched = change.touches();
                // What is in a new directory is not synced with its parent, so a link ties nothing.
                if touched.iter().any(|dir| together.contains(dir)) {
                    together.extend(touched);
                }
            }
            if together.len() == known {
                break;
            }
        }
        for change in std::mem::take(&mut self.waiting) {
            if together.contains(&change.touches()[0]) {
                apply(&mut self.dirs, |directory| &mut directory.durable, &change);
            } else {
                self.waiting.push(change);
            }
        }
        Ok(())
    }

    /// What the disk may hold after a power loss; all of it durable.
    pub(super) fn after_crash(&self, random: &mut Random) -> Tree {
        let names = |(id, directory): (&DirId, &Directory)| {
            (*id, Directory { now: directory.durable.clone(), durable: Names::new() })
        };
        let mut dirs: BTreeMap<DirId, Directory> = self.dirs.iter().map(names).collect();
        let odds = random.odds();
        for change in &self.waiting {
            if random.keeps(odds) {
                apply(&mut dirs, |directory| &mut directory.now, change);
            }
        }
        let mut after = Tree { next: self.next, ..Tree::default() };
        copy(&dirs, ROOT, &mut after.dirs, random);
        after
    }
}

/// Makes a change in one of the two sets of names, if its ground is there.
fn apply(
    dirs: &mut BTreeMap<DirId, Directory>,
    names: impl Fn(&mut Directory) -> &mut Names,
    change: &Change,
) {
    let mut of = |dir: &DirId, act: &mut dyn FnMut(&mut Names)| {
        act(names(dirs.get_mut(dir).expect("a directory in a change is known")));
    };
    match change {
        Change::Link { dir, name, node } => {
            of(dir, &mut |names| drop(names.insert(name.clone(), node.clone())));
        }
        Change::Unlink { dir, name, node } => {
            let mut empty = true;
            if let Node::Dir(gone) = node {
                of(gone, &mut |names| empty = names.is_empty());
            }
            if empty {
                of(dir, &mut |names| drop(names.remove(name)));
            }
        }
        Change::Rename { from, to } => {
            let mut moved = None;
            of(&from.0, &mut |names| moved = names.remove(&from.1));
            if let Some(moved) = moved {
                of(&to.0, &mut |names| drop(names.insert(to.1.clone(), moved.clone())));
            }
        }
    }
}

/// Copies a directory and what it reaches, files as a crash leaves them. There are no links, but
/// lost changes can leave a file under two names; it becomes two files.
fn copy(
    from: &BTreeMap<DirId, Directory>,
    dir: DirId,
    to: &mut BTreeMap<DirId, Directory>,
    random: &mut Random,
) {
    let mut names = Names::new();
    for (name, node) in &from.get(&dir).expect("a directory in the tree is known").now {
        let node = match node {
            Node::File(content) => {
                let content = content.lock().after_crash(random);
                Node::File(Arc::new(Mutex::new(content)))
            }
            Node::Dir(child) => {
                copy(from, *child, to, random);
                Node::Dir(*child)
            }
        };
        names.insert(name.clone(), node);
    }
    to.insert(dir, Directory { now: names.clone(), durable: names });
}
