//! Medians over the rounds, side by side.

use crate::{
    compare::run::RunResult,
    report::figures::{Better, Figure},
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A difference below this share is called none even when the rounds agree better than that.
const NOTABLE_SHARE: f64 = 0.05;

/// One figure of one workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The workload.
    pub(crate) workload: String,
    /// The figure.
    pub(crate) figure: String,
    /// How to read it.
    pub(crate) better: Better,
    /// Per server, in their order; `None` when no run gave the figure.
    pub(crate) cells: Vec<Option<Cell>>,
    /// The first server's median over the last's.
    pub(crate) ratio: Option<f64>,
}

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// The median.
    pub(crate) median: f64,
    /// Smallest value.
    pub(crate) min: f64,
    /// Largest value.
    pub(crate) max: f64,
}

impl Cell {
    /// Median and extremes of `values`; `None` of none.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }

    /// How far the rounds lie apart, as a share of the median.
    pub(crate) fn spread(self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.max - self.min) / self.median.abs() }
    }
}

/// The rows of all workloads, both in the order of the runs.
pub(crate) fn medians(servers: &[String], runs: &[RunResult]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for run in runs {
        for figure in &run.figures.0 {
            let known =
                rows.iter().any(|row| row.workload == run.workload && row.figure == figure.name);
            if !known {
                rows.push(row(servers, runs, &run.workload, figure));
            }
        }
    }
    // A figure that only a later run has must not part its workload's rows.
    let mut order: Vec<&str> = Vec::new();
    for run in runs {
        if !order.contains(&run.workload.as_str()) {
            order.push(&run.workload);
        }
    }
    rows.sort_by_key(|row| order.iter().position(|name| *name == row.workload));
    rows
}

fn row(servers: &[String], runs: &[RunResult], workload: &str, figure: &Figure) -> Row {
    let cells: Vec<_> = servers
        .iter()
        .map(|server| {
            let of_server =
                runs.iter().filter(|run| run.workload == workload && run.server == *server);
            Cell::of(
                of_server
                    .filter_map(|run| run.figures.get(&figure.name))
                    .map(|figure| figure.value)
                    .collect(),
            )
        })
        .collect();
    let ratio = match cells[..] {
        [Some(first), Some(last)] if last.median != 0.0 => Some(first.median / last.median),
        _ => None,
    };
    Row {
        workload: workload.to_owned(),
        figure: figure.name.clone(),
        better: figure.better,
        cells,
        ratio,
    }
}

impl Row {
    /// What the ratio says: nothing when the rounds of the two servers overlap.
    fn verdict(&self) -> &'static str {
        let (Some(ratio), [Some(first), Some(last)]) = (self.ratio, &self.cells[..]) else {
            return "";
        };
        let apart = first.min > last.max || first.max < last.min;
        if self.better == Better::Neither || !apart || (ratio - 1.0).abs() < NOTABLE_SHARE {
            return "";
        }
        if (ratio > 1.0) == (self.better == Better::Higher) { "better" } else { "WORSE" }
    }
}

/// The table as text. The spread is the distance between the rounds' extremes as a share of the median.
pub(crate) fn text(servers: &[String], rows: &[Row]) -> String {
    let mut out = format!("{:<16} {:<28}", "workload", "figure, median of rounds");
    for server in servers {
        let _ = write!(out, " {server:>12} {:>6}", "spread");
    }
    if servers.len() == 2 {
        let _ = write!(out, " {:>7}", "ratio");
    }
    out.push('\n');
    let mut last = "";
    for row in rows {
        let name = if row.workload == last { "" } else { &row.workload };
        if !name.is_empty() && !last.is_empty() {
            out.push('\n');
        }
        last = &row.workload;
        let _ = write!(out, "{name:<16} {:<28}", row.figure);
        for cell in &row.cells {
            let _ = match cell {
                Some(cell) => {
                    write!(out, " {:>12} {:>5.0}%", number(cell.median), cell.spread() * 100.0)
                }
                None => write!(out, " {:>12} {:>6}", "-", ""),
            };
        }
        if let Some(ratio) = row.ratio {
            let _ = write!(out, " {ratio:>6.2}x {}", row.verdict());
        }
        out.truncate(out.trim_end_matches(' ').len());
        out.push('\n');
    }
    out
}

/// A number with as many decimals as its size deserves.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Figures;

    fn run(workload: &str, server: &str, round: usize, ops: f64, p99: f64) -> RunResult {
        let mut figures = Figures::default();
        figures.push("ops/s", ops, Better::Higher);
        figures.push("p99, us", p99, Better::Lower);
        RunResult {
            workload: workload.into(),
            server: server.into(),
            round,
            figures,
            report: None,
            error: None,
        }
    }

    fn servers() -> Vec<String> {
        vec!["oxetcd".into(), "etcd".into()]
    }

    #[test]
    fn medians_of_odd_and_even_counts() {
        let median = |values: &[f64]| Cell::of(values.to_vec()).map(|cell| cell.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(Cell::of(vec![80.0, 100.0, 110.0]).map(Cell::spread), Some(0.3));
        assert_eq!(Cell::of(vec![0.0]).map(Cell::spread), Some(0.0));
    }

    #[test]
    fn ratios_are_first_over_last_and_judged_by_direction() {
        let mut runs = Vec::new();
        for round in 0..3 {
            let noise = round as f64;
            runs.push(run("put", "oxetcd", round, 200.0 + noise, 50.0 + noise));
            runs.push(run("put", "etcd", round, 100.0 + noise, 25.0 + noise));
        }
        let rows = medians(&servers(), &runs);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].ratio, Some(201.0 / 101.0));
        assert_eq!(rows[0].verdict(), "better");
        assert_eq!(rows[1].verdict(), "WORSE");
        let text = text(&servers(), &rows);
        assert!(text.contains("1.99x better"), "{text}");
        assert!(text.contains("1.96x WORSE"), "{text}");
    }

    #[test]
    fn rounds_that_overlap_say_nothing() {
        let runs = [
            run("put", "oxetcd", 0, 100.0, 1.0),
            run("put", "oxetcd", 1, 300.0, 1.0),
            run("put", "etcd", 0, 110.0, 1.0),
            run("put", "etcd", 1, 120.0, 1.0),
        ];
        let rows = medians(&servers(), &runs);
        assert!(rows.iter().all(|row| row.verdict().is_empty()));
    }

    #[test]
    fn a_missing_server_leaves_its_cells_empty() {
        let runs = [run("put", "oxetcd", 0, 100.0, 1.0), run("get", "etcd", 0, 5.0, 1.0)];
        let rows = medians(&servers(), &runs);
        assert_eq!(rows[0].cells[1], None);
        assert_eq!(rows[0].ratio, None);
        assert_eq!(rows[2].workload, "get");
        assert!(text(&servers(), &rows).contains(" - "));
    }

    #[test]
    fn numbers_keep_three_digits_or_so() {
        assert_eq!(number(12345.6), "12346");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.5), "0.500");
    }
}
