//! Proposals that wait: for the next ready, which takes them all at once; for a leader, while there
//! is none; and conf changes for the one before them.
//!
//! etcd blocks the proposer until a leader is known; a conf change proposed while another is
//! unapplied is lost there and its client times out. Here both wait in a bounded queue, those that
//! followers forward with the leader's own.

use std::collections::VecDeque;

use crate::convert::{Entry, payload_len};

/// What waits, oldest first.
#[derive(Debug)]
pub(crate) struct Proposals {
    normal: VecDeque<Waiting>,
    conf_changes: VecDeque<Waiting>,
    bytes: usize,
    max_count: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    since_ms: u64,
    entry: Entry,
}

impl Proposals {
    /// A queue that holds at most `max_count` proposals, of at most `max_bytes` together.
    pub(crate) fn new(max_count: usize, max_bytes: usize) -> Proposals {
        Proposals {
            normal: VecDeque::new(),
            conf_changes: VecDeque::new(),
            bytes: 0,
            max_count,
            max_bytes,
        }
    }

    /// Whether there is no room for `entry`. One always fits.
    pub(crate) fn is_full(&self, entry: &Entry) -> bool {
        let count = self.len();
        let bytes = self.bytes + payload_len(entry);
        count != 0 && (self.max_count <= count || self.max_bytes < bytes)
    }

    /// Takes one in.
    pub(crate) fn push(&mut self, entry: Entry, conf_change: bool, since_ms: u64) {
        self.bytes += payload_len(&entry);
        let queue = if conf_change { &mut self.conf_changes } else { &mut self.normal };
        queue.push_back(Waiting { since_ms, entry });
    }

    /// The number of proposals that wait.
    pub(crate) fn len(&self) -> usize {
        self.normal.len() + self.conf_changes.len()
    }

    /// The oldest ones of at most `max_size` bytes together, at least one unless there is none.
    pub(crate) fn take_batch(&mut self, max_size: u64) -> Vec<Entry> {
        let mut size = 0;
        let fits = self.normal.iter().take_while(|waiting| {
            let first = size == 0;
            size += payload_len(&waiting.entry) as u64 + 1;
            first || size <= max_size
        });
        let count = fits.count();
        let batch: Vec<Entry> = self.normal.drain(..count).map(|w| w.entry).collect();
        self.bytes -= batch.iter().map(payload_len).sum::<usize>();
        batch
    }

    /// The oldest conf change.
    pub(crate) fn take_conf_change(&mut self) -> Option<Entry> {
        let entry = self.conf_changes.pop_front()?.entry;
        self.bytes -= payload_len(&entry);
        Some(entry)
    }

    /// Forgets what came before `since_ms`.
    pub(crate) fn expire(&mut self, since_ms: u64) {
        for queue in [&mut self.normal, &mut self.conf_changes] {
            while queue.front().is_some_and(|waiting| waiting.since_ms < since_ms) {
                let expired = queue.pop_front().expect("the front was just seen");
                self.bytes -= payload_len(&expired.entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::proposal;

    fn of_size(size: usize) -> Entry {
        proposal(vec![0; size].into())
    }

    #[test]
    fn limits_hold_but_one_always_fits() {
        let mut proposals = Proposals::new(2, 100);
        assert!(!proposals.is_full(&of_size(1000)));
        proposals.push(of_size(60), false, 0);
        assert!(proposals.is_full(&of_size(41)));
        assert!(!proposals.is_full(&of_size(40)));
        proposals.push(of_size(40), true, 0);
        assert!(proposals.is_full(&of_size(0)));
        assert_eq!(proposals.take_batch(u64::MAX).len(), 1);
        assert!(!proposals.is_full(&of_size(60)));
    }

    #[test]
    fn batches_are_cut_by_size() {
        let mut proposals = Proposals::new(10, 1000);
        for size in [50, 40, 40, 5] {
            proposals.push(of_size(size), false, 0);
        }
        let mut sizes = Vec::new();
        while proposals.len() != 0 {
            let batch = proposals.take_batch(45);
            sizes.push(batch.iter().map(|e| e.data.len()).collect::<Vec<_>>());
        }
        assert_eq!(sizes, [vec![50], vec![40], vec![40], vec![5]]);
        assert_eq!(proposals.bytes, 0);
    }

    #[test]
    fn old_ones_are_forgotten() {
        let mut proposals = Proposals::new(10, 1000);
        for (since, conf_change) in [(1, false), (2, true), (3, false), (4, true)] {
            proposals.push(of_size(1), conf_change, since);
        }
        proposals.expire(3);
        assert_eq!((proposals.len(), proposals.bytes), (2, 2));
    }
}
