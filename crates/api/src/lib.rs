//! The boundary in types: etcd's protocol messages, identifiers, key ranges and the one table of
//! client-visible errors.
//!
//! **Architecture invariant:** depends on no other crate of the workspace. Messages are always
//! there; gRPC stubs only with the `server` and `client` features, which layers 0-3 never ask for.

pub mod error;
pub mod event;
pub mod ids;
pub mod kv;
pub mod range;
pub mod version;

/// A package of generated messages: documented in `proto/`, not again here.
macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
        #[rustfmt::skip]
        pub mod $name {
            include!(concat!("generated/", $file));
        }
    };
}

package!(
    /// Users, roles and permissions.
    authpb, "authpb.rs");
package!(
    /// The client API and `InternalRaftRequest`, the payload of raft entries.
    etcdserverpb, "etcdserverpb.rs");
package!(
    /// The standard gRPC health service.
    health, "grpc.health.v1.rs");
package!(
    /// Stored leases and peer lease queries.
    leasepb, "leasepb.rs");
package!(
    /// Membership changes carried by raft.
    membershippb, "membershippb.rs");
package!(
    /// Events; key-values are [`kv::RawKeyValue`] and [`kv::KeyValue`].
    mvccpb, "mvccpb.rs");
package!(
    /// Raft entries, states and messages of etcd (not raft-rs's).
    raftpb, "raftpb.rs");
package!(
    /// The frame of a `.snap` file.
    snappb, "snappb.rs");
package!(
    /// The election service.
    v3electionpb, "v3electionpb.rs");
package!(
    /// The lock service.
    v3lockpb, "v3lockpb.rs");
package!(
    /// Write-ahead log records.
    walpb, "walpb.rs");
