//! Probing a peer: round trip time, clock difference, and a warning while it does not answer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::ids::MemberId;
use http::{Method, StatusCode};
use tokio::time::{Instant, interval_at, sleep};

use crate::{
    clock,
    config::Config,
    exchange::{Exchange, ExchangeError, no_body, request, within},
    stats::PeerStats,
    url::PeerUrl,
};

/// The path that answers probes.
pub(crate) const PATH: &str = "/raft/probing";
/// Weight of a new round trip time in the smoothed one.
const WEIGHT: f64 = 0.125;
/// A clock difference from which on a warning is due.
const DRIFT_NANOS_MAX: i128 = 1_000_000_000;

/// How a prober connects, by etcd's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keeps its connection.
    Snapshot,
    /// Opens a connection for each probe, as streams do.
    RaftMessage,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Snapshot => "ROUND_TRIPPER_SNAPSHOT",
            Kind::RaftMessage => "ROUND_TRIPPER_RAFT_MESSAGE",
        }
    }
}

/// An answer to a probe, and what is written as one.
#[derive(serde::Deserialize, serde::Serialize)]
pub(crate) struct Health {
    #[serde(rename = "OK")]
    pub(crate) ok: bool,
    #[serde(rename = "Now")]
    pub(crate) now: String,
}

/// Probes one peer in one way.
pub(crate) struct Prober {
    kind: Kind,
    peer: MemberId,
    config: Arc<Config>,
    urls: Vec<PeerUrl>,
    stats: Arc<PeerStats>,
    at: usize,
    kept: Option<Exchange>,
    found: Found,
}

/// What the probes found so far.
#[derive(Debug, Default)]
struct Found {
    /// The smoothed round trip time, once a probe was answered.
    round_trip: Option<Duration>,
    clock_difference_nanos: i128,
    healthy: bool,
    error: Option<String>,
}

impl Prober {
    pub(crate) fn new(
        kind: Kind,
        peer: MemberId,
        config: Arc<Config>,
        urls: Vec<PeerUrl>,
        stats: Arc<PeerStats>,
    ) -> Prober {
        Prober { kind, peer, config, urls, stats, at: 0, kept: None, found: Found::default() }
    }

    /// Probes until the task is ended.
    pub(crate) async fn run(mut self) {
        let timing = self.config.timing.clone();
        let mut ticks = interval_at(Instant::now() + timing.probe, timing.probe);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut report = std::pin::pin!(sleep(timing.probe_report_unhealthy));
        loop {
            tokio::select! {
                _ = ticks.tick() => self.probe().await,
                () = &mut report => {
                    self.report();
                    let healthy = self.found.healthy;
                    let next = if healthy {
                        timing.probe_report_healthy
                    } else {
                        timing.probe_report_unhealthy
                    };
                    report.as_mut().reset(Instant::now() + next);
                }
            }
        }
    }

    async fn probe(&mut self) {
        let started = Instant::now();
        let asked = self.ask().await;
        match asked {
            Ok(Some(there)) => self.found.success(started.elapsed(), there),
            Ok(None) => self.failure("the answer is not one of a healthy member".to_owned()),
            Err(error) => self.failure(error.to_string()),
        }
    }

    fn failure(&mut self, error: String) {
        self.found.healthy = false;
        self.found.error = Some(error);
        self.at = (self.at + 1) % self.urls.len();
        self.kept = None;
    }

    /// The time that the peer's clock shows; `None` when its answer is no such thing.
    async fn ask(&mut self) -> Result<Option<i128>, ExchangeError> {
        let (config, url) = (&self.config, &self.urls[self.at]);
        let request = request(Method::GET, url, PATH, no_body())?;
        let mut exchange = match self.kept.take().filter(Exchange::is_reusable) {
            Some(exchange) => exchange,
            None => Exchange::open(config, url).await?,
        };
        let limit = config.timing.stalled;
        let (answer, body) = within(limit, "read", exchange.send(request)).await?.into_parts();
        let body = within(limit, "read", exchange.collect(body)).await?;
        if answer.status != StatusCode::OK {
            return Ok(None);
        }
        if self.kind == Kind::Snapshot {
            self.kept = Some(exchange);
        }
        let health = serde_json::from_slice::<Health>(&body).ok();
        Ok(health.filter(|health| health.ok).and_then(|health| clock::parse(&health.now)))
    }

    fn report(&self) {
        let Found { round_trip, clock_difference_nanos, healthy, error } = &self.found;
        let name = self.kind.as_str();
        let error = error.as_deref().unwrap_or_default();
        let rtt = round_trip.unwrap_or_default();
        if !healthy {
            tracing::warn!(
                "round-tripper-name" = name,
                "remote-peer-id" = %self.peer,
                ?rtt,
                error,
                "prober detected unhealthy status"
            );
        }
        if *clock_difference_nanos > DRIFT_NANOS_MAX {
            let nanos = u64::try_from(*clock_difference_nanos).unwrap_or(u64::MAX);
            tracing::warn!(
                "round-tripper-name" = name,
                "remote-peer-id" = %self.peer,
                "clock-drift" = ?Duration::from_nanos(nanos),
                ?rtt,
                error,
                "prober found high clock drift"
            );
        }
        if let Some(rtt) = round_trip {
            self.stats.round_trip.observe(*rtt);
        }
    }
}

impl Found {
    fn success(&mut self, took: Duration, there: i128) {
        let before = self.round_trip.unwrap_or_default();
        let smoothed = before.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT);
        let half = i128::try_from(smoothed.as_nanos() / 2).unwrap_or_default();
        self.round_trip = Some(smoothed);
        self.clock_difference_nanos = clock::nanos(SystemTime::now()) - there - half;
        self.healthy = true;
        self.error = None;
    }
}
