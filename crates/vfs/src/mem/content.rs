//! The bytes of one file: as they are, and what the disk has of them.

use std::collections::BTreeMap;

use super::{Random, SECTOR_BYTES};

/// The content of a file.
///
/// `before` holds, for each sector that was changed since the last sync, what is on the disk; all
/// other sectors are on the disk as in `data`, up to `durable_len`.
#[derive(Default)]
pub(super) struct Content {
    data: Vec<u8>,
    durable_len: usize,
    before: BTreeMap<usize, [u8; SECTOR_BYTES]>,
    /// Whether a handle holds the lock of the file.
    pub(super) locked: bool,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.data.len()
    }

    pub(super) fn read(&self, buf: &mut [u8], at: usize) -> usize {
        let rest = self.data.get(at..).unwrap_or_default();
        let read = rest.len().min(buf.len());
        buf[..read].copy_from_slice(&rest[..read]);
        read
    }

    pub(super) fn write(&mut self, bytes: &[u8], at: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = at + bytes.len();
        self.remember(at, end);
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[at..end].copy_from_slice(bytes);
    }

    /// Cuts the file, or extends it with zeros.
    pub(super) fn truncate(&mut self, len: usize) {
        if len < self.data.len() {
            self.remember(len, self.data.len());
        }
        self.data.resize(len, 0);
    }

    pub(super) fn sync(&mut self) {
        self.before.clear();
        self.durable_len = self.data.len();
    }

    /// Keeps the durable bytes of the sectors of a range that is about to change.
    fn remember(&mut self, from: usize, to: usize) {
        for sector in from / SECTOR_BYTES..to.div_ceil(SECTOR_BYTES) {
            let data = &self.data;
            self.before.entry(sector).or_insert_with(|| {
                let start = (sector * SECTOR_BYTES).min(data.len());
                let end = (start + SECTOR_BYTES).min(data.len());
                let mut kept = [0; SECTOR_BYTES];
                kept[..end - start].copy_from_slice(&data[start..end]);
                kept
            });
        }
    }

    /// What the disk may hold after a power loss; all of it durable.
    pub(super) fn after_crash(&self, random: &mut Random) -> Content {
        let len = if random.coin() { self.data.len() } else { self.durable_len };
        let mut data = self.data.clone();
        data.resize(self.data.len().max(self.durable_len), 0);
        let odds = random.odds();
        for (sector, before) in &self.before {
            if random.keeps(odds) {
                continue;
            }
            let start = (sector * SECTOR_BYTES).min(data.len());
            let end = (start + SECTOR_BYTES).min(data.len());
            data[start..end].copy_from_slice(&before[..end - start]);
        }
        data.truncate(len);
        Content { durable_len: data.len(), data, before: BTreeMap::new(), locked: false }
    }
}
