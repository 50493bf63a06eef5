//! What is kept of each request: a latency histogram, counts per second, and errors by their text.

use crate::grpc::status::{Failure, TRANSPORT};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Longest latency that is told apart from longer ones.
const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// Decimal digits to which latencies are kept.
const LATENCY_DIGITS: u8 = 3;
/// Different error texts that are told apart; the rest is counted as one.
const ERROR_KINDS_MAX: usize = 64;

/// A latency histogram in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty histogram.
    pub(crate) fn new() -> Self {
        let max = LATENCY_MAX.as_nanos() as u64;
        Self(Histogram::new_with_max(max, LATENCY_DIGITS).expect("constants within its bounds"))
    }

    /// Adds one latency.
    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.0.saturating_record(nanos);
    }

    /// Latencies recorded.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The figures of a report.
    pub(crate) fn summary(&self) -> Summary {
        let at = |quantile| nanos_to_us(self.0.value_at_quantile(quantile));
        Summary {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            min_us: nanos_to_us(self.0.min()),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: nanos_to_us(self.0.max()),
        }
    }
}

fn nanos_to_us(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

/// A histogram in figures; all times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Latencies recorded.
    pub(crate) count: u64,
    /// Their mean.
    pub(crate) mean_us: f64,
    /// The smallest.
    pub(crate) min_us: f64,
    /// The median.
    pub(crate) p50_us: f64,
    /// 90% are not above.
    pub(crate) p90_us: f64,
    /// 99% are not above.
    pub(crate) p99_us: f64,
    /// 99.9% are not above.
    pub(crate) p999_us: f64,
    /// The largest.
    pub(crate) max_us: f64,
}

/// One second of a load.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// The second, from 0.
    pub(crate) at: u64,
    /// Operations that ended in it.
    pub(crate) ops: u64,
    /// Their median, microseconds.
    pub(crate) p50_us: f64,
    /// 99% of them are not above.
    pub(crate) p99_us: f64,
    /// The largest.
    pub(crate) max_us: f64,
}

/// Errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorCount {
    /// gRPC code, or `Transport`.
    pub(crate) code: String,
    /// The server's text.
    pub(crate) text: String,
    /// How often.
    pub(crate) count: u64,
}

/// The record of one load.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    begun: Instant,
    last: Instant,
    latencies: Latencies,
    series: BTreeMap<&'static str, Latencies>,
    counters: BTreeMap<&'static str, u64>,
    errors: BTreeMap<Failure, u64>,
    /// The second under way, and those that are over.
    present: (u64, Latencies),
    seconds: Vec<Second>,
    answer_bytes: u64,
    finished: u64,
}

impl Recorder {
    /// The empty record of a load that began at `begun`.
    pub(crate) fn new(begun: Instant) -> Self {
        Self {
            begun,
            last: begun,
            latencies: Latencies::new(),
            series: BTreeMap::new(),
            counters: BTreeMap::new(),
            errors: BTreeMap::new(),
            present: (0, Latencies::new()),
            seconds: Vec::new(),
            answer_bytes: 0,
            finished: 0,
        }
    }

    /// An operation meant to start at `start` was done at `now`.
    pub(crate) fn done(&mut self, start: Instant, now: Instant, answer_bytes: usize) {
        let latency = now.saturating_duration_since(start);
        self.latencies.record(latency);
        let second = now.saturating_duration_since(self.begun).as_secs();
        if second != self.present.0 {
            self.seconds.extend(self.present_second());
            self.present.0 = second;
            self.present.1.0.reset();
        }
        self.present.1.record(latency);
        self.answer_bytes += answer_bytes as u64;
        self.finished += 1;
        self.last = now;
    }

    /// What there is of the second under way, if anything.
    fn present_second(&self) -> Option<Second> {
        let (at, latencies) = &self.present;
        let summary = latencies.summary();
        (summary.count > 0).then_some(Second {
            at: *at,
            ops: summary.count,
            p50_us: summary.p50_us,
            p99_us: summary.p99_us,
            max_us: summary.max_us,
        })
    }

    /// An operation failed.
    pub(crate) fn failed(&mut self, failure: Failure) {
        self.finished += 1;
        self.last = Instant::now();
        if self.errors.len() >= ERROR_KINDS_MAX && !self.errors.contains_key(&failure) {
            let rest = Failure::Transport("(other errors)".into());
            *self.errors.entry(rest).or_default() += 1;
        } else {
            *self.errors.entry(failure).or_default() += 1;
        }
    }

    /// Adds a latency to the series `name`, one beside the operations' own.
    pub(crate) fn beside(&mut self, name: &'static str, latency: Duration) {
        self.series.entry(name).or_insert_with(Latencies::new).record(latency);
    }

    /// Adds to the counter `name`.
    pub(crate) fn count(&mut self, name: &'static str, by: u64) {
        *self.counters.entry(name).or_default() += by;
    }

    /// Operations that came to an end, well or not.
    pub(crate) fn finished(&self) -> u64 {
        self.finished
    }

    /// Operations that failed.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Latencies of the operations that went well.
    pub(crate) fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// The record in figures.
    pub(crate) fn outcome(&self) -> Outcome {
        let seconds = self.last.saturating_duration_since(self.begun).as_secs_f64();
        let ops = self.latencies.count();
        let errors = self.errors.iter().map(|(failure, count)| ErrorCount {
            code: failure.code_name().to_owned(),
            text: failure.text().to_owned(),
            count: *count,
        });
        Outcome {
            seconds,
            ops,
            ops_per_second: ratio(ops as f64, seconds),
            answer_bytes_per_op: ratio(self.answer_bytes as f64, ops as f64),
            latency: self.latencies.summary(),
            series: self.series.iter().map(|(k, v)| ((*k).to_owned(), v.summary())).collect(),
            counters: self.counters.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(),
            ratios: BTreeMap::new(),
            errors: errors.collect(),
            seconds_of: self.seconds.iter().copied().chain(self.present_second()).collect(),
        }
    }
}

/// `a / b`, zero when there is nothing to divide by.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

impl Outcome {
    /// The first failure that was none of the server's answers: what was measured is then not the
    /// load that was asked for.
    pub(crate) fn broken(&self) -> Option<&ErrorCount> {
        self.errors.iter().find(|error| error.code == TRANSPORT)
    }
}

/// A record in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// From the begin to the last operation's end.
    pub(crate) seconds: f64,
    /// Operations that went well.
    pub(crate) ops: u64,
    /// Operations that went well, per second.
    pub(crate) ops_per_second: f64,
    /// Bytes of answers, framing included, per operation.
    pub(crate) answer_bytes_per_op: f64,
    /// Latency of the operations.
    pub(crate) latency: Summary,
    /// Latencies of what was measured beside.
    pub(crate) series: BTreeMap<String, Summary>,
    /// Counts of what happened beside.
    pub(crate) counters: BTreeMap<String, u64>,
    /// Figures set in relation to each other.
    #[serde(default)]
    pub(crate) ratios: BTreeMap<String, f64>,
    /// Operations that failed, by kind.
    pub(crate) errors: Vec<ErrorCount>,
    /// The seconds in which an operation ended.
    pub(crate) seconds_of: Vec<Second>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_a_known_distribution() {
        let mut latencies = Latencies::new();
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        let summary = latencies.summary();
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted * 0.002;
        assert_eq!(summary.count, 1000);
        assert!(near(summary.mean_us, 500.5), "{summary:?}");
        assert!(near(summary.p50_us, 500.0), "{summary:?}");
        assert!(near(summary.p90_us, 900.0), "{summary:?}");
        assert!(near(summary.p99_us, 990.0), "{summary:?}");
        assert!(near(summary.p999_us, 999.0), "{summary:?}");
        assert!(near(summary.max_us, 1000.0), "{summary:?}");
        assert!(near(summary.min_us, 1.0), "{summary:?}");
    }

    #[test]
    fn a_latency_past_the_maximum_is_kept_as_the_maximum() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::from_secs(100_000));
        assert!(latencies.summary().max_us >= 3.6e9);
    }

    #[test]
    fn seconds_errors_and_series_are_told_apart() {
        let begun = Instant::now();
        let mut recorder = Recorder::new(begun);
        let at = |ms| begun + Duration::from_millis(ms);
        recorder.done(at(0), at(10), 20);
        recorder.done(at(100), at(999), 20);
        recorder.done(at(2000), at(2500), 50);
        recorder.beside("put", Duration::from_millis(3));
        recorder.count("conflicts", 2);
        let failure = |text: &str| Failure::Status { code: 14, text: text.into() };
        recorder.failed(failure("no leader"));
        recorder.failed(failure("no leader"));
        recorder.failed(Failure::Transport("reset".into()));

        let outcome = recorder.outcome();
        assert_eq!(outcome.ops, 3);
        let seconds: Vec<_> = outcome.seconds_of.iter().map(|s| (s.at, s.ops)).collect();
        assert_eq!(seconds, [(0, 2), (2, 1)]);
        assert_eq!(outcome.answer_bytes_per_op, 30.0);
        assert_eq!(outcome.series["put"].count, 1);
        assert_eq!(outcome.counters["conflicts"], 2);
        assert_eq!(recorder.finished(), 6);
        let errors: Vec<_> =
            outcome.errors.iter().map(|e| (e.code.as_str(), e.text.as_str(), e.count)).collect();
        assert_eq!(errors, [("Unavailable", "no leader", 2), ("Transport", "reset", 1)]);
        assert_eq!(outcome.broken().expect("one").text, "reset");
    }

    #[test]
    fn many_kinds_of_error_are_bounded() {
        let mut recorder = Recorder::new(Instant::now());
        for i in 0..200 {
            recorder.failed(Failure::Transport(format!("error {i}")));
        }
        let outcome = recorder.outcome();
        assert_eq!(outcome.errors.len(), ERROR_KINDS_MAX + 1);
        assert_eq!(outcome.errors.iter().map(|e| e.count).sum::<u64>(), 200);
    }

    #[test]
    fn an_empty_record_has_no_rates() {
        let outcome = Recorder::new(Instant::now()).outcome();
        assert_eq!((outcome.ops, outcome.ops_per_second), (0, 0.0));
    }
}
