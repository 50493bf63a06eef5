//! Leases: promises to delete keys unless they are renewed.
//!
//! [`Lessor`] is sans-IO. Grants, revokes and checkpoints come to it as applied entries; what it
//! wants to happen (a revoke, a checkpoint) leaves it as a [`LeaseAction`] that the server proposes
//! through raft. Time is passed in as monotonic milliseconds and never leaves this member.
//!
//! **Invariants**
//! - Only the primary (the raft leader) expires leases; on other members a lease lives for ever.
//! - A lease expires on the primary no earlier than its time to live after its last renewal.
//! - A key is attached to at most one lease. mvcc knows which; apply tells both.
//!
//! Source: etcd's lease semantics (spec `grpc.md` section 6, `raft-server.md` section 11).

mod expiry;
mod lessor;
mod tick;

pub use lessor::{Error, LeaseAction, Lessor, Options, RenewError, TimeToLive};
