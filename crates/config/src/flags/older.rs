//! Names that etcd 3.7 does not have any more.
//!
//! etcd 3.7 ignores the flags of 0.4 and refuses the `experimental-` flags of 3.4 to 3.6. Here the
//! latter stand for their modern names, so that an older manifest starts; a warning says so.

use super::{Flag, Group, Kind, rows};
use crate::compat::Status;

const IGNORED: Status = Status::Harmless("ignored, as in etcd");
const RENAMED: Status = Status::Built("etcd 3.7 refuses this name");

pub(super) const OLDER: &[Flag] = rows! { Group::Older;
    "cluster-active-size", Kind::Ignored, IGNORED, "";
    "cluster-remove-delay", Kind::Ignored, IGNORED, "";
    "cluster-sync-interval", Kind::Ignored, IGNORED, "";
    "config", Kind::Ignored, IGNORED, "";
    "force", Kind::Ignored, IGNORED, "";
    "max-result-buffer", Kind::Ignored, IGNORED, "";
    "max-retry-attempts", Kind::Ignored, IGNORED, "";
    "peer-heartbeat-interval", Kind::Ignored, IGNORED, "";
    "peer-election-timeout", Kind::Ignored, IGNORED, "";
    "retry-interval", Kind::Ignored, IGNORED, "";
    "snapshot", Kind::Ignored, IGNORED, "";
    "v", Kind::Ignored, IGNORED, "";
    "vv", Kind::Ignored, IGNORED, "";
    "test.coverprofile", Kind::Ignored, IGNORED, "";
    "test.outputdir", Kind::Ignored, IGNORED, "";
    "experimental-initial-corrupt-check", Kind::OlderGate("InitialCorruptCheck"), RENAMED, "";
    "experimental-compact-hash-check-enabled", Kind::OlderGate("CompactHashCheck"), RENAMED, "";
    "experimental-enable-lease-checkpoint", Kind::OlderGate("LeaseCheckpoint"), RENAMED, "";
    "experimental-enable-lease-checkpoint-persist", Kind::OlderGate("LeaseCheckpointPersist"),
    RENAMED, "";
    "experimental-txn-mode-write-with-shared-buffer",
    Kind::OlderGate("TxnModeWriteWithSharedBuffer"), RENAMED, "";
    "experimental-stop-grpc-service-on-defrag", Kind::OlderGate("StopGRPCServiceOnDefrag"),
    RENAMED, "";
    "experimental-watch-progress-notify-interval",
    Kind::OlderName("watch-progress-notify-interval"), RENAMED, "";
    "experimental-corrupt-check-time", Kind::OlderName("corrupt-check-time"), RENAMED, "";
    "experimental-compact-hash-check-time", Kind::OlderName("compact-hash-check-time"), RENAMED, "";
    "experimental-compaction-batch-limit", Kind::OlderName("compaction-batch-limit"), RENAMED, "";
    "experimental-compaction-sleep-interval", Kind::OlderName("compaction-sleep-interval"),
    RENAMED, "";
    "experimental-downgrade-check-time", Kind::OlderName("downgrade-check-time"), RENAMED, "";
    "experimental-warning-apply-duration", Kind::OlderName("warning-apply-duration"), RENAMED, "";
    "experimental-warning-unary-request-duration",
    Kind::OlderName("warning-unary-request-duration"), RENAMED, "";
    "experimental-memory-mlock", Kind::OlderName("memory-mlock"), RENAMED, "";
    "experimental-bootstrap-defrag-threshold-megabytes",
    Kind::OlderName("bootstrap-defrag-threshold-megabytes"), RENAMED, "";
    "experimental-snapshot-catchup-entries", Kind::OlderName("snapshot-catchup-entries"),
    RENAMED, "";
    "experimental-peer-skip-client-san-verification",
    Kind::OlderName("peer-skip-client-san-verification"), RENAMED, "";
    "experimental-enable-distributed-tracing", Kind::OlderName("enable-distributed-tracing"),
    RENAMED, "";
    "experimental-distributed-tracing-address", Kind::OlderName("distributed-tracing-address"),
    RENAMED, "";
    "experimental-distributed-tracing-service-name",
    Kind::OlderName("distributed-tracing-service-name"), RENAMED, "";
    "experimental-distributed-tracing-instance-id",
    Kind::OlderName("distributed-tracing-instance-id"), RENAMED, "";
    "experimental-distributed-tracing-sampling-rate",
    Kind::OlderName("distributed-tracing-sampling-rate"), RENAMED, "";
    "experimental-backend-bbolt-freelist-type", Kind::OlderName("backend-bbolt-freelist-type"),
    RENAMED, "";
};
