//! One page of a tree, checked as a whole when it is read.

use crate::{
    Db, Error, Source,
    error::corrupt,
    page::{BRANCH, BUCKET_ELEMENT, ELEMENT_BYTES, HEADER_BYTES, Header, LEAF, u32_at, u64_at},
};

/// The most bytes of a page with its overflow pages. A value of etcd has 1.5 MiB by default, and a
/// page as many of them as fill it, or a few if one alone is larger.
const NODE_BYTES_MAX: u64 = 1 << 30;
/// The most bytes of a branch page's overflow pages: bbolt splits a page of more than four elements.
const BRANCH_OVERFLOW_BYTES_MAX: u64 = 4 << 20;

/// A branch or leaf page with its overflow pages, or the image of one in an inline bucket.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// 0 of an inline one.
    pub(crate) id: u64,
    pub(crate) is_leaf: bool,
    pub(crate) count: usize,
    /// How many pages follow it.
    pub(crate) overflow: u32,
    bytes: Vec<u8>,
}

impl Node {
    /// Reads page `id` into the memory of `spare`.
    pub(crate) fn read<S: Source>(db: &Db<S>, id: u64, spare: Node) -> Result<Node, Error> {
        let meta = &db.meta;
        let page_size = u64::from(meta.page_size);
        if id < 2 || id >= meta.high_water {
            return Err(corrupt(id, "out of bounds"));
        }
        let mut bytes = spare.bytes;
        bytes.resize(page_size as usize, 0);
        db.source.read_at(id * page_size, &mut bytes)?;
        let header = Header::decode(&bytes);
        if header.id != id {
            return Err(corrupt(id, "the page has the id of another"));
        }
        if u64::from(header.overflow) >= meta.high_water - id {
            return Err(corrupt(id, "overflow pages are out of bounds"));
        }
        if header.overflow > 0 {
            let len = (u64::from(header.overflow) + 1) * page_size;
            let is_branch = header.flags == BRANCH;
            if len > NODE_BYTES_MAX || (is_branch && len - page_size > BRANCH_OVERFLOW_BYTES_MAX) {
                return Err(corrupt(id, "the page is too large"));
            }
            bytes.resize(len as usize, 0);
            db.source.read_at((id + 1) * page_size, &mut bytes[page_size as usize..])?;
        }
        Node::check(header, bytes)
    }

    /// The image of a page in the value of an inline bucket.
    pub(crate) fn inline(image: &[u8], spare: Node) -> Result<Node, Error> {
        if image.len() < HEADER_BYTES {
            return Err(corrupt(0, "inline bucket is too short"));
        }
        let header = Header::decode(image);
        if header.flags != LEAF || header.overflow != 0 {
            return Err(corrupt(0, "inline bucket is not one leaf page"));
        }
        let mut bytes = spare.bytes;
        bytes.clear();
        bytes.extend_from_slice(image);
        Node::check(Header { id: 0, ..header }, bytes)
    }

    /// Every element lies within the page, behind the table of elements.
    fn check(header: Header, bytes: Vec<u8>) -> Result<Node, Error> {
        let is_leaf = match header.flags {
            LEAF => true,
            BRANCH => false,
            _ => return Err(corrupt(header.id, "invalid type")),
        };
        let count = usize::from(header.count);
        let node = Node { id: header.id, is_leaf, count, overflow: header.overflow, bytes };
        let table_end = HEADER_BYTES + count * ELEMENT_BYTES;
        if table_end > node.bytes.len() {
            return Err(corrupt(header.id, "more elements than fit in the page"));
        }
        for index in 0..count {
            let (start, key, value) = node.extent(index);
            // Of 32-bit numbers: no sum overflows.
            if start < table_end as u64 || start + key + value > node.bytes.len() as u64 {
                return Err(corrupt(header.id, "element is out of bounds"));
            }
        }
        Ok(node)
    }

    /// Where the key of an element starts, the length of the key, the length of the value.
    fn extent(&self, index: usize) -> (u64, u64, u64) {
        let at = HEADER_BYTES + index * ELEMENT_BYTES;
        let field = |offset| u64::from(u32_at(&self.bytes, at + offset));
        if self.is_leaf {
            (at as u64 + field(4), field(8), field(12))
        } else {
            (at as u64 + field(0), field(4), 0)
        }
    }

    /// The key of an element.
    pub(crate) fn key(&self, index: usize) -> &[u8] {
        let (start, key, _) = self.extent(index);
        &self.bytes[start as usize..(start + key) as usize]
    }

    /// The value of a leaf element.
    pub(crate) fn value(&self, index: usize) -> &[u8] {
        let (start, key, value) = self.extent(index);
        &self.bytes[(start + key) as usize..(start + key + value) as usize]
    }

    /// Whether the value of a leaf element is a bucket.
    pub(crate) fn is_bucket(&self, index: usize) -> bool {
        u32_at(&self.bytes, HEADER_BYTES + index * ELEMENT_BYTES) & BUCKET_ELEMENT != 0
    }

    /// The page below a branch element.
    pub(crate) fn child(&self, index: usize) -> u64 {
        u64_at(&self.bytes, HEADER_BYTES + index * ELEMENT_BYTES + 8)
    }

    /// How many elements have keys before which `is_before` says so; keys ascend.
    pub(crate) fn partition(&self, is_before: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.key(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }
}
