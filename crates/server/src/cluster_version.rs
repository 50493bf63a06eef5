//! The version that the cluster agrees on, the version of the storage schema that follows it, and
//! downgrades (spec raft-server.md section 10).
//!
//! `decide` is pure: what the versions of all members mean for the cluster. `monitor` asks the other
//! members and proposes what was decided; `downgrade` answers the RPC; `storage` keeps the schema's
//! version in the store.

pub(crate) mod decide;
pub(crate) mod downgrade;
pub(crate) mod monitor;
pub(crate) mod storage;
