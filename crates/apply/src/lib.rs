//! The state machine: committed raft entries in, answers, events and store changes out.
//!
//! [`StateMachine::apply`] is the only writer of the store, the lessor, the alarms and the
//! membership. It runs on one thread, one entry at a time, and never touches the disk: what must be
//! stored leaves as [`storage::Op`]s. `admit` decides whether a request may run, then the
//! function of its family runs it: `kv`, `txn`, `compact`, `lease`, `alarm`, `cluster`,
//! `conf_change`, `auth`.
//!
//! **Invariants**
//! - The same entries give the same ops on every member: nothing that differs between members (time,
//!   database size, who waits) decides what is written.
//! - An entry changes the store as a whole or not at all. Everything that can refuse a request is
//!   checked before its first write.
//! - An entry at or below the index that is already applied has no effect.
//!
//! Source: etcd's apply chain (spec `grpc.md` sections 3.5, 4, 6, 8; `raft-server.md` section 5).

mod admit;
mod alarm;
mod auth;
mod cluster;
mod compact;
mod compare;
mod conf_change;
mod kv;
mod lease;
mod machine;
mod outcome;
mod permit;
pub mod quota;
mod shared;
pub mod txn;
mod v2;
pub mod validate;

pub use alarm::Alarms;
pub use machine::{Config, Context, OpenError, StateMachine, request_id};
pub use outcome::{Applied, ApplyError, Effect, Response};
pub use permit::Permit;
pub use quota::Quota;
pub use shared::Shared;
pub use v2::V2Request;

#[cfg(test)]
#[cfg(test)]
mod harness;
