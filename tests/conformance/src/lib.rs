//! Black-box checks of a running server over gRPC: harness, scenarios and the differential run.
//!
//! Everything here speaks only the wire protocol, so the same code runs against oxetcd and
//! against a real etcd. Tests under `tests/` start the binary under test ([`member::Binary`]);
//! the programs under `src/bin/` also start a real etcd and compare.

pub mod client;
pub mod differential;
pub mod durability;
pub mod kubernetes;
pub mod member;
pub mod watching;
pub mod wire;
