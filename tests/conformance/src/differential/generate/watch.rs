//! Watchers: short ones that read history, and standing ones.

use api::etcdserverpb as pb;
use rand::Rng;

use super::Generator;
use crate::differential::op::Op;

/// How many standing watchers there may be.
const SLOTS: usize = 8;

impl Generator {
    /// A watcher that reads what happened up to now.
    pub(super) fn replay(&mut self) -> pb::WatchCreateRequest {
        let span = (self.revision - self.compact_revision()).max(1);
        let start_revision = match self.rng.random_range(0..12) {
            0 => 0,
            1 => self.compact_revision(),
            2 => self.compact_revision() - 1,
            3 => -1,
            4 => i64::MIN,
            5 => self.revision + self.rng.random_range(1..9),
            _ => self.revision - self.rng.random_range(0..span),
        };
        pb::WatchCreateRequest { start_revision, ..self.watcher() }
    }

    /// A standing watcher comes or goes.
    pub(super) fn standing(&mut self) -> Op {
        let slot = self.rng.random_range(0..SLOTS);
        if self.rng.random_bool(0.2) {
            // What it was not yet told would be lost to the comparison.
            self.queue.push_back(Op::Unfollow { slot });
            return Op::Gather;
        }
        let start_revision = match self.rng.random_range(0..6) {
            0 => self.revision + self.rng.random_range(2..60),
            1 => (self.revision - self.rng.random_range(0..30)).max(self.compact_revision()),
            _ => 0,
        };
        let request = pb::WatchCreateRequest { start_revision, ..self.watcher() };
        // Which revision a created message tells is certain only while nothing is written.
        Op::Follow { slot, request }
    }

    fn watcher(&mut self) -> pb::WatchCreateRequest {
        let (key, range_end) = self.key_range();
        let mut request = pb::WatchCreateRequest {
            key,
            range_end,
            prev_kv: self.rng.random(),
            fragment: self.rng.random_bool(0.2),
            progress_notify: self.rng.random_bool(0.2),
            ..Default::default()
        };
        if self.rng.random_bool(0.1) {
            request.key.clear();
        }
        if self.rng.random_bool(0.2) {
            request.watch_id = self.rng.random_range(0..1000);
        }
        if self.rng.random_bool(0.2) {
            let filters = self.rng.random_range(1..4);
            request.filters = (0..filters).map(|_| self.any_enum(2)).collect();
        }
        request
    }
}
