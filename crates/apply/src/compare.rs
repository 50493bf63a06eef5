//! The guards of a transaction.

use std::cmp::Ordering;

use api::{
    etcdserverpb::{
        Compare,
        compare::{CompareResult, CompareTarget, TargetUnion},
    },
    kv::KeyValue,
    range::KeyRange,
};
use mvcc::ReadError;

/// The store as it is before a transaction.
pub(crate) trait Before {
    /// The keys of a range, as far as comparing with `target` needs them: revisions and version
    /// always, lease and value when they are the target; perhaps without the key itself.
    fn keys(
        &self,
        range: &KeyRange,
        target: Option<CompareTarget>,
    ) -> Result<Vec<KeyValue>, ReadError>;

    /// Whether a range of the transaction may read this revision.
    fn check_revision(&self, revision: i64) -> Result<(), ReadError>;

    /// Whether the key exists.
    fn has_key(&self, key: &[u8]) -> bool;
}

/// Whether all guards hold.
pub(crate) fn all_hold(compares: &[Compare], before: &dyn Before) -> Result<bool, ReadError> {
    for compare in compares {
        if !holds(compare, before)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A guard holds for a range when it holds for each key in it. A missing key compares as zeros, but
/// has no value to compare.
fn holds(compare: &Compare, before: &dyn Before) -> Result<bool, ReadError> {
    let range = KeyRange::new(compare.key.clone(), compare.range_end.clone());
    let target = CompareTarget::try_from(compare.target).ok();
    let keys = before.keys(&range, target)?;
    if keys.is_empty() {
        let absent = KeyValue::default();
        return Ok(target != Some(CompareTarget::Value) && matches(compare, target, &absent));
    }
    Ok(keys.iter().all(|key| matches(compare, target, key)))
}

/// Compares one key. A target union of another kind than the target counts as zero or empty; an
/// unknown target compares equal and an unknown result always holds, as in etcd.
fn matches(compare: &Compare, target: Option<CompareTarget>, key: &KeyValue) -> bool {
    let given = compare.target_union.as_ref();
    let order = match (target, given) {
        (Some(CompareTarget::Version), Some(TargetUnion::Version(n))) => key.version.cmp(n),
        (Some(CompareTarget::Version), _) => key.version.cmp(&0),
        (Some(CompareTarget::Create), Some(TargetUnion::CreateRevision(n))) => {
            key.create_revision.cmp(n)
        }
        (Some(CompareTarget::Create), _) => key.create_revision.cmp(&0),
        (Some(CompareTarget::Mod), Some(TargetUnion::ModRevision(n))) => key.mod_revision.cmp(n),
        (Some(CompareTarget::Mod), _) => key.mod_revision.cmp(&0),
        (Some(CompareTarget::Lease), Some(TargetUnion::Lease(n))) => key.lease.cmp(n),
        (Some(CompareTarget::Lease), _) => key.lease.cmp(&0),
        (Some(CompareTarget::Value), Some(TargetUnion::Value(value))) => key.value.cmp(value),
        (Some(CompareTarget::Value), _) => key.value[..].cmp(&[]),
        (None, _) => Ordering::Equal,
    };
    match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => order.is_eq(),
        Ok(CompareResult::NotEqual) => order.is_ne(),
        Ok(CompareResult::Greater) => order.is_gt(),
        Ok(CompareResult::Less) => order.is_lt(),
        Err(_) => true,
    }
}
