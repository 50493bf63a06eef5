//! Latencies of puts, measured from outside.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api::etcdserverpb as pb;
use bytes::Bytes;
use tokio::{sync::watch, task::JoinSet};
use tonic::Status;

use crate::connection::Connection;

/// Durations that were measured.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    sorted: Vec<Duration>,
    /// When each was due, after the beginning, with its duration.
    points: Vec<(Duration, Duration)>,
    /// Requests that failed.
    pub failed: usize,
}

impl Samples {
    /// Of these durations, in any order.
    pub fn of(mut durations: Vec<Duration>) -> Samples {
        durations.sort_unstable();
        Samples { sorted: durations, ..Samples::default() }
    }

    /// Those that were due between these times after the beginning.
    pub fn between(&self, from: Duration, to: Duration) -> Samples {
        let within = self.points.iter().filter(|(due, _)| (from..=to).contains(due));
        Samples::of(within.map(|(_, duration)| *duration).collect())
    }

    /// When those were due, after the beginning, that took longest.
    pub fn longest(&self, count: usize) -> Vec<Duration> {
        let mut points = self.points.clone();
        points.sort_unstable_by_key(|(_, duration)| std::cmp::Reverse(*duration));
        let mut dues: Vec<_> = points.into_iter().take(count).map(|(due, _)| due).collect();
        dues.sort_unstable();
        dues
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The duration that this part of them, from 0 to 1, does not exceed; zero without any.
    pub fn quantile(&self, part: f64) -> Duration {
        let rank = (self.sorted.len() as f64 * part).ceil() as usize;
        let index = rank.clamp(1, self.sorted.len().max(1)) - 1;
        self.sorted.get(index).copied().unwrap_or_default()
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.sorted.last().copied().unwrap_or_default()
    }

    /// One line.
    pub fn line(&self) -> String {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|part| self.quantile(part));
        let (count, failed, max) = (self.count(), self.failed, self.max());
        format!(
            "{count} puts, {failed} failed: p50 {p50:.1?} p95 {p95:.1?} p99 {p99:.1?} max {max:.1?}"
        )
    }
}

/// Puts `size` bytes at a steady rate until `stop` says so. A put's time counts from when it was
/// due, so that a server that stalls cannot hide it.
pub async fn steady(
    connection: Connection,
    rate: u32,
    size: usize,
    mut stop: watch::Receiver<bool>,
) -> Samples {
    let value = Bytes::from(vec![b'v'; size]);
    let mut under_way = JoinSet::new();
    let began = Instant::now();
    let mut points = Vec::new();
    let mut failed = 0;
    let mut note = |result: Result<(Duration, Duration), Status>| match result {
        Ok(point) => points.push(point),
        Err(_) => failed += 1,
    };
    for number in 0_u32.. {
        let due = began + Duration::from_secs(1) * number / rate;
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let (mut kv, value) = (connection.kv.clone(), value.clone());
        under_way.spawn(async move {
            let key = format!("steady/{}", number % 1000).into();
            let request = pb::PutRequest { key, value, ..Default::default() };
            kv.put(request).await.map(|_| (due - began, due.elapsed()))
        });
        while let Some(ended) = under_way.try_join_next() {
            note(ended.expect("a put does not panic"));
        }
    }
    while let Some(ended) = under_way.join_next().await {
        note(ended.expect("a put does not panic"));
    }
    let durations = points.iter().map(|(_, duration)| *duration).collect();
    Samples { failed, points, ..Samples::of(durations) }
}

/// As [`steady`], for so long.
pub async fn steady_for(
    connection: Connection,
    rate: u32,
    size: usize,
    duration: Duration,
) -> Samples {
    let (stop, stopped) = watch::channel(false);
    let samples = tokio::spawn(steady(connection, rate, size, stopped));
    tokio::time::sleep(duration).await;
    let _ = stop.send(true);
    samples.await.expect("measuring does not panic")
}

/// Puts `count` values of `size` bytes under keys of their own as fast as so many clients can.
pub async fn fill(
    connection: Connection,
    clients: u32,
    count: u32,
    size: usize,
) -> Result<Duration, Status> {
    let began = Instant::now();
    let next = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut tasks: JoinSet<Result<(), Status>> = JoinSet::new();
    for _ in 0..clients {
        let (mut kv, next) = (connection.kv.clone(), next.clone());
        tasks.spawn(async move {
            let value = Bytes::from(vec![b'f'; size]);
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let key = format!("fill/{number:08}").into();
                kv.put(pb::PutRequest { key, value: value.clone(), ..Default::default() }).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a put does not panic")?;
    }
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let samples = Samples::of((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!(samples.quantile(0.5), Duration::from_millis(50));
        assert_eq!(samples.quantile(0.99), Duration::from_millis(99));
        assert_eq!(samples.quantile(1.0), samples.max());
        assert_eq!(Samples::default().quantile(0.5), Duration::ZERO);
    }
}
