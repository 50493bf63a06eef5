//! Who applies: the apply thread, or the node thread itself where waking another would be most of the
//! work.
//!
//! That is a single plain put, on a member on its own, while the apply thread has nothing to do: such a
//! put reads nothing but the index, and waits for no disk. With few clients nearly every commit is one.
//! Entries are applied in order and never by two at once (`duty`).

use std::ops::ControlFlow;

use api::raftpb::{Entry, EntryType};

use super::{
    apply_loop::{ApplyEvent, ApplyLoop},
    duty::Duty,
};
use crate::handle::Handle;

/// A put with more is left to the apply thread.
const HERE_BYTES_MAX: usize = 16 << 10;

/// The state machine's surroundings, and what waits for the apply thread.
pub(crate) type Applier = Duty<ApplyLoop, ApplyEvent>;

/// Applies entries at once if they are a single plain put and nothing else is to be applied; whether
/// it did. Only the node thread of a member on its own calls it.
pub(crate) fn apply_here(applier: &Applier, handle: &Handle, entries: &[Entry]) -> bool {
    let [entry] = entries else { return false };
    if !is_plain_put(entry) {
        return false;
    }
    let Some(mut work) = applier.here() else { return false };
    if work.cuts_soon(handle) {
        return false;
    }
    work.apply_batch(handle, entries);
    true
}

/// The apply thread. Runs until [`ApplyEvent::Stop`].
pub(crate) fn run(applier: &Applier, handle: &Handle) {
    applier.run(|work, batch| {
        for event in batch.drain(..) {
            if matches!(event, ApplyEvent::Stop) {
                return ControlFlow::Break(());
            }
            work.execute(handle, event);
        }
        ControlFlow::Continue(())
    });
}

/// Whether an entry is a small put of a key and a value: without a lease, and without anything of the
/// value before it. Nothing is decoded but keys and lengths of fields.
fn is_plain_put(entry: &Entry) -> bool {
    const HEADER: u32 = 100;
    const PUT: u32 = 4;
    const KEY_AND_VALUE: [u32; 2] = [1, 2];
    if entry.r#type != EntryType::EntryNormal as i32 || entry.data.len() > HERE_BYTES_MAX {
        return false;
    }
    let mut put = None;
    let known = for_each_field(&entry.data, |number, content| {
        if number == PUT && put.is_none() {
            put = Some(content);
            return true;
        }
        number == HEADER
    });
    known && put.is_some_and(|put| for_each_field(put, |number, _| KEY_AND_VALUE.contains(&number)))
}

/// Shows `visit` the number and content of each field of a message; false once it says so, and for
/// fields that are not delimited by a length.
fn for_each_field<'d>(mut data: &'d [u8], mut visit: impl FnMut(u32, &'d [u8]) -> bool) -> bool {
    use prost::encoding::{WireType, decode_key, decode_varint};
    while !data.is_empty() {
        let Ok((number, WireType::LengthDelimited)) = decode_key(&mut data) else { return false };
        let length = decode_varint(&mut data).ok().and_then(|length| usize::try_from(length).ok());
        let Some((content, rest)) = length.and_then(|length| data.split_at_checked(length)) else {
            return false;
        };
        if !visit(number, content) {
            return false;
        }
        data = rest;
    }
    true
}

#[cfg(test)]
mod tests {
    use api::etcdserverpb::{
        DeleteRangeRequest, InternalRaftRequest, PutRequest, RequestHeader, TxnRequest,
    };
    use prost::Message as _;

    use super::*;

    fn entry(request: &InternalRaftRequest) -> Entry {
        Entry { index: 7, term: 2, data: request.encode_to_vec().into(), ..Entry::default() }
    }

    fn put(put: PutRequest) -> InternalRaftRequest {
        let header = RequestHeader { id: 5, username: "u".into(), auth_revision: 3 };
        InternalRaftRequest { header: Some(header), put: Some(put), ..Default::default() }
    }

    #[test]
    fn only_a_put_of_key_and_value_is_plain() {
        let plain = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
        assert!(is_plain_put(&entry(&put(plain.clone()))));
        assert!(is_plain_put(&entry(&put(PutRequest { key: "k".into(), ..Default::default() }))));
        for other in [
            PutRequest { lease: 1, ..plain.clone() },
            PutRequest { prev_kv: true, ..plain.clone() },
            PutRequest { ignore_value: true, ..plain.clone() },
            PutRequest { ignore_lease: true, ..plain.clone() },
            PutRequest { value: vec![0; HERE_BYTES_MAX].into(), ..plain.clone() },
        ] {
            assert!(!is_plain_put(&entry(&put(other))));
        }
        let delete = Some(DeleteRangeRequest { key: "k".into(), ..Default::default() });
        for other in [
            InternalRaftRequest { delete_range: delete.clone(), ..Default::default() },
            InternalRaftRequest { txn: Some(TxnRequest::default()), ..Default::default() },
            InternalRaftRequest { delete_range: delete, ..put(plain.clone()) },
            InternalRaftRequest { id: 9, ..put(plain.clone()) },
            InternalRaftRequest::default(),
        ] {
            assert!(!is_plain_put(&entry(&other)));
        }
        let change = EntryType::EntryConfChange as i32;
        assert!(!is_plain_put(&Entry { r#type: change, ..entry(&put(plain.clone())) }));
        let mut torn = entry(&put(plain));
        torn.data = torn.data.slice(..torn.data.len() - 1);
        assert!(!is_plain_put(&torn));
    }
}
