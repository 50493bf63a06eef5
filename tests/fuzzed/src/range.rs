//! Ranges: keys and range ends of any bytes, every order, filter, limit and revision, against the model;
//! and what a range says of single keys against the definition.

use api::{
    etcdserverpb::{DeleteRangeRequest, InternalRaftRequest, PutRequest, RangeRequest},
    range::{KeyRange, prefix_end},
};
use arbitrary::{Arbitrary, Unstructured};
use model::Model;

use crate::{
    member::{self, Member},
    requests,
};

#[derive(Arbitrary, Debug)]
struct Case {
    /// Keys that are put, or deleted.
    changes: Vec<(Vec<u8>, bool)>,
    compact_at: Option<u8>,
    reads: Vec<Read>,
}

#[derive(Arbitrary, Debug)]
struct Read {
    key: Vec<u8>,
    end: End,
    limit: i64,
    revision: i8,
    order: i8,
    target: i8,
    flags: u8,
    bounds: [i8; 4],
}

#[derive(Arbitrary, Debug)]
enum End {
    None,
    Open,
    Prefix,
    Of(Vec<u8>),
}

/// Runs an input.
pub fn run(input: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(input)) else { return };
    let (mut member, mut model) = (Member::new(), Model::new());
    for (step, (key, delete)) in case.changes.iter().take(40).enumerate() {
        if key.is_empty() {
            continue;
        }
        let mut request = InternalRaftRequest::default();
        let key = bytes::Bytes::copy_from_slice(key);
        if *delete {
            request.delete_range = Some(DeleteRangeRequest { key, ..Default::default() });
        } else {
            request.put = Some(PutRequest { value: key.slice(..1), key, ..Default::default() });
        }
        let expected = model.apply(&request, step as u64);
        member::compare(&expected, &member.apply(&request, step as u64).result, &request);
        if step % 7 == 0 {
            member.flush();
        }
    }
    if let Some(at) = case.compact_at {
        let request = requests::compaction(i64::from(at));
        let expected = model.apply(&request, 100);
        member::compare(&expected, &member.apply(&request, 100).result, &request);
        member.flush();
        member.compaction_step(100);
    }
    for read in case.reads.iter().take(8) {
        let request = read.request();
        contains_as_defined(&request);
        if apply::validate::check_range(&request).is_ok() {
            member.compare_range(&model, &request);
        }
    }
}

impl Read {
    fn request(&self) -> RangeRequest {
        let key = bytes::Bytes::copy_from_slice(&self.key);
        let range_end = match &self.end {
            End::None => bytes::Bytes::new(),
            End::Open => bytes::Bytes::from_static(b"\0"),
            End::Prefix => prefix_end(&key),
            End::Of(end) => bytes::Bytes::copy_from_slice(end),
        };
        RangeRequest {
            key,
            range_end,
            limit: self.limit,
            revision: self.revision.into(),
            sort_order: self.order.into(),
            sort_target: self.target.into(),
            serializable: self.flags & 1 != 0,
            keys_only: self.flags & 2 != 0,
            count_only: self.flags & 4 != 0,
            min_mod_revision: self.bounds[0].into(),
            max_mod_revision: self.bounds[1].into(),
            min_create_revision: self.bounds[2].into(),
            max_create_revision: self.bounds[3].into(),
        }
    }
}

/// No range end: the key alone. `\0`: every key from it on. Otherwise: below the end.
fn contains_as_defined(request: &RangeRequest) {
    let (key, end) = (&request.key[..], &request.range_end[..]);
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    for probe in [key, end, b"", b"\0", b"a", b"\xff", &prefix_end(key)[..]] {
        let expected = match end {
            b"" => probe == key,
            b"\0" => probe >= key,
            end => key <= probe && probe < end,
        };
        assert_eq!(range.contains(probe), expected, "{range:?} and {probe:?}");
        assert!(!expected || !range.is_empty(), "{range:?} is not empty");
    }
}
