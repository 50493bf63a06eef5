//! A run as named numbers: what a comparison sets side by side.

use crate::{probe::procfs::Memory, report::Report};
use serde::{Deserialize, Serialize};

/// Which of two values of a figure is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    /// The larger.
    Higher,
    /// The smaller.
    Lower,
    /// Neither; it explains the others.
    Neither,
}

/// A named number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What it is, with its unit.
    pub(crate) name: String,
    /// The number.
    pub(crate) value: f64,
    /// How to read it.
    pub(crate) better: Better,
}

/// The figures of one run, in the order they are printed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figures(pub(crate) Vec<Figure>);

impl Figures {
    /// Appends a figure.
    pub(crate) fn push(&mut self, name: &str, value: f64, better: Better) {
        self.0.push(Figure { name: name.to_owned(), value, better });
    }

    /// Appends a figure that may be unknown.
    fn push_known(&mut self, name: &str, value: Option<f64>, better: Better) {
        if let Some(value) = value {
            self.push(name, value, better);
        }
    }

    /// Appends the memory of a server.
    pub(crate) fn push_memory(&mut self, memory: &Memory) {
        let mib = |kib: u64| kib as f64 / 1024.0;
        self.push("RSS, MiB", mib(memory.rss_kib), Better::Lower);
        self.push("private memory, MiB", mib(memory.rss_anon_kib), Better::Lower);
        self.push("RSS peak, MiB", mib(memory.peak_rss_kib), Better::Lower);
    }

    /// The figure `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Figure> {
        self.0.iter().find(|figure| figure.name == name)
    }

    /// The figures of a load.
    pub(crate) fn of_report(report: &Report) -> Self {
        let (outcome, costs) = (&report.outcome, &report.costs);
        let mut figures = Self::default();
        figures.push("ops/s", outcome.ops_per_second, Better::Higher);
        figures.push("p50, us", outcome.latency.p50_us, Better::Lower);
        figures.push("p99, us", outcome.latency.p99_us, Better::Lower);
        figures.push("p99.9, us", outcome.latency.p999_us, Better::Lower);
        figures.push("max, us", outcome.latency.max_us, Better::Lower);
        for (name, summary) in &outcome.series {
            figures.push(&format!("{name} p50, us"), summary.p50_us, Better::Lower);
            figures.push(&format!("{name} p99, us"), summary.p99_us, Better::Lower);
        }
        for (name, ratio) in &outcome.ratios {
            figures.push(name, *ratio, Better::Lower);
        }
        for (name, count) in outcome.counters.iter().filter(|(name, _)| name.starts_with("beside"))
        {
            figures.push(name, *count as f64, Better::Neither);
        }
        let known = [
            ("server CPU, ms/1000 ops", costs.server_cpu_ms_per_1000_ops, Better::Lower),
            ("server cores", costs.server_cores, Better::Neither),
            ("generator CPU, ms/1000 ops", costs.client_cpu_ms_per_1000_ops, Better::Neither),
            ("other cores (noise)", costs.other_cores, Better::Neither),
            ("written, B/op", costs.write_bytes_per_op, Better::Lower),
            ("on the disk by all, B/op", costs.disk_bytes_per_op, Better::Lower),
            ("writes per fdatasync", costs.ops_per_wal_sync, Better::Neither),
            ("log sync, ms", costs.wal_sync_ms, Better::Neither),
        ];
        for (name, value, better) in known {
            figures.push_known(name, value, better);
        }
        if let Some(memory) = &costs.memory {
            figures.push_memory(memory);
        }
        let rise = costs.peak_rise_kib.map(|kib| kib as f64 / 1024.0);
        figures.push_known("peak above start, MiB", rise, Better::Lower);
        let errors: u64 = outcome.errors.iter().map(|error| error.count).sum();
        figures.push("errors", errors as f64, Better::Lower);
        figures
    }
}
