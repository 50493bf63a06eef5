//! `stm`: software transactions over a few keys, taken again when they conflict.
//!
//! A transaction reads its keys, then commits by one `Txn` whose comparisons depend on what it
//! promises. A read that must be of the first one's revision asks for that revision. An operation is
//! a transaction that committed; the counter `retries` says how often one had to be taken again.

use crate::{
    args::load::{Isolation, StmArgs},
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
        status::Failure,
    },
    load::{
        fleet::Fleet,
        payload::{KeyPicker, KeySpace, Order, Values},
        run::{Load, Run},
    },
};
use anyhow::{Result, ensure};
use api::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request,
};
use bytes::{Bytes, BytesMut};
use prost::Message;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::task::JoinSet;

/// Software transactions.
pub(crate) struct StmLoad {
    clients: usize,
    plan: Rc<Plan>,
    source: Rc<RefCell<Source>>,
}

/// What every transaction is like.
struct Plan {
    space: KeySpace,
    keys_per_txn: u64,
    isolation: Isolation,
}

/// Where transactions come from.
struct Source {
    picker: KeyPicker,
    values: Values,
    rng: SmallRng,
    writes: f64,
}

impl StmLoad {
    /// The load of a command line.
    pub(crate) fn new(args: &StmArgs) -> Result<Self> {
        ensure!(args.keys > 0, "--keys must be above zero");
        ensure!(args.keys_per_txn > 0, "--keys-per-txn must be above zero");
        ensure!(args.keys_per_txn <= args.keys, "--keys-per-txn is more than --keys");
        ensure!((0.0..=1.0).contains(&args.txn_wr_ratio), "--txn-wr-ratio is from 0 to 1");
        let seed = args.load.seed;
        let plan = Plan {
            space: KeySpace::new("", args.key_size, args.keys)?,
            keys_per_txn: args.keys_per_txn,
            isolation: args.isolation,
        };
        let source = Source {
            picker: KeyPicker::new(Order::Random, args.keys, seed),
            values: args.values.values(seed),
            rng: SmallRng::seed_from_u64(seed),
            writes: args.txn_wr_ratio,
        };
        let (plan, source) = (Rc::new(plan), Rc::new(RefCell::new(source)));
        Ok(Self { clients: args.load.clients, plan, source })
    }
}

impl Load for StmLoad {
    async fn prepare(&mut self, _fleet: &Fleet, _stall: Duration) -> Result<()> {
        Ok(())
    }

    fn spawn(&mut self, fleet: &Fleet, run: &Rc<Run>, clients: &mut JoinSet<()>) {
        for index in 0..self.clients {
            let (mut channel, run) = (fleet.channel(index), Rc::clone(run));
            let (plan, source) = (Rc::clone(&self.plan), Rc::clone(&self.source));
            clients.spawn_local(async move {
                while let Some(start) = run.pacer.next_start().await {
                    match transact(&mut channel, &plan, &source, &run).await {
                        Ok(bytes) => run.done(start, bytes),
                        Err(failure) => {
                            let broken = matches!(failure, Failure::Transport(_));
                            run.failed(failure);
                            if broken {
                                return;
                            }
                        }
                    }
                }
            });
        }
    }
}

/// One transaction, until it commits; the bytes of all its answers.
async fn transact(
    channel: &mut Channel,
    plan: &Plan,
    source: &RefCell<Source>,
    run: &Run,
) -> Result<usize, Failure> {
    let (keys, value) = {
        let source = &mut *source.borrow_mut();
        let first = source.picker.pick();
        let numbers = (first..first + plan.keys_per_txn).map(|number| number % plan.space.len());
        let keys: Vec<Bytes> = numbers.map(|number| plan.space.key(number)).collect();
        let writes = source.rng.random_bool(source.writes);
        (keys, writes.then(|| source.values.next()))
    };
    let mut bytes = 0;
    loop {
        let seen = read(channel, plan, &keys, &mut bytes).await?;
        let txn = commit(plan.isolation, &keys, &seen, value.as_ref());
        let answer = channel.unary(Method::Txn, framed(&txn), Keep::Message).await?;
        bytes += answer.bytes;
        if decoded::<TxnResponse>(answer.message)?.succeeded {
            return Ok(bytes);
        }
        run.recorder.borrow_mut().count("retries", 1);
    }
}

/// What a transaction has seen: the revision of its first read, and each key's last change.
struct Seen {
    first: i64,
    changed: Vec<i64>,
}

async fn read(
    channel: &mut Channel,
    plan: &Plan,
    keys: &[Bytes],
    bytes: &mut usize,
) -> Result<Seen, Failure> {
    let mut seen = Seen { first: 0, changed: Vec::with_capacity(keys.len()) };
    let one_revision =
        matches!(plan.isolation, Isolation::Serializable | Isolation::SerializableSnapshot);
    for key in keys {
        let range = RangeRequest {
            key: key.clone(),
            revision: if one_revision { seen.first } else { 0 },
            ..RangeRequest::default()
        };
        let answer = channel.unary(Method::Range, framed(&range), Keep::Message).await?;
        *bytes += answer.bytes;
        let answer: RangeResponse = decoded(answer.message)?;
        if seen.first == 0 {
            seen.first = answer.header.as_ref().map_or(0, |header| header.revision);
        }
        let changed = match answer.kvs.first() {
            None => 0,
            Some(kv) => kv.decode().map_err(|error| broken(&error))?.mod_revision,
        };
        seen.changed.push(changed);
    }
    Ok(seen)
}

/// The `Txn` that commits.
fn commit(isolation: Isolation, keys: &[Bytes], seen: &Seen, value: Option<&Bytes>) -> TxnRequest {
    let compare = |key: &Bytes, result: CompareResult, revision: i64| Compare {
        result: result.into(),
        target: CompareTarget::Mod.into(),
        key: key.clone(),
        target_union: Some(TargetUnion::ModRevision(revision)),
        ..Compare::default()
    };
    let mut compares = Vec::new();
    if isolation != Isolation::ReadCommitted {
        let reads = keys.iter().zip(&seen.changed);
        compares.extend(reads.map(|(key, changed)| compare(key, CompareResult::Equal, *changed)));
    }
    if isolation == Isolation::SerializableSnapshot && value.is_some() {
        compares.extend(keys.iter().map(|key| compare(key, CompareResult::Less, seen.first + 1)));
    }
    let put = |key: &Bytes, value: &Bytes| {
        let put = PutRequest { key: key.clone(), value: value.clone(), ..PutRequest::default() };
        RequestOp { request: Some(Request::RequestPut(put)) }
    };
    let success = value.map(|value| keys.iter().map(|key| put(key, value)).collect());
    TxnRequest { compare: compares, success: success.unwrap_or_default(), failure: Vec::new() }
}

fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    frame::encode(message, &mut framed);
    framed.freeze()
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::Transport(format!("answer to a transaction: {error}"))
}

fn decoded<M: Message + Default>(message: Bytes) -> Result<M, Failure> {
    M::decode(message).map_err(|error| broken(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compared_depends_on_what_is_promised() {
        let keys = [Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        let seen = Seen { first: 9, changed: vec![3, 0] };
        let value = Bytes::from_static(b"v");
        let count = |isolation, value| {
            let txn = commit(isolation, &keys, &seen, value);
            (txn.compare.len(), txn.success.len())
        };
        assert_eq!(count(Isolation::ReadCommitted, Some(&value)), (0, 2));
        assert_eq!(count(Isolation::RepeatableReads, Some(&value)), (2, 2));
        assert_eq!(count(Isolation::Serializable, None), (2, 0));
        assert_eq!(count(Isolation::SerializableSnapshot, Some(&value)), (4, 2));
        assert_eq!(count(Isolation::SerializableSnapshot, None), (2, 0));
    }
}
