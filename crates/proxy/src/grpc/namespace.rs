//! `--namespace`: clients see the keys below one prefix, without it.

use api::{
    etcdserverpb::{
        DeleteRangeResponse, PutResponse, RangeResponse, RequestOp, ResponseOp, TxnRequest,
        TxnResponse, request_op::Request, response_op::Response,
    },
    kv::RawKeyValue,
    mvccpb::Event,
    range::prefix_end,
};
use bytes::Bytes;

/// A prefix of keys; the empty one changes nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace(Bytes);

impl Namespace {
    /// The keys below `prefix`.
    pub(crate) fn new(prefix: &str) -> Namespace {
        Namespace(Bytes::copy_from_slice(prefix.as_bytes()))
    }

    /// Whether there is a prefix.
    pub(crate) fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    /// A range of clients as one of the cluster.
    pub(crate) fn enter(&self, key: &mut Bytes, end: &mut Bytes) {
        if !self.is_set() {
            return;
        }
        *key = self.below(key);
        if end.as_ref() == b"\0" {
            *end = prefix_end(&self.0);
        } else if !end.is_empty() {
            *end = self.below(end);
        }
    }

    fn below(&self, key: &[u8]) -> Bytes {
        [&self.0, key].concat().into()
    }

    /// A transaction of clients as one of the cluster.
    pub(crate) fn enter_txn(&self, txn: &mut TxnRequest) {
        if !self.is_set() {
            return;
        }
        for compare in &mut txn.compare {
            self.enter(&mut compare.key, &mut compare.range_end);
        }
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            self.enter_op(op);
        }
    }

    fn enter_op(&self, op: &mut RequestOp) {
        match &mut op.request {
            Some(Request::RequestRange(r)) => self.enter(&mut r.key, &mut r.range_end),
            Some(Request::RequestPut(r)) => r.key = self.below(&r.key),
            Some(Request::RequestDeleteRange(r)) => self.enter(&mut r.key, &mut r.range_end),
            Some(Request::RequestTxn(txn)) => self.enter_txn(txn),
            None => {}
        }
    }

    /// A key of the cluster as clients see it; `None` for one of another namespace.
    pub(crate) fn leave(&self, key: &Bytes) -> Option<Bytes> {
        key.starts_with(&self.0).then(|| key.slice(self.0.len()..))
    }

    fn leave_kv(&self, raw: &mut RawKeyValue) {
        // The cluster answers with keys of the range that was asked for, hence with the prefix.
        let Ok(mut kv) = raw.decode() else { return };
        if let Some(key) = self.leave(&kv.key) {
            kv.key = key;
            *raw = kv.to_raw();
        }
    }

    /// An answer of the cluster as clients see it.
    pub(crate) fn leave_range(&self, response: &mut RangeResponse) {
        if self.is_set() {
            response.kvs.iter_mut().for_each(|kv| self.leave_kv(kv));
        }
    }

    /// An answer of the cluster as clients see it.
    pub(crate) fn leave_put(&self, response: &mut PutResponse) {
        if self.is_set() {
            response.prev_kv.iter_mut().for_each(|kv| self.leave_kv(kv));
        }
    }

    /// An answer of the cluster as clients see it.
    pub(crate) fn leave_delete(&self, response: &mut DeleteRangeResponse) {
        if self.is_set() {
            response.prev_kvs.iter_mut().for_each(|kv| self.leave_kv(kv));
        }
    }

    /// An answer of the cluster as clients see it.
    pub(crate) fn leave_txn(&self, response: &mut TxnResponse) {
        if self.is_set() {
            response.responses.iter_mut().for_each(|op| self.leave_op(op));
        }
    }

    fn leave_op(&self, op: &mut ResponseOp) {
        match &mut op.response {
            Some(Response::ResponseRange(r)) => self.leave_range(r),
            Some(Response::ResponsePut(r)) => self.leave_put(r),
            Some(Response::ResponseDeleteRange(r)) => self.leave_delete(r),
            Some(Response::ResponseTxn(r)) => self.leave_txn(r),
            None => {}
        }
    }

    /// Events of the cluster as clients see them.
    pub(crate) fn leave_events(&self, events: &mut [Event]) {
        if self.is_set() {
            for event in events {
                event.kv.iter_mut().chain(&mut event.prev_kv).for_each(|kv| self.leave_kv(kv));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use api::kv::KeyValue;
    use client::kv::{created_at, get, put_op, range_op, txn};

    use super::*;

    fn entered(prefix: &str, key: &'static str, end: &'static [u8]) -> (Bytes, Bytes) {
        let (mut key, mut end) = (Bytes::from(key), Bytes::from(end));
        Namespace::new(prefix).enter(&mut key, &mut end);
        (key, end)
    }

    #[test]
    fn ranges_stay_below_the_prefix() {
        assert_eq!(entered("p/", "a", b""), ("p/a".into(), "".into()));
        assert_eq!(entered("p/", "a", b"c"), ("p/a".into(), "p/c".into()));
        assert_eq!(entered("p/", "a", b"\0"), ("p/a".into(), "p0".into()));
        assert_eq!(entered("p/", "\0", b"\0"), ("p/\0".into(), "p0".into()));
        assert_eq!(entered("", "a", b"\0"), ("a".into(), "\0".into()));
    }

    #[test]
    fn transactions_are_entered_and_left_at_every_level() {
        let namespace = Namespace::new("p/");
        let inner = txn(vec![created_at("k", 1)], vec![range_op(get("r"))], vec![]);
        let inner = RequestOp { request: Some(Request::RequestTxn(inner)) };
        let put = api::etcdserverpb::PutRequest { key: "w".into(), ..Default::default() };
        let mut outer = txn(vec![created_at("c", 1)], vec![inner], vec![put_op(put)]);
        namespace.enter_txn(&mut outer);
        assert_eq!(outer.compare[0].key, "p/c");
        let Some(Request::RequestTxn(inner)) = &outer.success[0].request else { panic!() };
        assert_eq!(inner.compare[0].key, "p/k");
        let Some(Request::RequestRange(range)) = &inner.success[0].request else { panic!() };
        assert_eq!(range.key, "p/r");
        let Some(Request::RequestPut(put)) = &outer.failure[0].request else { panic!() };
        assert_eq!(put.key, "p/w");

        let kv = KeyValue { key: "p/r".into(), version: 3, ..KeyValue::default() }.to_raw();
        let range = RangeResponse { kvs: vec![kv], count: 1, ..RangeResponse::default() };
        let op = ResponseOp { response: Some(Response::ResponseRange(range)) };
        let inner = TxnResponse { responses: vec![op], ..TxnResponse::default() };
        let op = ResponseOp { response: Some(Response::ResponseTxn(inner)) };
        let mut answer = TxnResponse { responses: vec![op], ..TxnResponse::default() };
        namespace.leave_txn(&mut answer);
        let Some(Response::ResponseTxn(inner)) = &answer.responses[0].response else { panic!() };
        let Some(Response::ResponseRange(range)) = &inner.responses[0].response else { panic!() };
        let kv = range.kvs[0].decode().unwrap();
        assert_eq!((kv.key.as_ref(), kv.version), (&b"r"[..], 3));
    }

    #[test]
    fn keys_of_others_are_not_seen() {
        assert_eq!(Namespace::new("p/").leave(&"p/a".into()), Some("a".into()));
        assert_eq!(Namespace::new("p/").leave(&"q/a".into()), None);
    }
}
