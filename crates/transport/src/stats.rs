//! Counters of the peer network as plain atomics; the server gives them their names
//! (`etcd_network_*`, spec metrics.md).

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use api::ids::MemberId;
use parking_lot::RwLock;

/// Members with counters of their own. Ids come from messages, so that a stranger can invent them;
/// what comes above is counted for member 0.
const COUNTED_MEMBERS_MAX: usize = 1024;

/// Upper bounds in seconds of `peer_round_trip_time_seconds`.
pub const ROUND_TRIP_BOUNDS: [f64; 16] = powers_of_two(0.0001);
/// Upper bounds in seconds of `snapshot_{send,receive}_total_duration_seconds`.
pub const SNAPSHOT_BOUNDS: [f64; 10] = powers_of_two(0.1);

const fn powers_of_two<const N: usize>(first: f64) -> [f64; N] {
    let mut bounds = [first; N];
    let mut at = 1;
    while at < N {
        bounds[at] = bounds[at - 1] * 2.0;
        at += 1;
    }
    bounds
}

/// A counter or a gauge that never is below zero.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// How often a duration fell below each bound.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    counts: [AtomicU64; N],
    above: AtomicU64,
    nanos: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new(bounds: &'static [f64; N]) -> Histogram<N> {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Histogram { bounds, counts, above: AtomicU64::new(0), nanos: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = self.bounds.iter().position(|bound| seconds <= *bound);
        bucket.map_or(&self.above, |at| &self.counts[at]).fetch_add(1, Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> HistogramReading {
        let mut total = 0;
        let mut buckets = Vec::with_capacity(N);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count.load(Relaxed);
            buckets.push((*bound, total));
        }
        total += self.above.load(Relaxed);
        let sum_seconds = Duration::from_nanos(self.nanos.load(Relaxed)).as_secs_f64();
        HistogramReading { buckets, count: total, sum_seconds }
    }
}

/// A histogram as Prometheus shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramReading {
    /// Upper bound in seconds and how many were not above it.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// Their sum in seconds.
    pub sum_seconds: f64,
}

/// The counters of one peer. The labels that etcd gives them stand in brackets.
#[derive(Debug)]
pub struct PeerStats {
    /// `active_peers` [Local, Remote]: 1 while the peer is active.
    pub active: Gauge,
    /// `disconnected_peers_total` [Local, Remote].
    pub disconnected: Counter,
    /// `peer_sent_bytes_total` [To].
    pub sent_bytes: Counter,
    /// `peer_sent_failures_total` [To].
    pub sent_failures: Counter,
    /// `peer_received_bytes_total` [From].
    pub received_bytes: Counter,
    /// `peer_received_failures_total` [From].
    pub received_failures: Counter,
    /// `peer_round_trip_time_seconds` [To].
    pub round_trip: Histogram<16>,
    /// `snapshot_send_inflights_total` [To].
    pub snapshot_send_inflight: Gauge,
    /// `snapshot_send_success` [To].
    pub snapshot_send_success: Counter,
    /// `snapshot_send_failures` [To].
    pub snapshot_send_failures: Counter,
    /// `snapshot_send_total_duration_seconds` [To].
    pub snapshot_send_took: Histogram<10>,
    /// `snapshot_receive_inflights_total` [From].
    pub snapshot_receive_inflight: Gauge,
    /// `snapshot_receive_success` [From].
    pub snapshot_receive_success: Counter,
    /// `snapshot_receive_failures` [From].
    pub snapshot_receive_failures: Counter,
    /// `snapshot_receive_total_duration_seconds` [From].
    pub snapshot_receive_took: Histogram<10>,
}

impl PeerStats {
    fn new() -> PeerStats {
        PeerStats {
            active: Gauge::default(),
            disconnected: Counter::default(),
            sent_bytes: Counter::default(),
            sent_failures: Counter::default(),
            received_bytes: Counter::default(),
            received_failures: Counter::default(),
            round_trip: Histogram::new(&ROUND_TRIP_BOUNDS),
            snapshot_send_inflight: Gauge::default(),
            snapshot_send_success: Counter::default(),
            snapshot_send_failures: Counter::default(),
            snapshot_send_took: Histogram::new(&SNAPSHOT_BOUNDS),
            snapshot_receive_inflight: Gauge::default(),
            snapshot_receive_success: Counter::default(),
            snapshot_receive_failures: Counter::default(),
            snapshot_receive_took: Histogram::new(&SNAPSHOT_BOUNDS),
        }
    }
}

/// The counters of all peers, those of removed ones included.
#[derive(Debug, Default)]
pub struct Stats {
    peers: RwLock<BTreeMap<MemberId, Arc<PeerStats>>>,
    /// Requests that failed before it was known who sent them: etcd labels them with the address
    /// of the sender (`peer_received_failures_total`).
    pub unknown_received_failures: Counter,
    /// Databases refused before it was known who sent them: `snapshot_receive_failures` with
    /// From=`UNKNOWN_SNAPSHOT_SENDER`.
    pub unknown_snapshot_failures: Counter,
}

impl Stats {
    /// The counters of a member; made when they are first asked for.
    pub fn peer(&self, id: MemberId) -> Arc<PeerStats> {
        if let Some(stats) = self.peers.read().get(&id) {
            return stats.clone();
        }
        let mut peers = self.peers.write();
        let id = if peers.len() < COUNTED_MEMBERS_MAX { id } else { MemberId(0) };
        peers.entry(id).or_insert_with(|| Arc::new(PeerStats::new())).clone()
    }

    /// All members with counters, by id. Member 0 stands for link heartbeats, as in etcd.
    pub fn peers(&self) -> Vec<(MemberId, Arc<PeerStats>)> {
        self.peers.read().iter().map(|(id, stats)| (*id, stats.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_etcd() {
        assert_eq!(ROUND_TRIP_BOUNDS[15], 3.2768);
        assert_eq!(SNAPSHOT_BOUNDS[9], 51.2);
    }

    #[test]
    fn a_histogram_counts_by_bound() {
        let histogram = Histogram::new(&SNAPSHOT_BOUNDS);
        for millis in [50, 100, 150, 60_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets[0], (0.1, 2));
        assert_eq!(reading.buckets[1], (0.2, 3));
        assert_eq!(reading.buckets[9].1, 3);
        assert_eq!((reading.count, reading.sum_seconds), (4, 60.3));
    }

    #[test]
    fn invented_members_share_one_set_of_counters() {
        let stats = Stats::default();
        for id in 1..3000 {
            stats.peer(MemberId(id)).received_bytes.add(1);
        }
        let peers = stats.peers();
        assert_eq!(peers.len(), COUNTED_MEMBERS_MAX + 1);
        assert_eq!(peers[0].0, MemberId(0));
        assert_eq!(peers[0].1.received_bytes.get(), 2999 - COUNTED_MEMBERS_MAX as u64);
    }
}
