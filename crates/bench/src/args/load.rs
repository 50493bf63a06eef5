//! Options of the loads.

use super::{User, parse_duration, parse_endpoint, parse_positive, parse_user};
use crate::grpc::target::Endpoint;
use crate::load::{
    pace::Limit,
    payload::{KeyPicker, KeySpace, Order, Values},
};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Requests of a load that was given no limit, as in etcd's tool.
const DEFAULT_TOTAL: u64 = 10_000;

/// What every load has.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Members to load, with commas between; connections are shared out among them.
    #[arg(long, alias = "endpoint", value_delimiter = ',', default_value = "127.0.0.1:2379",
        value_parser = parse_endpoint)]
    pub(crate) endpoints: Vec<Endpoint>,
    #[command(flatten)]
    pub(crate) security: SecurityArgs,
    /// Connections that the clients share.
    #[arg(long, alias = "conns", default_value_t = 1)]
    pub(crate) connections: usize,
    /// Clients, each with one request under way.
    #[arg(long, default_value_t = 1)]
    pub(crate) clients: usize,
    /// Requests in all [default without --duration: 10000].
    #[arg(long)]
    pub(crate) total: Option<u64>,
    /// Time in which requests are started (10s, 500ms, 2m).
    #[arg(long, value_parser = parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Requests per second, started on time whatever the server does (open loop).
    #[arg(long, value_parser = parse_positive)]
    pub(crate) rate: Option<f64>,
    /// Load before what is measured.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub(crate) warmup: Duration,
    /// End the load when nothing was finished for this long.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(crate) stall_timeout: Duration,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write the report as JSON to this file (- for standard output instead of text).
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Processes of the servers, with commas between, for their processor time, writes and memory:
    /// summed up.
    #[arg(long, value_delimiter = ',')]
    pub(crate) server_pid: Vec<u32>,
    /// What goes on beside the load, which is then measured twice: without it and with it.
    #[arg(long, value_enum)]
    pub(crate) beside: Option<Beside>,
    /// Keys listed, revisions compacted, leases expired, events caught up on, by --beside.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) beside_keys: u64,
    /// Bytes of the values that are put for --beside.
    #[arg(long, default_value_t = 256)]
    pub(crate) beside_val_size: usize,
    /// Watchers of --beside catch-up.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) beside_watchers: u64,
    /// Seconds that the leases of --beside leases live, from their grant on.
    #[arg(long, default_value_t = 5)]
    pub(crate) beside_ttl: i64,
}

/// TLS and authentication.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SecurityArgs {
    /// File with the authorities that sign server certificates [default: the system's].
    #[arg(long)]
    pub(crate) cacert: Option<PathBuf>,
    /// File with the own certificate.
    #[arg(long, requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// File with the key of the own certificate.
    #[arg(long, requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Take any server certificate.
    #[arg(long)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// Who the requests are made as, name:password.
    #[arg(long, value_parser = parse_user)]
    pub(crate) user: Option<User>,
}

/// What goes on beside a load, by a thread and connections of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Beside {
    /// Ten clients list --beside-keys keys in a loop.
    Lists,
    /// --beside-keys revisions are compacted.
    Compaction,
    /// A snapshot is read, again and again.
    Snapshot,
    /// A defragmentation is asked for.
    Defrag,
    /// --beside-watchers watchers begin in the past and catch up, again and again.
    CatchUp,
    /// --beside-keys leases, granted before, expire.
    Leases,
}

impl LoadArgs {
    /// The bound of the load.
    pub(crate) fn limit(&self) -> Limit {
        Limit::new(self.total, self.duration).unwrap_or(Limit::of_total(DEFAULT_TOTAL))
    }

    /// How long nothing may finish. An open loop slower than that is not stalled between requests.
    pub(crate) fn stall(&self) -> Duration {
        let interval = self.rate.map_or(0.0, |rate| 2.0 / rate);
        let interval = Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX);
        self.stall_timeout.max(interval)
    }

    /// Refuses what no load can be made of.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.clients > 0, "--clients must be above zero");
        ensure!(self.connections > 0, "--connections must be above zero");
        ensure!(self.total != Some(0), "--total must be above zero");
        ensure!(self.duration != Some(Duration::ZERO), "--duration must be above zero");
        Ok(())
    }
}

/// Which keys are used.
#[derive(Args, Clone, Debug)]
pub(crate) struct KeyArgs {
    /// Bytes of a key, its prefix included.
    #[arg(long, default_value_t = 8)]
    pub(crate) key_size: usize,
    /// What each key begins with.
    #[arg(long, default_value = "")]
    pub(crate) key_prefix: String,
    /// Different keys.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) key_space_size: u64,
    /// Take keys in order.
    #[arg(long, alias = "sequential-keys", conflicts_with = "random")]
    pub(crate) sequential: bool,
    /// Take keys at random (the default).
    #[arg(long)]
    pub(crate) random: bool,
}

impl KeyArgs {
    /// The keys.
    pub(crate) fn space(&self) -> Result<KeySpace> {
        KeySpace::new(&self.key_prefix, self.key_size, self.key_space_size)
    }

    /// The order they are taken in.
    pub(crate) fn picker(&self, seed: u64) -> KeyPicker {
        let order = if self.sequential { Order::Sequential } else { Order::Random };
        KeyPicker::new(order, self.key_space_size, seed)
    }
}

/// Which values are put.
#[derive(Args, Clone, Debug)]
pub(crate) struct ValueArgs {
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(crate) val_size: usize,
}

impl ValueArgs {
    /// The values.
    pub(crate) fn values(&self, seed: u64) -> Values {
        Values::new(self.val_size, seed)
    }
}

/// Options of `put` and `txn-k8s`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
}

/// Whether a read asks the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// Sees every write acknowledged before it.
    #[value(alias = "l")]
    Linearizable,
    /// Answered from the member's own store.
    #[value(alias = "s")]
    Serializable,
}

/// Options of `range`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RangeArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    /// Kind of read.
    #[arg(long, value_enum, default_value_t = Consistency::Linearizable)]
    pub(crate) consistency: Consistency,
    /// Short for --consistency serializable.
    #[arg(long, conflicts_with = "consistency")]
    pub(crate) serializable: bool,
    /// Keys per read; 1 reads a single key.
    #[arg(long, default_value_t = 1)]
    pub(crate) span: u64,
    /// Ask for at most this many keys; 0 for all.
    #[arg(long, default_value_t = 0)]
    pub(crate) limit: i64,
    /// Ask for keys without values.
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Ask for the count alone.
    #[arg(long)]
    pub(crate) count_only: bool,
    /// Put every key of the key space first.
    #[arg(long)]
    pub(crate) fill: bool,
}

impl RangeArgs {
    /// Whether reads are serializable.
    pub(crate) fn is_serializable(&self) -> bool {
        self.serializable || self.consistency == Consistency::Serializable
    }
}

/// Options of `txn-put`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TxnPutArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    /// Puts per transaction.
    #[arg(long, default_value_t = 1)]
    pub(crate) txn_ops: usize,
}

/// Options of `txn-mixed`.
#[derive(Args, Clone, Debug)]
pub(crate) struct TxnMixedArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    /// Reading transactions per writing transaction.
    #[arg(long, default_value = "1", value_parser = parse_positive)]
    pub(crate) rw_ratio: f64,
    /// Keys per read.
    #[arg(long, default_value_t = 1)]
    pub(crate) span: u64,
    /// Put every key of the key space first.
    #[arg(long)]
    pub(crate) fill: bool,
}

/// Options of `watch` and `watch-latency`. --total, --duration and --rate count puts. Without --rate
/// the next put waits until the events of the last one are all delivered.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Bytes of a key.
    #[arg(long, default_value_t = 8)]
    pub(crate) key_size: usize,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    /// Watchers.
    #[arg(long, default_value_t = 100)]
    pub(crate) watchers: usize,
    /// Watch streams that the watchers share [default: one per connection].
    #[arg(long)]
    pub(crate) streams: Option<usize>,
}

/// Options of `watch-get`. --total and --duration count watchers.
#[derive(Args, Clone, Debug)]
pub(crate) struct WatchGetArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    /// Events that each watcher has to catch up on.
    #[arg(long, default_value_t = 8)]
    pub(crate) events: u64,
    /// Time between two reads.
    #[arg(long, default_value = "20ms", value_parser = parse_duration)]
    pub(crate) get_interval: Duration,
}

/// What a software transaction promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Isolation {
    /// Nothing read is checked.
    #[value(alias = "c")]
    ReadCommitted,
    /// What was read is still so when it commits.
    #[value(alias = "r")]
    RepeatableReads,
    /// All reads are of one revision, and still so when it commits.
    #[value(alias = "s")]
    Serializable,
    /// And nobody has changed what it writes.
    #[value(alias = "ss")]
    SerializableSnapshot,
}

/// Options of `stm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct StmArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    /// Bytes of a key.
    #[arg(long, default_value_t = 8)]
    pub(crate) key_size: usize,
    /// Keys that the transactions meet on.
    #[arg(long, default_value_t = 1000)]
    pub(crate) keys: u64,
    /// Keys of a transaction.
    #[arg(long, default_value_t = 1)]
    pub(crate) keys_per_txn: u64,
    /// Share of the transactions that write.
    #[arg(long, default_value = "0.5")]
    pub(crate) txn_wr_ratio: f64,
    /// What a transaction promises.
    #[arg(long, value_enum, default_value_t = Isolation::RepeatableReads)]
    pub(crate) isolation: Isolation,
}

/// Options of the lease verbs.
#[derive(Args, Clone, Debug)]
pub(crate) struct LeaseArgs {
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// Seconds that a lease lives.
    #[arg(long, default_value_t = 60)]
    pub(crate) ttl: i64,
}
