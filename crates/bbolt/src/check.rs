//! The check of a whole file, as bbolt has it: every page is reachable once or free, keys are in
//! order, and each child's keys lie between those of its branch.

use crate::{
    Db, Error, NO_FREELIST, Source,
    bucket::Root,
    cursor::DEPTH_MAX,
    error::corrupt,
    node::Node,
    page::{FREELIST, HEADER_BYTES, Header, u64_at},
};

/// How deep buckets may lie in buckets. etcd has them in the root only.
const BUCKET_DEPTH_MAX: usize = 8;

impl<S: Source> Db<S> {
    /// Reads every page and reports what is wrong, in the words of bbolt where it has them. Only a
    /// failure to read the source ends it early.
    pub fn check(&self, report: &mut dyn FnMut(String)) -> Result<(), Error> {
        let pages = self.meta.high_water;
        let mut walk = Walk { db: self, reached: Pages::new(pages), freed: None, report };
        walk.reached.insert(0);
        walk.reached.insert(1);
        walk.freelist()?;
        walk.tree(self.meta.root, 0)?;
        let Walk { reached, freed, report, .. } = walk;
        // Without a freelist in the file, what is not reachable is free.
        let Some(freed) = freed else { return Ok(()) };
        for id in (0..pages).filter(|id| !reached.contains(*id) && !freed.contains(*id)) {
            report(format!("page {id}: unreachable unfreed"));
        }
        Ok(())
    }
}

/// A set of page ids, a bit each; the file has as many pages.
struct Pages {
    bits: Vec<u64>,
    len: u64,
}

impl Pages {
    fn new(len: u64) -> Pages {
        Pages { bits: vec![0; len.div_ceil(64) as usize], len }
    }

    fn contains(&self, id: u64) -> bool {
        id < self.len && self.bits[(id / 64) as usize] & (1 << (id % 64)) != 0
    }

    /// `false` if it was there, or is out of bounds.
    fn insert(&mut self, id: u64) -> bool {
        if id >= self.len || self.contains(id) {
            return false;
        }
        self.bits[(id / 64) as usize] |= 1 << (id % 64);
        true
    }
}

struct Walk<'d, S> {
    db: &'d Db<S>,
    reached: Pages,
    /// `None` when the file has no freelist.
    freed: Option<Pages>,
    report: &'d mut dyn FnMut(String),
}

impl<S: Source> Walk<'_, S> {
    /// Reads the freelist in pieces: it may have as many ids as the file has pages.
    fn freelist(&mut self) -> Result<(), Error> {
        let meta = &self.db.meta;
        if meta.freelist == NO_FREELIST {
            return Ok(());
        }
        let id = meta.freelist;
        let page_size = u64::from(meta.page_size);
        let mut bytes = [0; HEADER_BYTES + 8];
        self.db.source.read_at(id * page_size, &mut bytes)?;
        let header = Header::decode(&bytes);
        let mut freed = Pages::new(meta.high_water);
        let pages = u64::from(header.overflow) + 1;
        if header.id != id || header.flags != FREELIST || pages > meta.high_water - id {
            (self.report)(format!("page {id}: invalid freelist page"));
            self.freed = Some(freed);
            return Ok(());
        }
        for page in id..id + pages {
            self.reached.insert(page);
        }
        // A count that does not fit is in front of the ids.
        let is_long = header.count == u16::MAX;
        let count = if is_long { u64_at(&bytes, HEADER_BYTES) } else { u64::from(header.count) };
        let first = HEADER_BYTES as u64 + if is_long { 8 } else { 0 };
        if count > (pages * page_size - first) / 8 {
            (self.report)(format!("page {id}: freelist is longer than its pages"));
            self.freed = Some(freed);
            return Ok(());
        }
        let mut piece = [0; 4096];
        for start in (0..count).step_by(piece.len() / 8) {
            let some = (count - start).min(piece.len() as u64 / 8) as usize * 8;
            let at = id * page_size + first + start * 8;
            self.db.source.read_at(at, &mut piece[..some])?;
            for free in piece[..some].chunks_exact(8).map(|bytes| u64_at(bytes, 0)) {
                if free < 2 || free >= meta.high_water {
                    (self.report)(format!("page {free}: free page is out of bounds"));
                } else if !freed.insert(free) {
                    (self.report)(format!("page {free}: already freed"));
                }
            }
        }
        self.freed = Some(freed);
        Ok(())
    }

    /// The tree of a bucket, and of those in it.
    fn tree(&mut self, root: u64, bucket_depth: usize) -> Result<(), Error> {
        self.page(root, None, None, 0, bucket_depth).map(drop)
    }

    /// Checks a page and all below it. Keys are at least `min` and below `max`. Returns the last key.
    fn page(
        &mut self,
        id: u64,
        min: Option<&[u8]>,
        max: Option<&[u8]>,
        depth: usize,
        bucket_depth: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let node = match Node::read(self.db, id, Node::default()) {
            Ok(node) => node,
            Err(Error::Io(error)) => return Err(error.into()),
            Err(error) => {
                (self.report)(error.to_string());
                return Ok(None);
            }
        };
        for own in id..=id + u64::from(node.overflow) {
            if !self.reached.insert(own) {
                (self.report)(format!("page {own}: multiple references"));
                return Ok(None);
            }
            if self.freed.as_ref().is_some_and(|freed| freed.contains(own)) {
                (self.report)(format!("page {own}: reachable freed"));
            }
        }
        self.keys(&node, min, max);
        if node.count == 0 && (depth > 0 || !node.is_leaf) {
            (self.report)(corrupt(id, "only the only page of a tree may be empty").to_string());
        }
        if node.is_leaf {
            self.buckets(&node, bucket_depth)?;
            return Ok(node.count.checked_sub(1).map(|last| node.key(last).to_vec()));
        }
        if depth + 1 == DEPTH_MAX {
            (self.report)(corrupt(id, "the tree is too deep").to_string());
            return Ok(None);
        }
        let mut last = None;
        for index in 0..node.count {
            let next = (index + 1 < node.count).then(|| node.key(index + 1));
            let key = Some(node.key(index));
            last = self.page(node.child(index), key, next.or(max), depth + 1, bucket_depth)?;
        }
        Ok(last)
    }

    /// The keys of a page ascend and lie between those around it.
    fn keys(&mut self, node: &Node, min: Option<&[u8]>, max: Option<&[u8]>) {
        let (id, kind) = (node.id, if node.is_leaf { "leaf" } else { "branch" });
        let mut before = min;
        for index in 0..node.count {
            let key = node.key(index);
            // The first may be equal to that of its branch.
            let wrong = match before {
                Some(before) if index == 0 => before > key,
                Some(before) => before >= key,
                None => false,
            };
            if wrong || key.is_empty() {
                (self.report)(format!("key[{index}] on {kind} page({id}) is out of order"));
            }
            if max.is_some_and(|max| key >= max) {
                (self.report)(format!("key[{index}] on {kind} page({id}) belongs to a later page"));
            }
            before = Some(key);
        }
    }

    /// The buckets that a leaf has.
    fn buckets(&mut self, node: &Node, bucket_depth: usize) -> Result<(), Error> {
        for index in (0..node.count).filter(|index| node.is_bucket(*index)) {
            if bucket_depth == BUCKET_DEPTH_MAX {
                (self.report)(corrupt(node.id, "buckets are nested too deep").to_string());
                return Ok(());
            }
            let inline = match Root::decode(node.id, node.value(index)) {
                Ok((Root::Page(root), _)) => {
                    self.tree(root, bucket_depth + 1)?;
                    continue;
                }
                Ok((Root::Inline(image), _)) => Node::inline(&image, Node::default()),
                Err(error) => Err(error),
            };
            match inline {
                Ok(inline) => {
                    self.keys(&inline, None, None);
                    self.buckets(&inline, bucket_depth + 1)?;
                }
                Err(error) => (self.report)(error.to_string()),
            }
        }
        Ok(())
    }
}
