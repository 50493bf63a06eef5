//! Ranges in steps against ranges read as one, and who reads them.

use std::{future::Future, pin::pin, sync::mpsc, task::Context, task::Poll, task::Waker};

use api::ids::LeaseId;
use mvcc::Opened;
use storage::{Op, mem::MemBackend};

use super::*;

const STEP: i64 = STEP_TURNS * TURN_KEYS;
const KEYS: usize = 2 * STEP as usize + 500;

fn key(number: usize) -> Bytes {
    format!("key-{number:06}").into()
}

/// A store with so many keys, each put in a transaction with 99 others.
fn store(keys: usize) -> Arc<Store> {
    let Opened { store, .. } = Store::open(Arc::new(MemBackend::new())).unwrap();
    let mut ops: Vec<Op> = Vec::new();
    for begin in (0..keys).step_by(100) {
        let mut txn = store.write(&mut ops);
        for number in begin..keys.min(begin + 100) {
            txn.put(key(number), vec![7; number % 50].into(), LeaseId(0));
        }
        txn.end();
    }
    Arc::new(store)
}

fn all() -> RangeQuery {
    RangeQuery::new(KeyRange::From(Bytes::from_static(b"\0")))
}

#[tokio::test]
async fn the_steps_are_what_one_read_answers() {
    let (lists, store) = (Lists::start().unwrap(), store(KEYS));
    let revision = store.revision();
    let some = KeyRange::Span(key(10), key(KEYS - 10));
    let few = KeyRange::Span(key(10), key(20));
    let step = STEP;
    for range in [all().range, some, few] {
        for limit in [0, 1, FIRST_KEYS, FIRST_KEYS + 1, step, step + FIRST_KEYS, 3 * step] {
            for (revision, keys_only) in [(0, false), (revision - 3, false), (0, true)] {
                let range = range.clone();
                let query = RangeQuery { limit, revision, keys_only, range, ..all() };
                let (answer, _) = lists.range(&store, query.clone()).await.unwrap();
                assert!(answer == store.range(&query).unwrap(), "{query:?}");
            }
        }
    }
    let future = RangeQuery { revision: revision + 1, ..all() };
    let failure = lists.range(&store, future).await.err().unwrap();
    assert_eq!(failure.message, Error::FutureRev.message());
}

#[tokio::test]
async fn what_is_not_in_the_order_of_keys_is_read_as_one() {
    let (lists, store) = (Lists::start().unwrap(), store(2000));
    let reads = [
        RangeQuery { order: SortOrder::Descend, ..all() },
        RangeQuery { order: SortOrder::Ascend, target: SortTarget::Value, ..all() },
        RangeQuery { order: SortOrder::Descend, target: SortTarget::Mod, limit: 1500, ..all() },
        RangeQuery { min_mod_revision: 10, limit: 700, ..all() },
    ];
    for query in reads {
        let (answer, _) = lists.range(&store, query.clone()).await.unwrap();
        assert!(answer == store.range(&query).unwrap(), "{query:?}");
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Keeps all threads that read busy until the senders are dropped.
async fn occupied(lists: &Lists) -> Vec<mpsc::Sender<()>> {
    let count = thread::available_parallelism().map_or(1, usize::from) / 2;
    let (told, began) = mpsc::channel();
    let mut held = Vec::new();
    for _ in 0..count.max(1) {
        let (sender, receiver) = mpsc::channel::<()>();
        let told = told.clone();
        let mut run = Box::pin(lists.run(move || {
            told.send(()).unwrap();
            let _released = receiver.recv();
        }));
        assert!(poll(run.as_mut()).is_pending());
        began.recv().unwrap();
        held.push(sender);
    }
    held
}

#[tokio::test]
async fn the_thread_that_asks_reads_what_is_short_and_no_more() {
    let (lists, store) = (Lists::start().unwrap(), store(2000));
    let held = occupied(&lists).await;
    let short = RangeQuery { range: KeyRange::Span(key(0), key(200)), ..all() };
    let mut short = pin!(lists.range(&store, short));
    let Poll::Ready(Ok((answer, None))) = poll(short.as_mut()) else { panic!("it waits") };
    assert_eq!(answer.kvs.len(), 200);
    let mut long = pin!(lists.range(&store, all()));
    assert!(poll(long.as_mut()).is_pending());
    drop(held);
    let (answer, share) = long.await.unwrap();
    assert_eq!(answer.kvs.len(), 2000);
    assert!(share.is_some_and(|share| share.counts()));
    let name = lists.run(|| thread::current().name().map(str::to_owned)).await.unwrap();
    assert!(name.unwrap().starts_with("range-"));
}

#[tokio::test]
async fn a_read_that_a_compaction_overtakes_is_taken_again() {
    let (lists, store) = (Lists::start().unwrap(), store(2000));
    let held = occupied(&lists).await;
    let began = store.revision();
    let mut now = pin!(lists.range(&store, all()));
    let mut then = pin!(lists.range(&store, RangeQuery { revision: began, ..all() }));
    assert!(poll(now.as_mut()).is_pending());
    assert!(poll(then.as_mut()).is_pending());
    let mut ops: Vec<Op> = Vec::new();
    let mut txn = store.write(&mut ops);
    txn.put(key(0), "new".into(), LeaseId(0));
    txn.end();
    store.compact(began + 1, &mut ops).unwrap();
    drop(held);
    let (answer, _) = now.await.unwrap();
    assert_eq!((answer.revision, answer.kvs.len()), (began + 1, 2000));
    assert!(answer == store.range(&all()).unwrap());
    assert_eq!(then.await.err().unwrap().message, Error::Compacted.message());
}
