//! Options of the verbs that start servers themselves.

use super::parse_duration;
use clap::Args;
use std::{path::PathBuf, time::Duration};

/// How a server is started, and where.
#[derive(Args, Clone, Debug)]
pub(crate) struct HostArgs {
    /// Folder for data directories; must be on a real disk.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) dir: PathBuf,
    /// Accept a --dir that lies in memory.
    #[arg(long)]
    pub(crate) allow_tmpfs: bool,
    /// A flag given to every server besides those it needs; may be repeated.
    #[arg(long = "server-arg", allow_hyphen_values = true)]
    pub(crate) server_args: Vec<String>,
}

/// Options of `idle`.
#[derive(Args, Clone, Debug)]
pub(crate) struct IdleArgs {
    /// The server's binary; called by the name `etcd`.
    #[arg(long)]
    pub(crate) server: PathBuf,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    /// Time from its first answer to the reading.
    #[arg(long, default_value = "3s", value_parser = parse_duration)]
    pub(crate) rest: Duration,
    /// Write the figures as JSON to this file (- for standard output instead of text).
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// What `restart` does to a server.
#[derive(Args, Clone, Debug)]
pub(crate) struct FillArgs {
    /// Keys put before the kill.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 1024)]
    pub(crate) val_size: usize,
    /// Puts per transaction while filling.
    #[arg(long, default_value_t = 1)]
    pub(crate) txn_ops: usize,
    /// How often every key is put.
    #[arg(long, default_value_t = 1)]
    pub(crate) revisions: u64,
    /// Have the page cache dropped before the restart.
    #[arg(long)]
    pub(crate) cold: bool,
    /// Time from the first read after the restart to the reading of memory.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub(crate) rest: Duration,
}

/// Options of `restart`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RestartArgs {
    /// The server's binary; called by the name `etcd`.
    #[arg(long)]
    pub(crate) server: PathBuf,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    #[command(flatten)]
    pub(crate) fill: FillArgs,
    /// Write the figures as JSON to this file (- for standard output instead of text).
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// Options of `compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// The binary of oxetcd; called by the name `etcd`.
    #[arg(long)]
    pub(crate) oxetcd: Option<PathBuf>,
    /// The binary of etcd. With one of the two alone its figures are printed without ratios.
    #[arg(long)]
    pub(crate) etcd: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArgs,
    /// How often each workload is run on each server; medians are printed.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Measured time of a workload.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    pub(crate) duration: Duration,
    /// Load before what is measured.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub(crate) warmup: Duration,
    /// Before each run, wait until the machine does nothing else, for at most this long.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(crate) await_quiet: Duration,
    /// Names of the workloads to run, with commas between [default: all].
    #[arg(long, value_delimiter = ',')]
    pub(crate) workloads: Vec<String>,
    /// A workload of your own as `name=verb --option ...`; may be repeated.
    #[arg(long = "workload")]
    pub(crate) own: Vec<String>,
    /// Print the names of the workloads and what they run.
    #[arg(long)]
    pub(crate) list: bool,
    /// Keys of the workloads `restart...`.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) restart_keys: u64,
    /// Write all runs as JSON to this file (- for standard output instead of text).
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}
