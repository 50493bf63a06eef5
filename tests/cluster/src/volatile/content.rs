//! The bytes of a file, page by page.

use std::{collections::BTreeMap, sync::Arc};

/// The size of a page.
pub(super) const PAGE: usize = 4096;

/// The bytes of a file; a page that is absent is all zeros.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
    pub(super) size: u64,
}

impl Content {
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let (page, within) = (at / PAGE as u64, (at % PAGE as u64) as usize);
            let (piece, after) = rest.split_at(rest.len().min(PAGE - within));
            let is_zero = piece.iter().all(|byte| *byte == 0);
            if !is_zero || self.pages.contains_key(&page) {
                let bytes = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
                Arc::make_mut(bytes)[within..within + piece.len()].copy_from_slice(piece);
            }
            at += piece.len() as u64;
            rest = after;
        }
        self.size = self.size.max(at);
    }

    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            let first = size.div_ceil(PAGE as u64);
            self.pages.split_off(&first);
            if let Some(last) = self.pages.get_mut(&(size / PAGE as u64)) {
                Arc::make_mut(last)[(size % PAGE as u64) as usize..].fill(0);
            }
        }
        self.size = size;
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let end = self.size.min(offset.saturating_add(len as u64));
        let mut out = vec![0; end.saturating_sub(offset) as usize];
        let mut done = 0;
        while done < out.len() {
            let at = offset + done as u64;
            let within = (at % PAGE as u64) as usize;
            let piece = (PAGE - within).min(out.len() - done);
            if let Some(page) = self.pages.get(&(at / PAGE as u64)) {
                out[done..done + piece].copy_from_slice(&page[within..within + piece]);
            }
            done += piece;
        }
        out
    }
}
