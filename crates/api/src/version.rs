//! The versions that oxetcd speaks for: those of the etcd release whose behaviour it has.

/// The server version, as in `Status` and `/version`.
pub const SERVER: &str = "3.7.1";
/// The cluster version that a cluster of such members agrees on.
pub const CLUSTER: &str = "3.7.0";
/// The version of the storage schema.
pub const STORAGE: &str = "3.7.0";
/// The oldest cluster version that a member can talk to.
pub const MIN_CLUSTER: &str = "3.0.0";
