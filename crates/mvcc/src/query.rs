//! What a range read asks, and its answer.

use api::{
    etcdserverpb::{RangeRequest, range_request},
    kv::RawKeyValue,
    range::KeyRange,
};

/// The direction of sorting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// By key ascending; for another target than the key the same as `Ascend`, but sorted after the
    /// limit was applied to the order of keys, as etcd does.
    #[default]
    None,
    /// Smallest first.
    Ascend,
    /// Greatest first.
    Descend,
}

/// What is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The count of puts in the generation.
    Version,
    /// The create revision.
    Create,
    /// The mod revision.
    Mod,
    /// The value, bytewise.
    Value,
}

/// A range read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// The keys.
    pub range: KeyRange,
    /// The main revision to read at; 0 or less for the current one.
    pub revision: i64,
    /// The most keys to return; 0 or less for no limit.
    pub limit: i64,
    /// The direction of sorting.
    pub order: SortOrder,
    /// What is sorted by.
    pub target: SortTarget,
    /// Answer only how many keys there are.
    pub count_only: bool,
    /// Leave out how many keys there are, where that takes another look at the index; the count is 0
    /// then. For what is read in parts.
    pub uncounted: bool,
    /// Leave out values.
    pub keys_only: bool,
    /// Leave out keys last changed before this revision; 0 for none.
    pub min_mod_revision: i64,
    /// Leave out keys last changed after this revision; 0 for none.
    pub max_mod_revision: i64,
    /// Leave out keys created before this revision; 0 for none.
    pub min_create_revision: i64,
    /// Leave out keys created after this revision; 0 for none.
    pub max_create_revision: i64,
}

impl RangeQuery {
    /// All of a range with its values, now.
    pub fn new(range: KeyRange) -> RangeQuery {
        RangeQuery {
            range,
            revision: 0,
            limit: 0,
            order: SortOrder::None,
            target: SortTarget::Key,
            count_only: false,
            uncounted: false,
            keys_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }

    /// Whether some keys of the range may be left out.
    pub(crate) fn has_filters(&self) -> bool {
        self.min_mod_revision != 0
            || self.max_mod_revision != 0
            || self.min_create_revision != 0
            || self.max_create_revision != 0
    }

    /// Whether a key with these revisions passes the filters; bounds are inclusive.
    pub(crate) fn admits(&self, mod_revision: i64, create_revision: i64) -> bool {
        let within = |value: i64, min: i64, max: i64| {
            (min == 0 || min <= value) && (max == 0 || value <= max)
        };
        within(mod_revision, self.min_mod_revision, self.max_mod_revision)
            && within(create_revision, self.min_create_revision, self.max_create_revision)
    }
}

/// Unknown sort orders and targets are refused before this; they are read as none and key.
impl From<&RangeRequest> for RangeQuery {
    fn from(request: &RangeRequest) -> RangeQuery {
        let order = match request.sort_order() {
            range_request::SortOrder::None => SortOrder::None,
            range_request::SortOrder::Ascend => SortOrder::Ascend,
            range_request::SortOrder::Descend => SortOrder::Descend,
        };
        let target = match request.sort_target() {
            range_request::SortTarget::Key => SortTarget::Key,
            range_request::SortTarget::Version => SortTarget::Version,
            range_request::SortTarget::Create => SortTarget::Create,
            range_request::SortTarget::Mod => SortTarget::Mod,
            range_request::SortTarget::Value => SortTarget::Value,
        };
        RangeQuery {
            range: KeyRange::new(request.key.clone(), request.range_end.clone()),
            revision: request.revision,
            limit: request.limit,
            order,
            target,
            count_only: request.count_only,
            uncounted: false,
            keys_only: request.keys_only,
            min_mod_revision: request.min_mod_revision,
            max_mod_revision: request.max_mod_revision,
            min_create_revision: request.min_create_revision,
            max_create_revision: request.max_create_revision,
        }
    }
}

/// The answer to a [`RangeQuery`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeAnswer {
    /// The keys and values, sorted, filtered and cut to the limit; empty when only counted.
    pub kvs: Vec<RawKeyValue>,
    /// How many keys the range had at that revision, before filters and limit.
    pub count: i64,
    /// Whether the limit left some out.
    pub more: bool,
    /// The current revision at the time of the read, whatever revision was read.
    pub revision: i64,
}
