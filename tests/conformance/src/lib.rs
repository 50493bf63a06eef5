//! Black-box checks of a running server over gRPC: harness, scenarios and the differential run.
//!
//! Everything here speaks only the wire protocol, so the same code runs against oxetcd and
//! against a real etcd. Tests under `tests/` start the binary under test ([`member::Binary`]);
//! the programs under `src/bin/` also start a real etcd and compare.
//!
//! ```text
//! cargo build && cargo test -p conformance                 the tests, against target/debug/oxetcd
//! OXETCD_BIN=/path/to/etcd cargo test -p conformance       the same against a real etcd
//! cargo run -p conformance --bin differential -- --ops 50000 --seed 7
//! cargo run -p conformance --bin kubernetes -- --binary target/debug/oxetcd
//! ```
//!
//! `OXETCD_BIN` names the executable under test (without it: `oxetcd` of the same build), and
//! `OXETCD_REFERENCE_ETCD` the real etcd (without it: the one under `~/.cache/etcd-peers/3.5`). An
//! executable whose name holds `oxetcd` is started with the word `server`.

pub mod authentication;
pub mod client;
pub mod differential;
pub mod durability;
pub mod kubernetes;
pub mod member;
pub mod plain;
pub mod watching;
pub mod wire;
