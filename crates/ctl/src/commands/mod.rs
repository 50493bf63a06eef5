//! The commands, one family a file. A command is a [`Command`] table; [`ROOT`] lists them.

pub(crate) mod alarm;
pub(crate) mod auth;
pub(crate) mod check;
pub(crate) mod compaction;
pub(crate) mod completion;
pub(crate) mod defrag;
pub(crate) mod del;
pub(crate) mod downgrade;
pub(crate) mod elect;
pub(crate) mod endpoint;
pub(crate) mod get;
pub(crate) mod help;
pub(crate) mod lease;
pub(crate) mod lock;
pub(crate) mod make_mirror;
pub(crate) mod member;
pub(crate) mod move_leader;
pub(crate) mod options;
mod peer_urls;
pub(crate) mod put;
pub(crate) mod role;
pub(crate) mod snapshot;
pub(crate) mod txn;
pub(crate) mod user;
pub(crate) mod version;
pub(crate) mod watch;

use crate::{cli::Command, global, history, shell, tree};

/// The tool itself.
pub(crate) static ROOT: Command = Command {
    usage: "etcdctl",
    short: "A command line client for etcd and oxetcd.",
    persistent: global::FLAGS,
    children: &[
        &get::COMMAND,
        &put::COMMAND,
        &del::COMMAND,
        &txn::COMMAND,
        &compaction::COMMAND,
        &alarm::COMMAND,
        &defrag::COMMAND,
        &endpoint::COMMAND,
        &move_leader::COMMAND,
        &watch::COMMAND,
        &version::COMMAND,
        &lease::COMMAND,
        &member::COMMAND,
        &snapshot::COMMAND,
        &make_mirror::COMMAND,
        &lock::COMMAND,
        &elect::COMMAND,
        &auth::COMMAND,
        &user::COMMAND,
        &role::COMMAND,
        &check::COMMAND,
        &completion::COMMAND,
        &downgrade::COMMAND,
        &options::COMMAND,
        &help::COMMAND,
        &tree::ls::COMMAND,
        &tree::walk::COMMAND,
        &tree::du::COMMAND,
        &history::log::COMMAND,
        &history::diff::COMMAND,
        &shell::COMMAND,
    ],
    ..Command::BASE
};
