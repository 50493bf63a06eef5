//! Options of `mvcc`.

use super::load::{KeyArgs, ValueArgs};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// What is done to the store.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum MvccCommand {
    /// Put keys.
    Put(MvccArgs),
    /// Put keys, then delete each.
    Delete(MvccArgs),
    /// Put keys, then read each.
    Range(MvccArgs),
}

/// Options of every one of them.
#[derive(Args, Clone, Debug)]
pub(crate) struct MvccArgs {
    #[command(flatten)]
    pub(crate) keys: KeyArgs,
    #[command(flatten)]
    pub(crate) values: ValueArgs,
    /// Operations.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) total: u64,
    /// Operations per transaction.
    #[arg(long, default_value_t = 1)]
    pub(crate) txn_ops: u64,
    /// Operations between two commits of the store.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) batch_limit: u64,
    /// Folder for the store; must be on a real disk to say anything about commits.
    #[arg(long, default_value = "/var/tmp")]
    pub(crate) dir: PathBuf,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Write the figures as JSON to this file (- for standard output instead of text).
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}
