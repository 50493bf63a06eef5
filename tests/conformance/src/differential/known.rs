//! Where versions of etcd differ on purpose, and what a clock may change. All else is a fault.

use api::{etcdserverpb as pb, kv::KeyValue};
use tonic::Code;

use super::{
    normalise::for_each_range,
    op::{Answer, Failure, Op},
};
use crate::client::decode_one;

/// Major and minor.
pub type Version = (u32, u32);

/// One difference that is no fault.
pub struct Known {
    /// A short name.
    pub name: &'static str,
    /// Why the answers differ.
    pub reason: &'static str,
    /// The version that brought the change; `None`: any two servers may differ.
    since: Option<Version>,
    /// Makes two answers equal when they differ in just this. The first is of the older server.
    forgive: fn(&Op, &mut Answer, &mut Answer),
}

/// Every known difference.
pub const KNOWN: &[Known] = &[
    Known {
        name: "invalid sort option",
        reason: "3.6 refuses sort orders and targets that have no name; 3.5 takes them for none",
        since: Some((3, 6)),
        forgive: forgive_sort_option,
    },
    Known {
        name: "keys_only lease",
        reason: "3.7 answers keys_only from its index, which knows no lease",
        since: Some((3, 7)),
        forgive: forgive_keys_only_lease,
    },
    Known {
        name: "hash_revision",
        reason: "HashKVResponse has this field since 3.6",
        since: Some((3, 6)),
        forgive: forgive_hash_revision,
    },
    Known {
        name: "order of checks in a transaction",
        reason: "3.5 looks at all puts first and then at all ranges, 3.6 at one operation after the \
                 other, so the first error found may be another",
        since: Some((3, 6)),
        forgive: forgive_check_order,
    },
    Known {
        name: "remaining time",
        reason: "two clocks, read at different moments: seconds left may differ by 2",
        since: None,
        forgive: forgive_remaining_time,
    },
];

/// Compares two answers, forgiving known differences; answers the names of those that were met, or
/// the answers as far as they could be made equal.
pub fn compare(
    op: &Op,
    versions: (Version, Version),
    left: &Answer,
    right: &Answer,
) -> Result<Vec<&'static str>, Box<(Answer, Answer)>> {
    if left == right {
        return Ok(Vec::new());
    }
    let (mut left, mut right) = (left.clone(), right.clone());
    let mut met = Vec::new();
    for known in KNOWN {
        let (older, newer) = (versions.0.min(versions.1), versions.0.max(versions.1));
        if known.since.is_some_and(|since| older >= since || newer < since) {
            continue;
        }
        let before = (left.clone(), right.clone());
        if versions.0 <= versions.1 {
            (known.forgive)(op, &mut left, &mut right);
        } else {
            (known.forgive)(op, &mut right, &mut left);
        }
        if before != (left.clone(), right.clone()) {
            met.push(known.name);
        }
    }
    if left == right { Ok(met) } else { Err(Box::new((left, right))) }
}

fn forgive_sort_option(op: &Op, older: &mut Answer, newer: &mut Answer) {
    let Op::Range(request) = op else { return };
    let named = (0..=2).contains(&request.sort_order) && (0..=4).contains(&request.sort_target);
    let refused = Answer::Error(Failure {
        code: Code::InvalidArgument,
        message: "etcdserver: invalid sort option".to_owned(),
    });
    if !named && *newer == refused {
        *older = refused;
    }
}

fn forgive_keys_only_lease(op: &Op, older: &mut Answer, newer: &mut Answer) {
    match (op, older, newer) {
        (
            Op::Range(request) | Op::RangeStream(request),
            Answer::Range(older),
            Answer::Range(newer),
        ) => forget_leases(request, older, newer),
        (Op::Txn(request), Answer::Txn(older), Answer::Txn(newer)) => {
            let mut answers = Vec::new();
            for_each_range(request, newer, &mut |_, answer| answers.push(answer.clone()));
            let mut answers = answers.iter();
            for_each_range(request, older, &mut |request, older| {
                if let Some(newer) = answers.next() {
                    forget_leases(request, older, newer);
                }
            });
        }
        _ => {}
    }
}

/// Takes the leases out of the older answer when the newer has none.
fn forget_leases(
    request: &pb::RangeRequest,
    older: &mut pb::RangeResponse,
    newer: &pb::RangeResponse,
) {
    let by_value = request.sort_target == pb::range_request::SortTarget::Value as i32;
    let none_in_newer = newer.kvs.iter().all(|kv| decode_one(kv).lease == 0);
    if request.keys_only && !by_value && none_in_newer {
        for kv in &mut older.kvs {
            *kv = KeyValue { lease: 0, ..decode_one(kv) }.to_raw();
        }
    }
}

fn forgive_hash_revision(op: &Op, older: &mut Answer, newer: &mut Answer) {
    let (Op::HashKv(request), Answer::HashKv(older), Answer::HashKv(newer)) = (op, older, newer)
    else {
        return;
    };
    let current = newer.header.map_or(0, |header| header.revision);
    let expected = if request.revision == 0 { current } else { request.revision };
    if older.hash_revision == 0 && newer.hash_revision == expected {
        older.hash_revision = expected;
    }
}

/// Both fail; one because of a put, the other because of a range.
fn forgive_check_order(op: &Op, older: &mut Answer, newer: &mut Answer) {
    const OF_PUTS: &[&str] =
        &["etcdserver: key not found", "etcdserver: requested lease not found"];
    const OF_RANGES: &[&str] = &[
        "etcdserver: mvcc: required revision is a future revision",
        "etcdserver: mvcc: required revision has been compacted",
    ];
    let (Op::Txn(_), Answer::Error(put), Answer::Error(range)) = (op, &*older, &*newer) else {
        return;
    };
    if OF_PUTS.contains(&put.message.as_str()) && OF_RANGES.contains(&range.message.as_str()) {
        *older = newer.clone();
    }
}

fn forgive_remaining_time(_: &Op, left: &mut Answer, right: &mut Answer) {
    if let (Answer::LeaseTimeToLive(left), Answer::LeaseTimeToLive(right)) = (left, right)
        && left.ttl.abs_diff(right.ttl) <= 2
        && left.ttl > 0
        && right.ttl > 0
    {
        left.ttl = right.ttl;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = (3, 5);
    const NEW: Version = (3, 7);

    fn hash(hash: u32, hash_revision: i64) -> Answer {
        Answer::HashKv(pb::HashKvResponse { hash, hash_revision, ..Default::default() })
    }

    #[test]
    fn forgives_between_the_versions_that_differ() {
        let op = Op::HashKv(pb::HashKvRequest { revision: 7 });
        let met = compare(&op, (OLD, NEW), &hash(1, 0), &hash(1, 7)).unwrap();
        assert_eq!(met, ["hash_revision"]);
        let met = compare(&op, (NEW, OLD), &hash(1, 7), &hash(1, 0)).unwrap();
        assert_eq!(met, ["hash_revision"]);
        assert!(compare(&op, (NEW, NEW), &hash(1, 0), &hash(1, 7)).is_err());
        assert!(compare(&op, (OLD, OLD), &hash(1, 0), &hash(1, 7)).is_err());
    }

    #[test]
    fn forgives_nothing_beside_the_difference() {
        let op = Op::HashKv(pb::HashKvRequest { revision: 7 });
        assert!(compare(&op, (OLD, NEW), &hash(1, 0), &hash(2, 7)).is_err());
        assert!(compare(&op, (OLD, NEW), &hash(1, 0), &hash(1, 8)).is_err());
    }
}
