//! Single reads and writes.

use api::etcdserverpb as pb;
use rand::Rng;

use super::Generator;

impl Generator {
    /// A put with any flags; most are sound.
    pub(super) fn put(&mut self) -> pb::PutRequest {
        let mut put = pb::PutRequest {
            key: self.key(),
            value: self.value(),
            prev_kv: self.rng.random_bool(0.2),
            ..Default::default()
        };
        match self.rng.random_range(0..20) {
            0..4 => put.lease = self.some_lease(),
            4 => {
                put.ignore_value = true;
                // A value beside the flag is an error; keep most sound.
                if self.rng.random_bool(0.9) {
                    put.value.clear();
                }
            }
            5 => {
                put.ignore_lease = true;
                if self.rng.random_bool(0.1) {
                    put.lease = self.some_lease();
                }
            }
            6 => {
                put.value.clear();
                put.ignore_value = true;
                put.ignore_lease = true;
            }
            7 => {
                put.value.clear();
                put.ignore_value = true;
                put.lease = self.some_lease();
            }
            _ => {}
        }
        put
    }

    /// A deletion of one key or some.
    pub(super) fn delete_range(&mut self) -> pb::DeleteRangeRequest {
        let prev_kv = self.rng.random_bool(0.3);
        let (key, range_end) = match self.rng.random_range(0..40) {
            0 => self.key_range(),
            1..6 => self.bounded_range(),
            _ => (self.key(), Default::default()),
        };
        pb::DeleteRangeRequest { key, range_end, prev_kv }
    }

    /// A range with any options. Sort enumerations without a name only where they do no harm:
    /// 3.5 dies of an unknown target, and 3.6 refuses what 3.5 executes.
    pub(super) fn range(&mut self, unnamed_order: bool) -> pb::RangeRequest {
        let (key, range_end) = self.key_range();
        let mut range = pb::RangeRequest {
            key,
            range_end,
            revision: self.read_revision(),
            serializable: self.rng.random_bool(0.3),
            keys_only: self.rng.random_bool(0.15),
            count_only: self.rng.random_bool(0.08),
            ..Default::default()
        };
        range.limit = self.limit();
        if self.rng.random_bool(0.35) {
            range.sort_order = self.rng.random_range(0..3);
            range.sort_target = self.rng.random_range(0..5);
            if unnamed_order && self.rng.random_bool(0.03) {
                range.sort_order = self.any_enum(3);
            }
        }
        if self.rng.random_bool(0.2) {
            self.filters(&mut range);
        }
        range
    }

    /// A range as `RangeStream` takes it: default order, no filters.
    pub(super) fn streamed_range(&mut self) -> pb::RangeRequest {
        let mut range = self.range(false);
        range.sort_order = if self.rng.random_bool(0.2) { 1 } else { 0 };
        range.sort_target = 0;
        range.min_mod_revision = 0;
        range.max_mod_revision = 0;
        range.min_create_revision = 0;
        range.max_create_revision = 0;
        range
    }

    fn limit(&mut self) -> i64 {
        match self.rng.random_range(0..20) {
            0..11 => 0,
            11..16 => self.rng.random_range(1..8),
            16..18 => self.rng.random_range(8..400),
            _ => self.extreme(),
        }
    }

    fn filters(&mut self, range: &mut pb::RangeRequest) {
        if self.rng.random() {
            range.min_mod_revision = self.near_revision();
        }
        if self.rng.random_bool(0.3) {
            range.max_mod_revision = self.near_revision();
        }
        if self.rng.random_bool(0.3) {
            range.min_create_revision = self.near_revision();
        }
        if self.rng.random_bool(0.3) {
            range.max_create_revision = self.near_revision();
        }
    }
}
