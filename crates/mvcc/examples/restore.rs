//! Measures the store over the engine: filling, opening, reading, counting and compacting.
//!
//! `cargo run --release -p mvcc --example restore -- [keys] [value bytes] [directory]`

use std::{
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use api::{
    ids::{LeaseId, RaftIndex, Term},
    range::{KeyRange, prefix_end},
};
use bytes::Bytes;
use mvcc::{Compaction, Opened, RangeQuery, Store};
use storage::{
    Backend, Window,
    engine::{LmdbBackend, LmdbOptions},
};

/// Changes that are committed together.
const FLUSH_OPS: usize = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let keys: u64 = args.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let value_bytes: usize = args.next().map_or(Ok(1024), |text| text.parse())?;
    let dir =
        args.next().map_or_else(|| std::env::temp_dir().join("oxetcd-restore"), PathBuf::from);
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    println!("{keys} keys of {value_bytes} bytes in {}", dir.display());
    fill(&dir, keys, value_bytes)?;
    let backend = report("open the engine", || LmdbBackend::open(&dir, LmdbOptions::default()))?;
    let backend: Arc<dyn Backend> = Arc::new(backend);
    let Opened { store, .. } = report("open the store", || Store::open(backend.clone()))?;
    println!("  resident: {} MiB", resident_mib());
    reads(&store, keys)?;
    compaction(&store, &*backend, keys, value_bytes)?;
    println!("  size: {:?}", backend.size()?);
    Ok(())
}

/// Keys like those of Kubernetes, in an order that is not that of keys.
fn key(number: u64) -> Bytes {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("/registry/pods/namespace-{:03}/pod-{mixed:016x}", mixed % 500).into()
}

fn fill(dir: &std::path::Path, keys: u64, value_bytes: usize) -> Result<(), Box<dyn Error>> {
    let backend: Arc<dyn Backend> = Arc::new(LmdbBackend::open(dir, LmdbOptions::default())?);
    let Opened { store, .. } = Store::open(backend.clone())?;
    let window = Window::new();
    let value = Bytes::from(vec![b'v'; value_bytes]);
    let (begun, mut applying) = (Instant::now(), Duration::ZERO);
    for number in 0..keys {
        let applied = Instant::now();
        put(&store, &window, number + 1, key(number), value.clone());
        applying += applied.elapsed();
        if window.pending_ops() >= FLUSH_OPS {
            flush(&store, &window, &*backend)?;
        }
    }
    flush(&store, &window, &*backend)?;
    let all = begun.elapsed();
    println!("fill: {all:?}, of that {applying:?} on the apply thread");
    println!("  size: {:?}, resident: {} MiB", backend.size()?, resident_mib());
    Ok(())
}

fn put(store: &Store, window: &Window, index: u64, key: Bytes, value: Bytes) {
    let mut ops = Vec::with_capacity(2);
    let mut txn = store.write(&mut ops);
    txn.put(key, value, LeaseId(0));
    txn.end();
    window.append(ops, (RaftIndex(index), Term(1)), store.revision());
}

fn flush(store: &Store, window: &Window, backend: &dyn Backend) -> Result<(), Box<dyn Error>> {
    if let Some(flushed) = window.flush(backend)? {
        store.committed(flushed.revision);
    }
    Ok(())
}

fn reads(store: &Store, keys: u64) -> Result<(), Box<dyn Error>> {
    let prefix = Bytes::from_static(b"/registry/pods/");
    let pods = RangeQuery::new(KeyRange::Span(prefix.clone(), prefix_end(&prefix)));
    report("100,000 single keys", || {
        (0..100_000).try_for_each(|number| {
            let one = RangeQuery::new(KeyRange::Single(key(number * 7 % keys)));
            store.range(&one).map(|answer| assert_eq!(answer.count, 1))
        })
    })?;
    report("range of 10,000", || store.range(&RangeQuery { limit: 10_000, ..pods.clone() }))?;
    report("keys of 10,000", || {
        store.range(&RangeQuery { limit: 10_000, keys_only: true, ..pods.clone() })
    })?;
    let counting = RangeQuery { count_only: true, ..pods.clone() };
    report("1,000 counts of all", || {
        (0..1000).try_for_each(|_| store.range(&counting).map(|_| ()))
    })?;
    let past = RangeQuery { revision: store.revision() / 2, ..counting };
    report("one count of all, half of the revisions ago", || store.range(&past))?;
    report("replay of 10,000 revisions", || store.events(2, 10_000, usize::MAX))?;
    Ok(())
}

/// Overwrites every key once and compacts.
fn compaction(
    store: &Store,
    backend: &dyn Backend,
    keys: u64,
    value_bytes: usize,
) -> Result<(), Box<dyn Error>> {
    let window = Window::new();
    let value = Bytes::from(vec![b'w'; value_bytes]);
    report("overwrite every key", || {
        (0..keys).try_for_each(|number| {
            put(store, &window, keys + number + 1, key(number), value.clone());
            if window.pending_ops() >= FLUSH_OPS { flush(store, &window, backend) } else { Ok(()) }
        })
    })?;
    let mut ops = Vec::new();
    store.compact(store.revision(), &mut ops)?;
    window.append(ops, (RaftIndex(2 * keys + 1), Term(1)), store.revision());
    let mut longest = Duration::ZERO;
    report("compact", || -> Result<(), Box<dyn Error>> {
        loop {
            flush(store, &window, backend)?;
            let (mut ops, begun) = (Vec::new(), Instant::now());
            let state = store.compaction_step(10_000, &mut ops)?;
            longest = longest.max(begun.elapsed());
            window.append_background(ops);
            if state == Compaction::Done {
                return flush(store, &window, backend);
            }
        }
    })?;
    println!("  longest step: {longest:?}");
    report("hash", || store.hash_kv(0))?;
    Ok(())
}

fn report<T, E>(what: &str, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let begun = Instant::now();
    let result = run();
    println!("{what}: {:?}", begun.elapsed());
    result
}

/// Memory of the process that is no file.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}
