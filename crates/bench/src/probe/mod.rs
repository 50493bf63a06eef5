//! What a load cost: the server's processor time, disk writes, log syncs and memory, the
//! generator's own processor time, and how busy the machine was with other things.
//!
//! A probe is taken before and after; a figure is the difference over the operations between.
//! The scrape of `/metrics` costs the server some milliseconds: it is made before the first and
//! after the second reading of processor time, outside of what is measured.

pub(crate) mod disk;
pub(crate) mod metrics;
pub(crate) mod procfs;

use crate::load::record::ratio;
use procfs::{CpuTime, MachineTime, Memory};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where the figures of a server come from.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// Its process, when it runs on this machine; of a cluster, those of its members: their figures
    /// are summed up.
    pub(crate) pids: Vec<u32>,
    /// `host:port` of its `/metrics`, when that is plain HTTP. Of a cluster the first member's.
    pub(crate) authority: Option<String>,
}

/// One reading.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    server_cpu: Option<CpuTime>,
    client_cpu: Option<CpuTime>,
    machine: Option<MachineTime>,
    write_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    memory: Option<Memory>,
    metrics: Option<metrics::DiskMetrics>,
}

impl Probe {
    /// Reads before a load. The peak of memory counts from here.
    pub(crate) async fn before(&self) -> Reading {
        let metrics = self.scrape().await;
        for pid in &self.pids {
            // Without the rights, the peak is that since the start.
            let _allowed = procfs::reset_peak(*pid);
        }
        Reading { metrics, ..self.processes() }
    }

    /// Reads after a load.
    pub(crate) async fn after(&self) -> Reading {
        let reading = self.processes();
        let metrics = self.scrape().await;
        Reading { metrics, ..reading }
    }

    /// Memory of the server now.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.sum(procfs::memory)
    }

    async fn scrape(&self) -> Option<metrics::DiskMetrics> {
        metrics::scrape(self.authority.as_deref()?).await.ok()
    }

    /// A figure of all processes; `None` unless every one has it.
    fn sum<T: std::ops::Add<Output = T>>(&self, of: impl Fn(u32) -> Option<T>) -> Option<T> {
        let mut figures = self.pids.iter().map(|pid| of(*pid));
        let first = figures.next()??;
        figures.try_fold(first, |sum, next| Some(sum + next?))
    }

    fn processes(&self) -> Reading {
        Reading {
            server_cpu: self.sum(|pid| procfs::cpu_time(pid).map(|time| time.0)).map(CpuTime),
            memory: self.memory(),
            client_cpu: procfs::cpu_time(std::process::id()),
            machine: procfs::machine_time(),
            write_bytes: self.sum(procfs::write_bytes),
            disk_bytes: self.pids.first().and_then(|pid| disk::written(disk::of_log(*pid)?)),
            metrics: None,
        }
    }
}

/// What a load cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// Processor time of the server, milliseconds per 1,000 operations.
    pub(crate) server_cpu_ms_per_1000_ops: Option<f64>,
    /// Cores the server kept busy.
    pub(crate) server_cores: Option<f64>,
    /// Processor time of this generator, milliseconds per 1,000 operations.
    pub(crate) client_cpu_ms_per_1000_ops: Option<f64>,
    /// Cores that neither the server nor the generator kept busy: noise.
    pub(crate) other_cores: Option<f64>,
    /// Bytes the server sent to the block layer, per operation.
    pub(crate) write_bytes_per_op: Option<f64>,
    /// Bytes that the disk with the server's log was given by everybody, the file system's own journal
    /// included, per operation. Where the page cache keeps pages in large pieces, the figure before
    /// counts a whole piece for each page that is changed in it; this one counts what is written.
    #[serde(default)]
    pub(crate) disk_bytes_per_op: Option<f64>,
    /// Syncs of the write-ahead log.
    pub(crate) wal_syncs: Option<f64>,
    /// Operations per sync of the write-ahead log; unknown when there was none.
    pub(crate) ops_per_wal_sync: Option<f64>,
    /// Mean time of such a sync, milliseconds.
    pub(crate) wal_sync_ms: Option<f64>,
    /// Commits of the store.
    pub(crate) backend_commits: Option<f64>,
    /// Memory of the server after the load.
    pub(crate) memory: Option<Memory>,
    /// How far its peak during the load was above what it had before, KiB.
    pub(crate) peak_rise_kib: Option<u64>,
}

/// The costs of `ops` operations between two readings that lie `elapsed` apart.
pub(crate) fn costs(
    before: &Reading,
    after: &Reading,
    ops: u64,
    elapsed: Duration,
    memory: Option<Memory>,
) -> Costs {
    let ops = ops as f64;
    let seconds = elapsed.as_secs_f64();
    let server = before.server_cpu.zip(after.server_cpu).map(|(a, b)| b.since(a));
    let client = before.client_cpu.zip(after.client_cpu).map(|(a, b)| b.since(a));
    let machine = before.machine.zip(after.machine).map(|(a, b)| b.busy_since(a));
    let ours = server.unwrap_or_default() + client.unwrap_or_default();
    let written = before.write_bytes.zip(after.write_bytes).map(|(a, b)| b.saturating_sub(a));
    let on_disk = before.disk_bytes.zip(after.disk_bytes).map(|(a, b)| b.saturating_sub(a));
    let disk = before.metrics.zip(after.metrics).map(|(a, b)| b.since(a));
    let syncs = disk.map(|d| d.wal_syncs);
    Costs {
        server_cpu_ms_per_1000_ops: server.map(|cpu| ratio(cpu.as_secs_f64() * 1e6, ops)),
        server_cores: server.map(|cpu| ratio(cpu.as_secs_f64(), seconds)),
        client_cpu_ms_per_1000_ops: client.map(|cpu| ratio(cpu.as_secs_f64() * 1e6, ops)),
        other_cores: machine.map(|busy| ratio(busy.saturating_sub(ours).as_secs_f64(), seconds)),
        disk_bytes_per_op: on_disk.map(|bytes| ratio(bytes as f64, ops)),
        write_bytes_per_op: written.map(|bytes| ratio(bytes as f64, ops)),
        wal_syncs: syncs,
        ops_per_wal_sync: syncs.filter(|count| *count > 0.0).map(|count| ratio(ops, count)),
        wal_sync_ms: disk
            .filter(|d| d.wal_syncs > 0.0)
            .map(|d| ratio(d.wal_sync_seconds * 1e3, d.wal_syncs)),
        backend_commits: disk.map(|d| d.backend_commits),
        memory,
        peak_rise_kib: before
            .memory
            .zip(memory)
            .map(|(a, b)| b.peak_rss_kib.saturating_sub(a.rss_kib)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metrics::DiskMetrics;

    fn reading(server: u64, client: u64, busy: u64, written: u64, syncs: f64) -> Reading {
        Reading {
            server_cpu: Some(CpuTime(Duration::from_millis(server))),
            client_cpu: Some(CpuTime(Duration::from_millis(client))),
            machine: Some(MachineTime { busy: Duration::from_millis(busy) }),
            write_bytes: Some(written),
            disk_bytes: Some(2 * written),
            memory: None,
            metrics: Some(DiskMetrics {
                wal_syncs: syncs,
                wal_sync_seconds: syncs / 1000.0,
                backend_commits: syncs / 10.0,
            }),
        }
    }

    #[test]
    fn costs_are_differences_per_operation() {
        let before = reading(1000, 500, 10_000, 1 << 20, 100.0);
        let after = reading(3000, 1000, 13_000, (1 << 20) + 500_000, 150.0);
        let costs = costs(&before, &after, 10_000, Duration::from_secs(2), None);
        assert_eq!(costs.server_cpu_ms_per_1000_ops, Some(200.0));
        assert_eq!(costs.server_cores, Some(1.0));
        assert_eq!(costs.client_cpu_ms_per_1000_ops, Some(50.0));
        assert_eq!(costs.other_cores, Some(0.25));
        assert_eq!(costs.write_bytes_per_op, Some(50.0));
        assert_eq!(costs.disk_bytes_per_op, Some(100.0));
        assert_eq!(costs.wal_syncs, Some(50.0));
        assert_eq!(costs.ops_per_wal_sync, Some(200.0));
        assert!((costs.wal_sync_ms.expect("set") - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_load_without_syncs_has_no_rate_of_them() {
        let before = reading(0, 0, 0, 0, 5.0);
        let costs = costs(&before, &before, 10, Duration::from_secs(1), None);
        assert_eq!(
            (costs.wal_syncs, costs.ops_per_wal_sync, costs.wal_sync_ms),
            (Some(0.0), None, None)
        );
    }

    #[test]
    fn nothing_known_is_nothing_reported() {
        let none = Reading {
            server_cpu: None,
            client_cpu: None,
            machine: None,
            write_bytes: None,
            disk_bytes: None,
            memory: None,
            metrics: None,
        };
        let costs = costs(&none, &none, 10, Duration::from_secs(1), None);
        assert_eq!(costs, Costs::default());
    }
}
