//! Iteration in the order of keys, from anywhere.
//!
//! A cursor holds one page per level of the tree. Keys must ascend from entry to entry: so a tree in
//! which pages are reached twice ends in an error, not in an endless walk.

use crate::{Db, Error, Source, bucket::Root, error::corrupt, node::Node};

/// The greatest depth of a tree. A page has many children: real trees have less than ten levels.
pub(crate) const DEPTH_MAX: usize = 32;

/// A place in a bucket.
#[derive(Debug)]
pub struct Cursor<'d, S> {
    db: &'d Db<S>,
    root: Root,
    /// From the root to a leaf, with the element that is next (leaf) or was gone into (branch).
    /// Empty before the first step, and behind the last entry.
    stack: Vec<(Node, usize)>,
    /// Whether the first step is still to come.
    fresh: bool,
    /// The key before the leaf at hand; empty at first.
    last: Vec<u8>,
    spare: Node,
}

/// An entry of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'c> {
    /// The key, or the name of a bucket.
    pub key: &'c [u8],
    /// The value; of a bucket, its encoded form.
    pub value: &'c [u8],
    /// Whether this is a bucket within the bucket.
    pub is_bucket: bool,
    /// The page that it is on; 0 in an inline bucket.
    pub page: u64,
}

impl<'d, S: Source> Cursor<'d, S> {
    pub(crate) fn new(db: &'d Db<S>, root: Root) -> Cursor<'d, S> {
        let (stack, last, spare) = (Vec::new(), Vec::new(), Node::default());
        Cursor { db, root, stack, fresh: true, last, spare }
    }

    /// Moves before the first entry whose key is not below `key`.
    pub fn seek(&mut self, key: &[u8]) -> Result<(), Error> {
        self.stack.clear();
        self.last.clear();
        self.fresh = false;
        self.push_root()?;
        loop {
            let (node, at) = self.stack.last_mut().expect("the root was pushed");
            if node.is_leaf {
                *at = node.partition(|own| own < key);
                return Ok(());
            }
            *at = node.partition(|own| own <= key).saturating_sub(1);
            let child = node.child(*at);
            self.push(child)?;
        }
    }

    /// The next entry.
    #[expect(clippy::should_implement_trait, reason = "the entry borrows from the cursor")]
    pub fn next(&mut self) -> Result<Option<Entry<'_>>, Error> {
        if !self.settle()? {
            return Ok(None);
        }
        let (node, at) = self.stack.last_mut().expect("settled on a leaf");
        let index = *at;
        let key = node.key(index);
        let before = if index == 0 { &self.last[..] } else { node.key(index - 1) };
        // Keys are never empty: `last` is so only before the first entry.
        if before >= key {
            return Err(corrupt(node.id, "keys do not ascend"));
        }
        *at += 1;
        let (value, is_bucket) = (node.value(index), node.is_bucket(index));
        Ok(Some(Entry { key, value, is_bucket, page: node.id }))
    }

    /// Goes on until a leaf with an entry to give is on top; `false` behind the last entry.
    fn settle(&mut self) -> Result<bool, Error> {
        if self.fresh {
            self.fresh = false;
            self.push_root()?;
        }
        loop {
            let Some((node, at)) = self.stack.last_mut() else { return Ok(false) };
            if node.is_leaf {
                if *at < node.count {
                    return Ok(true);
                }
                if node.count > 0 {
                    self.last.clear();
                    self.last.extend_from_slice(node.key(node.count - 1));
                }
            } else if *at < node.count {
                let child = node.child(*at);
                self.push(child)?;
                continue;
            }
            self.spare = self.stack.pop().expect("there is a top").0;
            if let Some((_, parent_at)) = self.stack.last_mut() {
                *parent_at += 1;
            }
        }
    }

    fn push_root(&mut self) -> Result<(), Error> {
        let spare = std::mem::take(&mut self.spare);
        let node = match &self.root {
            Root::Page(id) => Node::read(self.db, *id, spare)?,
            Root::Inline(image) => Node::inline(image, spare)?,
        };
        if !node.is_leaf && node.count == 0 {
            return Err(corrupt(node.id, "branch page has no children"));
        }
        self.stack.push((node, 0));
        Ok(())
    }

    fn push(&mut self, id: u64) -> Result<(), Error> {
        if self.stack.len() == DEPTH_MAX {
            return Err(corrupt(id, "the tree is too deep"));
        }
        let node = Node::read(self.db, id, std::mem::take(&mut self.spare))?;
        if node.count == 0 {
            return Err(corrupt(id, "page below a branch is empty"));
        }
        self.stack.push((node, 0));
        Ok(())
    }
}
