//! Puts under load: many clients at once, at a rate or as fast as they can, measured.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use api::etcdserverpb::PutRequest;
use bytes::Bytes;
use client::client::Client;
use tokio::sync::{Mutex, mpsc};

use crate::progress::{Progress, Unit};

/// What a load does.
pub(super) struct Load {
    /// Where keys begin.
    pub(super) prefix: String,
    /// Bytes of a key after its prefix.
    pub(super) key_bytes: usize,
    /// Bytes of a value.
    pub(super) value_bytes: usize,
    /// Puts in all; without bound when there is none.
    pub(super) puts: Option<u64>,
    /// Puts a second; as many as the clients can make when there is none.
    pub(super) rate: Option<u64>,
    /// How long to put.
    pub(super) duration: Option<Duration>,
}

/// How a load went.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Seconds that each put took, sorted.
    pub(super) latencies: Vec<f64>,
    /// Failed puts by error.
    pub(super) errors: BTreeMap<String, u64>,
    /// From the first put to the end of the last.
    pub(super) total: Duration,
}

impl Report {
    /// Puts a second.
    pub(super) fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.total.as_secs_f64()
    }

    /// The slowest put in seconds.
    pub(super) fn slowest(&self) -> f64 {
        self.latencies.last().copied().unwrap_or(0.0)
    }

    /// The standard deviation of the puts in seconds.
    pub(super) fn deviation(&self) -> f64 {
        let count = self.latencies.len() as f64;
        let mean = self.latencies.iter().sum::<f64>() / count;
        let square = |latency: &f64| (latency - mean) * (latency - mean);
        (self.latencies.iter().map(square).sum::<f64>() / count).sqrt()
    }
}

/// Runs a load until it is through, or `stop` completes.
pub(super) async fn run(
    clients: Vec<Client>,
    load: Load,
    stop: impl Future<Output = ()>,
) -> Report {
    let (sender, puts) = mpsc::channel(clients.len().max(1));
    let puts = Arc::new(Mutex::new(puts));
    let done = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let workers: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::spawn(work(client, puts.clone(), done.clone())))
        .collect();
    // The receiver must go with the workers, or a load that failed would wait for them.
    drop(puts);
    let progress = tokio::spawn(show(done, load.puts, load.duration));
    tokio::select! {
        () = feed(load, sender) => {}
        () = stop => {}
    }
    let mut report = Report::default();
    for worker in workers {
        let (latencies, errors) = worker.await.expect("a worker does not panic");
        report.latencies.extend(latencies);
        for (error, count) in errors {
            *report.errors.entry(error).or_default() += count;
        }
    }
    report.total = start.elapsed();
    progress.abort();
    // Ended, it has left an empty line.
    let _ = progress.await;
    report.latencies.sort_by(f64::total_cmp);
    report
}

type Measured = (Vec<f64>, BTreeMap<String, u64>);

async fn work(
    client: Client,
    puts: Arc<Mutex<mpsc::Receiver<PutRequest>>>,
    done: Arc<AtomicU64>,
) -> Measured {
    let mut latencies = Vec::new();
    let mut errors = BTreeMap::<String, u64>::new();
    loop {
        let next = puts.lock().await.recv().await;
        let Some(put) = next else { return (latencies, errors) };
        let start = Instant::now();
        match client.put(put).await {
            Ok(_) => latencies.push(start.elapsed().as_secs_f64()),
            Err(error) => *errors.entry(error.to_string()).or_default() += 1,
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Makes puts at the load's rate until it is through.
async fn feed(load: Load, sender: mpsc::Sender<PutRequest>) {
    let start = Instant::now();
    let value = Bytes::from(vec![0; load.value_bytes]);
    for count in 0_u64.. {
        if load.puts.is_some_and(|puts| count >= puts) {
            return;
        }
        if let Some(rate) = load.rate {
            let due = start + Duration::from_secs_f64(count as f64 / rate as f64);
            tokio::time::sleep_until(due.into()).await;
        }
        if load.duration.is_some_and(|duration| start.elapsed() >= duration) {
            return;
        }
        let mut key = load.prefix.clone().into_bytes();
        let end = key.len() + load.key_bytes;
        key.extend_from_slice(&rand::random::<u64>().to_be_bytes());
        key.resize(end, 0);
        let put = PutRequest { key: key.into(), value: value.clone(), ..PutRequest::default() };
        if sender.send(put).await.is_err() {
            return;
        }
    }
}

/// Shows on a terminal how far the load is, by puts or by time.
async fn show(done: Arc<AtomicU64>, puts: Option<u64>, duration: Option<Duration>) {
    let start = Instant::now();
    let unit = if puts.is_some() { Unit::Things("puts") } else { Unit::Seconds };
    let mut progress = Progress::new("writing", unit);
    loop {
        match puts {
            Some(puts) => progress.show(done.load(Ordering::Relaxed), Some(puts)),
            None => progress.show(start.elapsed().as_secs(), duration.map(|all| all.as_secs())),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_how_it_went() {
        let report = Report {
            latencies: vec![0.1, 0.2, 0.3],
            errors: BTreeMap::new(),
            total: Duration::from_secs(2),
        };
        assert!((report.rate() - 1.5).abs() < 1e-9);
        assert!((report.slowest() - 0.3).abs() < 1e-9);
        assert!((report.deviation() - 0.081_649_658).abs() < 1e-6);
    }
}
