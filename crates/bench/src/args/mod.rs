//! The command line: what can be typed, checked as far as text can be.
//!
//! Names follow etcd's `benchmark` tool where it has one; its spelling is kept as an alias.

pub(crate) mod compare;
pub(crate) mod load;
pub(crate) mod mvcc;
pub(crate) mod page;

use crate::grpc::target::Endpoint;
use clap::{Parser, Subcommand};
use std::time::Duration;

/// Load generator for etcd and oxetcd.
#[derive(Debug, Parser)]
#[command(name = "bench", disable_version_flag = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A load on a running server.
    #[command(flatten)]
    Verb(Verb),
    /// Put into the store itself, within this process: no network, no log.
    #[command(subcommand)]
    Mvcc(mvcc::MvccCommand),
    /// Start a server, let it rest, print its memory.
    Idle(compare::IdleArgs),
    /// Fill a server, kill it, and time its restart to the first linearizable read.
    Restart(compare::RestartArgs),
    /// Run the same loads on two servers in turn and print both.
    Compare(compare::CompareArgs),
    /// Draw the plots of reports and comparisons (SVG).
    Plot(page::PlotArgs),
    /// Write the page about performance from comparisons.
    Page(page::PageArgs),
}

/// A load on a running server.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Verb {
    /// Put keys.
    Put(load::PutArgs),
    /// Read a key, or a span of keys.
    Range(load::RangeArgs),
    /// Read a key, or a span of keys, as a stream of answers (etcd 3.7).
    RangeStream(load::RangeArgs),
    /// Put several keys per transaction.
    TxnPut(load::TxnPutArgs),
    /// Write as Kubernetes does: compare mod_revision, put, else get.
    TxnK8s(load::PutArgs),
    /// Transactions that read, mixed with transactions that write.
    TxnMixed(load::TxnMixedArgs),
    /// Many watchers of one key: an operation is an event delivered.
    Watch(load::WatchArgs),
    /// Watchers each of a key of its own: time from put to event.
    WatchLatency(load::WatchArgs),
    /// Watchers that begin in the past, and reads meanwhile: an operation is a watcher that has
    /// caught up.
    WatchGet(load::WatchGetArgs),
    /// Read and write keys in software transactions that are taken again when they conflict.
    Stm(load::StmArgs),
    /// Grant leases.
    LeaseGrant(load::LeaseArgs),
    /// Keep leases alive, each client its own, over a stream each.
    LeaseKeepalive(load::LeaseArgs),
}

impl Verb {
    /// The name of the verb.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Put(_) => "put",
            Self::Range(_) => "range",
            Self::RangeStream(_) => "range-stream",
            Self::TxnPut(_) => "txn-put",
            Self::TxnK8s(_) => "txn-k8s",
            Self::TxnMixed(_) => "txn-mixed",
            Self::Watch(_) => "watch",
            Self::WatchLatency(_) => "watch-latency",
            Self::WatchGet(_) => "watch-get",
            Self::Stm(_) => "stm",
            Self::LeaseGrant(_) => "lease-grant",
            Self::LeaseKeepalive(_) => "lease-keepalive",
        }
    }

    /// The options that every load has.
    pub(crate) fn load(&self) -> &load::LoadArgs {
        match self {
            Self::Put(args) | Self::TxnK8s(args) => &args.load,
            Self::Range(args) | Self::RangeStream(args) => &args.load,
            Self::TxnPut(args) => &args.load,
            Self::TxnMixed(args) => &args.load,
            Self::Watch(args) | Self::WatchLatency(args) => &args.load,
            Self::WatchGet(args) => &args.load,
            Self::Stm(args) => &args.load,
            Self::LeaseGrant(args) | Self::LeaseKeepalive(args) => &args.load,
        }
    }

    /// The same options, to be changed.
    pub(crate) fn load_mut(&mut self) -> &mut load::LoadArgs {
        match self {
            Self::Put(args) | Self::TxnK8s(args) => &mut args.load,
            Self::Range(args) | Self::RangeStream(args) => &mut args.load,
            Self::TxnPut(args) => &mut args.load,
            Self::TxnMixed(args) => &mut args.load,
            Self::Watch(args) | Self::WatchLatency(args) => &mut args.load,
            Self::WatchGet(args) => &mut args.load,
            Self::Stm(args) => &mut args.load,
            Self::LeaseGrant(args) | Self::LeaseKeepalive(args) => &mut args.load,
        }
    }
}

/// Reads a time as `10s`, `500ms`, `2m`, `1h`, or plain seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit {other:?}: use ms, s, m or h")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{digits:?} is no number"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

/// Reads an endpoint as `host:port`, with `http://`, `https://` or nothing before it.
pub(crate) fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let (tls, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://").unwrap_or(text)),
    };
    let authority = rest.trim_end_matches('/');
    match authority.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if !host.is_empty() => {
            Ok(Endpoint { authority: authority.to_owned(), host: host.to_owned(), port, tls })
        }
        _ => Err("an endpoint is host:port".into()),
    }
}

/// Reads a user as `name:password`.
pub(crate) fn parse_user(text: &str) -> Result<User, String> {
    match text.split_once(':') {
        Some((name, password)) if !name.is_empty() => {
            Ok(User { name: name.to_owned(), password: password.to_owned() })
        }
        _ => Err("a user is name:password".into()),
    }
}

/// Who the requests are made as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// The name.
    pub(crate) name: String,
    /// The password.
    pub(crate) password: String,
}

/// Reads a rate above zero.
pub(crate) fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err(format!("{text:?} is no number above zero")),
    }
}

#[cfg(test)]
mod tests;
