//! The few figures wanted of a server's `/metrics` (Prometheus text format over HTTP/1).

use anyhow::{Context as _, Result, bail, ensure};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A server that takes longer has no metrics for us.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Counters of the server's disk work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct DiskMetrics {
    /// Syncs of the write-ahead log.
    pub(crate) wal_syncs: f64,
    /// Seconds spent in them.
    pub(crate) wal_sync_seconds: f64,
    /// Commits of the store.
    pub(crate) backend_commits: f64,
}

impl DiskMetrics {
    /// What was added since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            wal_syncs: self.wal_syncs - earlier.wal_syncs,
            wal_sync_seconds: self.wal_sync_seconds - earlier.wal_sync_seconds,
            backend_commits: self.backend_commits - earlier.backend_commits,
        }
    }
}

/// Reads the metrics of the server at `authority`.
pub(crate) async fn scrape(authority: &str) -> Result<DiskMetrics> {
    let answer = timeout(SCRAPE_TIMEOUT, get(authority, "/metrics"))
        .await
        .context("scrape /metrics in time")??;
    disk_metrics(body(&answer)?).context("read the write-ahead log's metrics")
}

/// An HTTP/1.0 GET: the answer is unchunked and ends with the connection.
async fn get(authority: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(authority).await.context("connect for /metrics")?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX_BYTES).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The body of an answer with status 200.
fn body(answer: &str) -> Result<&str> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("answer without a head") };
    let status = head.split_ascii_whitespace().nth(1).unwrap_or_default();
    ensure!(status == "200", "HTTP status {status:?}");
    Ok(body)
}

fn disk_metrics(text: &str) -> Option<DiskMetrics> {
    Some(DiskMetrics {
        wal_syncs: sample(text, "etcd_disk_wal_fsync_duration_seconds_count")?,
        wal_sync_seconds: sample(text, "etcd_disk_wal_fsync_duration_seconds_sum")?,
        backend_commits: sample(text, "etcd_disk_backend_commit_duration_seconds_count")?,
    })
}

/// The value of the series `name` that has no labels.
fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        value.split_ascii_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# TYPE etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"} 3
etcd_disk_wal_fsync_duration_seconds_sum 0.0125
etcd_disk_wal_fsync_duration_seconds_count 12
etcd_disk_wal_fsync_duration_seconds_count_other 9
etcd_disk_backend_commit_duration_seconds_count 1.2e+06
";

    #[test]
    fn reads_samples() {
        let wanted =
            DiskMetrics { wal_syncs: 12.0, wal_sync_seconds: 0.0125, backend_commits: 1.2e6 };
        assert_eq!(disk_metrics(TEXT), Some(wanted));
        assert_eq!(disk_metrics(""), None);
        let earlier =
            DiskMetrics { wal_syncs: 2.0, wal_sync_seconds: 0.0025, backend_commits: 1.0 };
        assert_eq!(wanted.since(earlier).wal_syncs, 10.0);
    }

    #[test]
    fn a_head_is_checked() {
        assert_eq!(body("HTTP/1.0 200 OK\r\nA: b\r\n\r\nx 1\n").expect("200"), "x 1\n");
        assert!(body("HTTP/1.1 404 Not Found\r\n\r\n").is_err());
        assert!(body("x").is_err());
    }
}
