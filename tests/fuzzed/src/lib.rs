//! What the fuzz targets run: a function of the input's bytes for each, which panics when something is
//! wrong. libFuzzer calls them from `fuzz/`; the test of this package calls them with the inputs that
//! are kept in `fuzz/corpus`, without any tool.

pub mod bbolt;
pub mod bbolt_write;
pub mod config;
pub mod gateway;
mod member;
pub mod peer_codec;
pub mod range;
mod requests;
pub mod txn;
pub mod wal;

/// What runs an input.
pub type Target = fn(&[u8]);

/// The targets, by the names of their directories in the corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("bbolt", bbolt::run),
    ("bbolt_write", bbolt_write::run),
    ("config", config::run),
    ("gateway", gateway::run),
    ("peer_codec", peer_codec::run),
    ("range", range::run),
    ("txn", txn::run),
    ("wal", wal::run),
];
