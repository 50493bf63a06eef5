//! Reports as text, for people.

use crate::{
    load::record::{Outcome, Summary},
    probe::{Costs, procfs::Memory},
    report::Report,
};
use std::fmt::Write as _;

/// A time given in microseconds, in the unit that fits it.
pub(crate) fn micros(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e4 => format!("{:.2} ms", us / 1e3),
        us if us < 1e6 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

/// A count of bytes given in KiB, in MiB.
pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn latency_line(out: &mut String, name: &str, summary: &Summary) {
    let _ = writeln!(
        out,
        "  {name:<12} p50 {}  p90 {}  p99 {}  p99.9 {}  max {}  mean {}",
        micros(summary.p50_us),
        micros(summary.p90_us),
        micros(summary.p99_us),
        micros(summary.p999_us),
        micros(summary.max_us),
        micros(summary.mean_us),
    );
}

fn outcome_lines(out: &mut String, outcome: &Outcome) {
    let _ = writeln!(
        out,
        "  operations   {} in {:.2} s: {:.0} ops/s, {:.0} B of answer each",
        outcome.ops, outcome.seconds, outcome.ops_per_second, outcome.answer_bytes_per_op
    );
    latency_line(out, "latency", &outcome.latency);
    for (name, summary) in &outcome.series {
        latency_line(out, name, summary);
    }
    for (name, count) in &outcome.counters {
        let _ = writeln!(out, "  {name:<12} {count}");
    }
    for (name, ratio) in &outcome.ratios {
        let _ = writeln!(out, "  {name} {ratio:.2}");
    }
    if outcome.errors.is_empty() {
        out.push_str("  errors       none\n");
    }
    for error in &outcome.errors {
        let _ = writeln!(out, "  errors       {} x {}: {}", error.count, error.code, error.text);
    }
}

fn memory_text(memory: &Memory) -> String {
    format!(
        "RSS {} (anonymous {}, peak {})",
        mib(memory.rss_kib),
        mib(memory.rss_anon_kib),
        mib(memory.peak_rss_kib)
    )
}

fn cost_lines(out: &mut String, costs: &Costs) {
    let mut server = Vec::new();
    if let (Some(cpu), Some(cores)) = (costs.server_cpu_ms_per_1000_ops, costs.server_cores) {
        server.push(format!("CPU {cpu:.1} ms/1000 ops ({cores:.2} cores)"));
    }
    if let Some(bytes) = costs.write_bytes_per_op {
        server.push(format!("written {bytes:.0} B/op"));
    }
    if let Some(bytes) = costs.disk_bytes_per_op {
        server.push(format!("on its disk by all {bytes:.0} B/op"));
    }
    if let Some(memory) = &costs.memory {
        server.push(memory_text(memory));
    }
    if !server.is_empty() {
        let _ = writeln!(out, "  server       {}", server.join("  "));
    }
    if let (Some(syncs), Some(per), Some(ms)) =
        (costs.wal_syncs, costs.ops_per_wal_sync, costs.wal_sync_ms)
    {
        let commits = costs.backend_commits.unwrap_or_default();
        let _ = writeln!(
            out,
            "  disk         {syncs:.0} log syncs of {ms:.2} ms: {per:.1} ops each; \
             {commits:.0} store commits"
        );
    }
    if let Some(cpu) = costs.client_cpu_ms_per_1000_ops {
        let _ = write!(out, "  generator    CPU {cpu:.1} ms/1000 ops");
        match (costs.server_cpu_ms_per_1000_ops, costs.other_cores) {
            // Without the server's share, "other" would mean the server.
            (Some(_), Some(other)) => {
                let _ = writeln!(out, "; others kept {other:.2} cores busy");
            }
            _ => out.push('\n'),
        }
    }
}

/// The text of one report.
pub(crate) fn report(report: &Report) -> String {
    let rate = report.rate.map_or("closed loop".to_owned(), |rate| format!("{rate} requests/s"));
    let mut out = format!(
        "{}  {}  {} clients, {} connections, {rate}\n",
        report.verb, report.endpoint, report.clients, report.connections
    );
    outcome_lines(&mut out, &report.outcome);
    cost_lines(&mut out, &report.costs);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{grpc::status::Failure, load::record::Recorder};
    use std::time::{Duration, Instant};

    #[test]
    fn times_take_the_unit_that_fits() {
        assert_eq!(micros(0.4), "0 us");
        assert_eq!(micros(999.0), "999 us");
        assert_eq!(micros(1234.0), "1.23 ms");
        assert_eq!(micros(12_345.0), "12.3 ms");
        assert_eq!(micros(2_500_000.0), "2.50 s");
    }

    #[test]
    fn a_report_names_what_it_knows_and_no_more() {
        let begun = Instant::now();
        let mut recorder = Recorder::new(begun);
        recorder.done(begun, begun + Duration::from_millis(2), 30);
        recorder.failed(Failure::Status { code: 14, text: "no leader".into() });
        let mut value = Report {
            verb: "put".into(),
            endpoint: "127.0.0.1:2379".into(),
            clients: 3,
            connections: 2,
            rate: None,
            outcome: recorder.outcome(),
            costs: Costs { client_cpu_ms_per_1000_ops: Some(5.0), ..Costs::default() },
        };
        let text = report(&value);
        assert!(text.starts_with("put  127.0.0.1:2379  3 clients, 2 connections, closed loop\n"));
        assert!(text.contains("errors       1 x Unavailable: no leader\n"), "{text}");
        assert!(text.contains("generator    CPU 5.0 ms/1000 ops\n"), "{text}");
        assert!(!text.contains("server") && !text.contains("disk"), "{text}");

        value.costs.server_cpu_ms_per_1000_ops = Some(20.0);
        value.costs.server_cores = Some(0.5);
        value.costs.other_cores = Some(0.1);
        let text = report(&value);
        assert!(text.contains("CPU 20.0 ms/1000 ops (0.50 cores)"), "{text}");
        assert!(text.contains("others kept 0.10 cores busy"), "{text}");
    }
}
