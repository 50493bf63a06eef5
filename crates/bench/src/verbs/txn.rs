//! `txn-put`, `txn-k8s`, `txn-mixed`: transactions.

use crate::{
    args::load::{PutArgs, TxnMixedArgs, TxnPutArgs},
    grpc::{channel::Keep, frame, method::Method, status::Failure},
    load::{
        payload::{KeyPicker, KeySpace, Values},
        record::Recorder,
        unary::{Call, Requests},
    },
    verbs::range::bounds,
};
use anyhow::{Result, ensure};
use api::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
    response_op::Response,
};
use bytes::{Bytes, BytesMut};
use prost::Message as _;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

fn put(key: Bytes, value: Bytes) -> RequestOp {
    let put = PutRequest { key, value, ..PutRequest::default() };
    RequestOp { request: Some(Request::RequestPut(put)) }
}

fn range(key: Bytes, range_end: Bytes) -> RequestOp {
    let range = RangeRequest { key, range_end, ..RangeRequest::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

/// Transactions of several puts; etcd refuses a key put twice, so neighbours are put together.
#[derive(Debug)]
pub(crate) struct Puts {
    space: KeySpace,
    picker: KeyPicker,
    values: Values,
    ops: u64,
}

impl Puts {
    /// The transactions of a command line.
    pub(crate) fn new(args: &TxnPutArgs) -> Result<Self> {
        let seed = args.load.seed;
        let ops = args.txn_ops as u64;
        ensure!(ops > 0, "--txn-ops must be above zero");
        ensure!(ops <= args.keys.key_space_size, "--txn-ops is more than the key space holds");
        Ok(Self {
            space: args.keys.space()?,
            picker: args.keys.picker(seed),
            values: args.values.values(seed),
            ops,
        })
    }

    /// Transactions that put every key of `space` in order, `ops` at a time.
    pub(crate) fn filling(space: KeySpace, values: Values, ops: u64) -> Self {
        let groups = space.len().div_ceil(ops);
        let order = crate::load::payload::Order::Sequential;
        Self { picker: KeyPicker::new(order, groups, 0).spaced(ops), space, values, ops }
    }
}

impl Requests for Puts {
    fn next(&mut self, message: &mut BytesMut) -> Call {
        let ticket = self.picker.pick();
        let keys = (0..self.ops).map(|i| (ticket + i) % self.space.len());
        let success = keys.map(|number| put(self.space.key(number), self.values.next())).collect();
        frame::encode(&TxnRequest { success, ..TxnRequest::default() }, message);
        Call { method: Method::Txn, ticket }
    }
}

/// Kubernetes' update: if the key still has the revision that was last seen, put, else get it. A key
/// not yet seen is taken for absent, as on create.
#[derive(Debug)]
pub(crate) struct Updates {
    space: KeySpace,
    picker: KeyPicker,
    values: Values,
    /// Last revision seen of each key.
    seen: Vec<i64>,
}

impl Updates {
    /// The transactions of a command line.
    pub(crate) fn new(args: &PutArgs) -> Result<Self> {
        let seed = args.load.seed;
        let space = args.keys.space()?;
        Ok(Self {
            picker: args.keys.picker(seed),
            values: args.values.values(seed),
            seen: vec![0; usize::try_from(space.len())?],
            space,
        })
    }
}

impl Requests for Updates {
    fn next(&mut self, message: &mut BytesMut) -> Call {
        let ticket = self.picker.pick();
        let key = self.space.key(ticket);
        let compare = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.clone(),
            target_union: Some(TargetUnion::ModRevision(self.seen[ticket as usize])),
            ..Compare::default()
        };
        let txn = TxnRequest {
            compare: vec![compare],
            success: vec![put(key.clone(), self.values.next())],
            failure: vec![range(key, Bytes::new())],
        };
        frame::encode(&txn, message);
        Call { method: Method::Txn, ticket }
    }

    fn keep(&self) -> Keep {
        Keep::Message
    }

    fn answered(
        &mut self,
        ticket: u64,
        answer: Bytes,
        recorder: &mut Recorder,
    ) -> Result<(), Failure> {
        let broken = |what: &str| Failure::Transport(format!("answer to a transaction: {what}"));
        let answer = TxnResponse::decode(answer).map_err(|error| broken(&error.to_string()))?;
        let revision = if answer.succeeded {
            answer.header.ok_or_else(|| broken("no header"))?.revision
        } else {
            recorder.count("conflicts", 1);
            let response = answer.responses.into_iter().next().and_then(|op| op.response);
            let Some(Response::ResponseRange(found)) = response else {
                return Err(broken("no range"));
            };
            match found.kvs.first() {
                Some(kv) => kv.decode().map_err(|error| broken(&error.to_string()))?.mod_revision,
                None => 0,
            }
        };
        // Answers to two updates of one key may come in either order.
        let seen = &mut self.seen[ticket as usize];
        *seen = revision.max(*seen);
        Ok(())
    }
}

/// Reading and writing transactions, drawn by their ratio.
#[derive(Debug)]
pub(crate) struct Mixed {
    space: KeySpace,
    picker: KeyPicker,
    values: Values,
    span: u64,
    read_share: f64,
    rng: SmallRng,
}

impl Mixed {
    /// The transactions of a command line.
    pub(crate) fn new(args: &TxnMixedArgs) -> Result<Self> {
        let seed = args.load.seed;
        ensure!(args.span > 0, "--span must be above zero");
        Ok(Self {
            space: args.keys.space()?,
            picker: args.keys.picker(seed),
            values: args.values.values(seed),
            span: args.span,
            read_share: args.rw_ratio / (1.0 + args.rw_ratio),
            rng: SmallRng::seed_from_u64(seed),
        })
    }
}

impl Requests for Mixed {
    fn next(&mut self, message: &mut BytesMut) -> Call {
        let ticket = self.picker.pick();
        let op = if self.rng.random_bool(self.read_share) {
            let (key, end) = bounds(&self.space, ticket, self.span);
            range(key, end)
        } else {
            put(self.space.key(ticket), self.values.next())
        };
        frame::encode(&TxnRequest { success: vec![op], ..TxnRequest::default() }, message);
        Call { method: Method::Txn, ticket }
    }
}

#[cfg(test)]
mod tests;
