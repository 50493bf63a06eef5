//! A tree that is filled from the left: one open page per level, closed ones are on their way out.
//!
//! Pages are filled to the end. An entry that does not fit starts the next page, unless the page
//! would stay emptier than seven eighths: then it grows by overflow pages, so that values of just over
//! half a page do not take a page each.

use crate::{
    Error,
    page::{BRANCH, ELEMENT_BYTES, HEADER_BYTES, Header, LEAF},
    writer::{PAGE_BYTES, Sink},
};

/// A bucket of at most these bytes is inline; bbolt's limit.
const INLINE_BYTES_MAX: usize = PAGE_BYTES / 4;
/// A page of at least these bytes is closed however much room it wastes.
const NODE_BYTES_FULL: usize = 16 * PAGE_BYTES;
/// A branch page has at least as many children, but for the last of a level: with one each, of long keys,
/// a tree would never come to its root.
const CHILDREN_MIN: usize = 4;

/// Where pages go, and which id is next.
pub(super) struct Out<'s> {
    sink: Option<&'s mut Sink<'s>>,
    next_page: u64,
}

impl<'s> Out<'s> {
    pub(super) fn new(sink: Option<&'s mut Sink<'s>>) -> Out<'s> {
        Out { sink, next_page: 2 }
    }

    pub(super) fn next_page(&self) -> u64 {
        self.next_page
    }
}

/// What became of a bucket.
pub(super) enum Finished {
    /// The id of its root page.
    Page(u64),
    /// The image of its only page.
    Inline(Vec<u8>),
}

/// A tree under construction.
pub(super) struct Tree {
    /// Leaves first.
    levels: Vec<Open>,
    /// Whether contents are kept, or only counted.
    keeps: bool,
}

/// The open page of a level.
struct Open {
    elements: Vec<Element>,
    /// How many there are, kept or not.
    count: usize,
    /// Keys and values.
    data: Vec<u8>,
    /// Bytes of the page so far, its header included.
    bytes: usize,
    /// The key by which the level above finds the page.
    first_key: Vec<u8>,
}

struct Element {
    key: u32,
    value: u32,
    /// Flags of a leaf element, the page below of a branch element.
    tag: u64,
}

impl Tree {
    pub(super) fn new(keeps: bool) -> Tree {
        Tree { levels: vec![Open::new()], keeps }
    }

    /// Adds a leaf element. The value is the pieces after one another.
    pub(super) fn entry(
        &mut self,
        key: &[u8],
        value: &[&[u8]],
        flags: u32,
        out: &mut Out<'_>,
    ) -> Result<(), Error> {
        self.add(0, key, value, u64::from(flags), out)
    }

    /// Ends the tree of a bucket.
    pub(super) fn finish_bucket(self, out: &mut Out<'_>) -> Result<Finished, Error> {
        let leaf = &self.levels[0];
        if self.levels.len() == 1 && leaf.bytes <= INLINE_BYTES_MAX {
            let len = leaf.bytes;
            let mut image = leaf.table(LEAF, 0, 0);
            image.extend_from_slice(&leaf.data);
            image.resize(len, 0);
            return Ok(Finished::Inline(image));
        }
        self.finish(out).map(Finished::Page)
    }

    /// Ends a tree; returns the id of its root page.
    pub(super) fn finish(mut self, out: &mut Out<'_>) -> Result<u64, Error> {
        let mut level = 0;
        // Closing a page may add a level above.
        while level + 1 < self.levels.len() {
            self.close(level, out)?;
            level += 1;
        }
        self.emit(level, out)
    }

    fn add(
        &mut self,
        level: usize,
        key: &[u8],
        value: &[&[u8]],
        tag: u64,
        out: &mut Out<'_>,
    ) -> Result<(), Error> {
        let value_bytes = value.iter().map(|piece| piece.len()).sum::<usize>();
        let bytes = ELEMENT_BYTES + key.len() + value_bytes;
        let least = if level == 0 { 1 } else { CHILDREN_MIN };
        if self.levels[level].is_full_for(bytes, least) {
            self.close(level, out)?;
        }
        let open = &mut self.levels[level];
        if open.count == 0 {
            open.first_key.clear();
            open.first_key.extend_from_slice(key);
        }
        open.bytes += bytes;
        open.count += 1;
        if self.keeps {
            open.elements.push(Element { key: key.len() as u32, value: value_bytes as u32, tag });
            open.data.extend_from_slice(key);
            value.iter().for_each(|piece| open.data.extend_from_slice(piece));
        }
        Ok(())
    }

    /// Emits the open page of a level and enters it into the level above.
    fn close(&mut self, level: usize, out: &mut Out<'_>) -> Result<(), Error> {
        let id = self.emit(level, out)?;
        if level + 1 == self.levels.len() {
            self.levels.push(Open::new());
        }
        let key = std::mem::take(&mut self.levels[level].first_key);
        self.add(level + 1, &key, &[], id, out)?;
        self.levels[level].first_key = key;
        Ok(())
    }

    fn emit(&mut self, level: usize, out: &mut Out<'_>) -> Result<u64, Error> {
        let open = &mut self.levels[level];
        let pages = open.bytes.div_ceil(PAGE_BYTES);
        let id = out.next_page;
        out.next_page += pages as u64;
        if let Some(sink) = &mut out.sink {
            let flags = if level == 0 { LEAF } else { BRANCH };
            let overflow = u32::try_from(pages - 1).expect("a value has less than 2^31 bytes");
            sink(&open.table(flags, id, overflow))?;
            sink(&open.data)?;
            sink(&[0; PAGE_BYTES][..pages * PAGE_BYTES - open.bytes])?;
        }
        open.elements.clear();
        open.data.clear();
        // The memory of a large value is not kept for small ones.
        open.data.shrink_to(NODE_BYTES_FULL);
        (open.count, open.bytes) = (0, HEADER_BYTES);
        Ok(id)
    }
}

impl Open {
    fn new() -> Open {
        let (elements, data, first_key) = (Vec::new(), Vec::new(), Vec::new());
        Open { elements, count: 0, data, bytes: HEADER_BYTES, first_key }
    }

    /// Whether the page is to be closed before an element of that size is added.
    fn is_full_for(&self, bytes: usize, count_min: usize) -> bool {
        let room = self.bytes.next_multiple_of(PAGE_BYTES);
        let is_filled = self.bytes >= NODE_BYTES_FULL || self.bytes * 8 >= room * 7;
        self.count >= count_min && self.bytes + bytes > room && is_filled
    }

    /// The header of the page and its elements: what stands before `data`.
    fn table(&self, flags: u16, id: u64, overflow: u32) -> Vec<u8> {
        let len = HEADER_BYTES + self.elements.len() * ELEMENT_BYTES;
        let count = u16::try_from(self.elements.len()).expect("a full page has fewer elements");
        let mut table = Vec::with_capacity(len);
        table.extend_from_slice(&Header { id, flags, count, overflow }.encode());
        let mut offset = len;
        for element in &self.elements {
            let pos = (offset - table.len()) as u32;
            if flags == LEAF {
                for field in [element.tag as u32, pos, element.key, element.value] {
                    table.extend_from_slice(&field.to_le_bytes());
                }
            } else {
                table.extend_from_slice(&pos.to_le_bytes());
                table.extend_from_slice(&element.key.to_le_bytes());
                table.extend_from_slice(&element.tag.to_le_bytes());
            }
            offset += (element.key + element.value) as usize;
        }
        table
    }
}

/// A page of that size has fewer elements than its header can count.
const _: () = assert!(NODE_BYTES_FULL / ELEMENT_BYTES < u16::MAX as usize);
