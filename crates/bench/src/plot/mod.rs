//! Plots of finished runs: latency over time, throughput against clients.

pub(crate) mod page;
mod svg;

use crate::{args::page::PlotArgs, compare::run::Comparison, load::record::Second, report::Report};
use anyhow::{Context as _, Result, bail};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};
use svg::{Axis, Chart, Line};

/// Runs the verb.
pub(crate) fn run(args: &PlotArgs) -> Result<()> {
    for file in &args.files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        if let Ok(comparison) = serde_json::from_str::<Comparison>(&text) {
            for path in of_comparison(&comparison, &args.dir)? {
                println!("{}", path.display());
            }
        } else if let Ok(report) = serde_json::from_str::<Report>(&text) {
            let path = args.dir.join(format!("{}-latency.svg", report.verb));
            let lines = over_time(&report.verb, &report.outcome.seconds_of);
            write(&path, &latency_chart(&report.verb, lines))?;
            println!("{}", path.display());
        } else {
            bail!("{}: neither a report nor a comparison", file.display());
        }
    }
    Ok(())
}

/// Draws what a comparison has to show; the files written.
pub(crate) fn of_comparison(comparison: &Comparison, dir: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let mut written = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for run in &comparison.runs {
        if run.report.is_none() || done.contains(&run.workload.as_str()) {
            continue;
        }
        done.push(&run.workload);
        let mut lines = Vec::new();
        for server in &comparison.servers {
            // The last round stands for all: a plot shows the shape, the table the medians.
            let of_server = comparison.runs.iter().rev();
            let mut of_server =
                of_server.filter(|r| r.workload == run.workload && r.server == *server);
            if let Some(report) = of_server.find_map(|run| run.report.as_ref()) {
                lines.extend(over_time(server, &report.outcome.seconds_of));
            }
        }
        let path = dir.join(format!("{}-latency.svg", run.workload));
        write(&path, &latency_chart(&run.workload, lines))?;
        written.push(path);
    }
    for (verb, lines) in against_clients(comparison) {
        let chart = Chart {
            title: format!("{verb}: throughput against clients"),
            x: Axis { label: "clients".into(), logarithmic: true },
            y: Axis { label: "operations per second".into(), logarithmic: false },
            lines,
        };
        let path = dir.join(format!("{verb}-throughput.svg"));
        write(&path, &chart)?;
        written.push(path);
    }
    Ok(written)
}

fn write(path: &Path, chart: &Chart) -> Result<()> {
    fs::write(path, chart.draw()).with_context(|| format!("write {}", path.display()))
}

fn latency_chart(name: &str, lines: Vec<Line>) -> Chart {
    Chart {
        title: format!("{name}: latency over time"),
        x: Axis { label: "seconds".into(), logarithmic: false },
        y: Axis { label: "milliseconds".into(), logarithmic: true },
        lines,
    }
}

/// Median, 99th percentile and maximum of each second.
fn over_time(name: &str, seconds: &[Second]) -> Vec<Line> {
    let line = |what: &str, of: fn(&Second) -> f64| Line {
        name: format!("{name} {what}"),
        points: seconds.iter().map(|second| (second.at as f64, of(second) / 1e3)).collect(),
    };
    vec![line("p50", |s| s.p50_us), line("p99", |s| s.p99_us), line("max", |s| s.max_us)]
}

/// By family of workloads (`put-1`, `put-10`, ... are `put`): a line per server over the numbers of
/// clients. Families of one size have none.
fn against_clients(comparison: &Comparison) -> Vec<(String, Vec<Line>)> {
    let mut families: BTreeMap<&str, BTreeMap<&str, BTreeMap<usize, f64>>> = BTreeMap::new();
    for run in &comparison.runs {
        let (Some(report), Some((family, size))) = (&run.report, run.workload.rsplit_once('-'))
        else {
            continue;
        };
        if size.parse() != Ok(report.clients) {
            continue;
        }
        let median = comparison
            .medians
            .iter()
            .find(|row| row.workload == run.workload && row.figure == "ops/s");
        let at = comparison.servers.iter().position(|server| *server == run.server);
        let cell = median.zip(at).and_then(|(row, at)| row.cells.get(at).copied().flatten());
        if let Some(cell) = cell {
            let line = families.entry(family).or_default().entry(&run.server).or_default();
            line.insert(report.clients, cell.median);
        }
    }
    let lines = |servers: BTreeMap<&str, BTreeMap<usize, f64>>| -> Vec<Line> {
        let line = |(server, points): (&str, BTreeMap<usize, f64>)| Line {
            name: server.to_owned(),
            points: points.into_iter().map(|(clients, ops)| (clients as f64, ops)).collect(),
        };
        servers.into_iter().map(line).filter(|line| line.points.len() > 1).collect()
    };
    let families = families.into_iter().map(|(family, of)| (family.to_owned(), lines(of)));
    families.filter(|(_, lines)| !lines.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_a_point_of_each_line() {
        let second = Second { at: 3, ops: 5, p50_us: 1000.0, p99_us: 2000.0, max_us: 4000.0 };
        let lines = over_time("etcd", &[second]);
        let points: Vec<_> =
            lines.iter().map(|line| (line.name.as_str(), line.points[0])).collect();
        let wanted = [("etcd p50", (3.0, 1.0)), ("etcd p99", (3.0, 2.0)), ("etcd max", (3.0, 4.0))];
        assert_eq!(points, wanted);
    }
}
