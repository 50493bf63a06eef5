//! Transactions as they are sent, and what is learnt from their answers.

use super::*;
use crate::{
    args::{Cli, Command, Verb},
    load::payload::Order,
};
use api::{
    etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp},
    kv::KeyValue,
};
use clap::Parser as _;
use std::time::Instant;

fn updates(line: &str) -> Updates {
    let cli = Cli::try_parse_from(line.split(' ')).expect("parses");
    let Command::Verb(Verb::TxnK8s(args)) = cli.command else { panic!("txn-k8s") };
    Updates::new(&args).expect("valid")
}

/// The next transaction of `requests`.
fn sent(requests: &mut impl Requests) -> (Call, TxnRequest) {
    let mut message = BytesMut::new();
    let call = requests.next(&mut message);
    let txn = TxnRequest::decode(&message[frame::HEADER_LEN..]).expect("a transaction");
    (call, txn)
}

fn expected_revision(txn: &TxnRequest) -> i64 {
    match txn.compare[0].target_union {
        Some(TargetUnion::ModRevision(revision)) => revision,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_follows_the_revisions_it_sees() {
    let mut updates = updates("bench txn-k8s --key-space-size 1");
    let mut recorder = Recorder::new(Instant::now());
    let (call, txn) = sent(&mut updates);
    assert_eq!(expected_revision(&txn), 0);
    assert_eq!((txn.success.len(), txn.failure.len()), (1, 1));

    let header = |revision| Some(ResponseHeader { revision, ..ResponseHeader::default() });
    let won = TxnResponse { header: header(7), succeeded: true, responses: vec![] };
    updates.answered(call.ticket, won.encode_to_vec().into(), &mut recorder).expect("read");
    assert_eq!(expected_revision(&sent(&mut updates).1), 7);

    let kv = KeyValue { mod_revision: 11, ..KeyValue::default() };
    let range = RangeResponse { kvs: vec![kv.to_raw()], ..RangeResponse::default() };
    let lost = TxnResponse {
        header: header(12),
        succeeded: false,
        responses: vec![ResponseOp { response: Some(Response::ResponseRange(range)) }],
    };
    updates.answered(call.ticket, lost.encode_to_vec().into(), &mut recorder).expect("read");
    assert_eq!(expected_revision(&sent(&mut updates).1), 11);
    assert_eq!(recorder.outcome().counters["conflicts"], 1);
}

#[test]
fn an_answer_that_is_none_is_a_failure() {
    let mut updates = updates("bench txn-k8s --key-space-size 1");
    let mut recorder = Recorder::new(Instant::now());
    let lost = TxnResponse::default().encode_to_vec();
    for answer in [Bytes::from_static(&[0xff]), lost.into()] {
        assert!(updates.answered(0, answer, &mut recorder).is_err());
    }
}

fn keys_put(txn: &TxnRequest) -> Vec<String> {
    let key = |op: &RequestOp| match &op.request {
        Some(Request::RequestPut(put)) => put.key.escape_ascii().to_string(),
        other => panic!("{other:?}"),
    };
    txn.success.iter().map(key).collect()
}

#[test]
fn a_transaction_never_puts_a_key_twice() {
    let mut puts = Puts {
        space: KeySpace::new("", 2, 5).expect("fits"),
        picker: KeyPicker::new(Order::Random, 5, 3),
        values: Values::new(1, 1),
        ops: 5,
    };
    for _ in 0..20 {
        let mut keys = keys_put(&sent(&mut puts).1);
        keys.sort();
        assert_eq!(keys, ["00", "01", "02", "03", "04"]);
    }
}

#[test]
fn a_fill_visits_every_key() {
    let space = KeySpace::new("", 2, 7).expect("fits");
    let mut puts = Puts::filling(space, Values::new(1, 1), 3);
    let mut keys: Vec<_> = (0..3).flat_map(|_| keys_put(&sent(&mut puts).1)).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys, ["00", "01", "02", "03", "04", "05", "06"]);
}
