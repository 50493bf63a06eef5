//! Flags of the member and its store.

use super::{Flag, Group, Kind, rows};
use crate::compat::Status;

pub(super) const MEMBER: &[Flag] = rows! { Group::Member;
    "name", Kind::Text(|c| &mut c.name), Status::Built(""),
    "The member's name, which people read.";
    "data-dir", Kind::Text(|c| &mut c.data_dir), Status::Built(""),
    "Directory of the member's data.";
    "wal-dir", Kind::Text(|c| &mut c.wal_dir), Status::Built(""),
    "Another directory for the raft log.";
    "snapshot-count", Kind::Uint("uint64", |c| &mut c.snapshot_count), Status::Built(""),
    "Applied transactions after which the raft log is cut.";
    "heartbeat-interval", Kind::Uint("uint", |c| &mut c.heartbeat_interval_ms), Status::Built(""),
    "Milliseconds between heartbeats.";
    "election-timeout", Kind::Uint("uint", |c| &mut c.election_timeout_ms), Status::Built(""),
    "Milliseconds without a leader after which an election starts.";
    "initial-election-tick-advance", Kind::Bool(|c| &mut c.initial_election_tick_advance),
    Status::Built(""),
    "Whether the first election after a start may come early.";
    "listen-peer-urls", Kind::Urls(|c| &mut c.listen_peer_urls, ""),
    Status::Built(""),
    "URLs on which to listen for other members.";
    "listen-client-urls", Kind::Urls(|c| &mut c.listen_client_urls, ""),
    Status::Built(""),
    "URLs on which to listen for clients: gRPC, and HTTP unless --listen-client-http-urls is set.";
    "listen-client-http-urls", Kind::Urls(|c| &mut c.listen_client_http_urls, ""),
    Status::Built(""),
    "URLs on which to listen for clients that speak HTTP; the client URLs then serve gRPC only.";
    "max-snapshots", Kind::Uint("uint", |c| &mut c.max_snapshots),
    Status::Built(""),
    "Snapshot files to keep; 0 keeps all. Deprecated in etcd 3.6.";
    "max-wals", Kind::Uint("uint", |c| &mut c.max_wals), Status::Built(""),
    "Files of the raft log to keep; 0 keeps all.";
    "memory-mlock", Kind::Bool(|c| &mut c.memory_mlock), Status::Built(""),
    "Keep the store's pages in memory.";
    "quota-backend-bytes", Kind::Int("int64", |c| &mut c.quota_backend_bytes), Status::Built(""),
    "Bytes that the store may take before writes are refused; 0 means 2 GiB, below 0 no limit.";
    "backend-bbolt-freelist-type", Kind::Text(|c| &mut c.backend_freelist_type),
    Status::Harmless("the store is not bbolt"),
    "How bbolt keeps its list of free pages: array or map.";
    "backend-batch-interval", Kind::Duration(|c| &mut c.backend_batch_interval), Status::Built(""),
    "Longest time until applied changes are committed to the store; 0 means 100ms.";
    "backend-batch-limit", Kind::Int("int", |c| &mut c.backend_batch_limit), Status::Built(""),
    "Most changes of one commit to the store; 0 means 10000.";
    "max-txn-ops", Kind::Uint("uint", |c| &mut c.max_txn_ops), Status::Built(""),
    "Most operations in each list of a transaction.";
    "max-request-bytes", Kind::Uint("uint", |c| &mut c.max_request_bytes), Status::Built(""),
    "Largest request of a client in bytes.";
    "max-concurrent-streams", Kind::Uint32(|c| &mut c.max_concurrent_streams), Status::Built(""),
    "Most streams that one client connection may have open.";
    "grpc-keepalive-min-time", Kind::Duration(|c| &mut c.grpc_keepalive_min_time),
    Status::Built(""),
    "Shortest time between two pings of a client.";
    "grpc-keepalive-interval", Kind::Duration(|c| &mut c.grpc_keepalive_interval),
    Status::Built(""),
    "Idle time after which the server pings a client; 0 means never.";
    "grpc-keepalive-timeout", Kind::Duration(|c| &mut c.grpc_keepalive_timeout),
    Status::Built(""),
    "Time that a ping may go unanswered before the connection is closed; 0 means no limit.";
    "socket-reuse-port", Kind::Bool(|c| &mut c.socket_reuse_port),
    Status::Built(""),
    "Set SO_REUSEPORT on listeners, so that a port in use can be bound again.";
    "socket-reuse-address", Kind::Bool(|c| &mut c.socket_reuse_address),
    Status::Harmless("listeners always have SO_REUSEADDR"),
    "Set SO_REUSEADDR on listeners, so that an address in TIME_WAIT can be bound.";
    "enable-grpc-gateway", Kind::Bool(|c| &mut c.enable_grpc_gateway),
    Status::Built(""),
    "Serve the JSON gateway below /v3/.";
    "raft-read-timeout", Kind::Duration(|c| &mut c.raft_read_timeout),
    Status::Built(""),
    "Read timeout of a connection between members; raised to 5s.";
    "raft-write-timeout", Kind::Duration(|c| &mut c.raft_write_timeout),
    Status::Built(""),
    "Write timeout of a connection between members; raised to 5s.";
    "feature-gates", Kind::Gates(|c| &mut c.feature_gates),
    Status::Built("TxnModeWriteWithSharedBuffer has no effect: always as fast"),
    "Features to switch on or off, as Name=true|false separated by commas:";
};
