//! Flags of tuning, the unsafe ones, and those about the invocation.

use super::{Flag, Group, Kind, rows};
use crate::compat::Status;

pub(super) const FEATURES: &[Flag] = rows! { Group::Features;
    "corrupt-check-time", Kind::Duration(|c| &mut c.corrupt_check_time),
    Status::Built(""),
    "Time between two checks that all members hold the same data; 0 is off.";
    "compact-hash-check-time", Kind::Duration(|c| &mut c.compact_hash_check_time),
    Status::Built("used by the gate CompactHashCheck alone"),
    "Time between two comparisons of compaction hashes.";
    "scrub-interval", Kind::Duration(|c| &mut c.scrub_interval),
    Status::Built("not a flag of etcd"),
    "Time between two walks over the store that compare every checksum; 0 is off.";
    "compaction-batch-limit", Kind::Int("int", |c| &mut c.compaction_batch_limit),
    Status::Built(""),
    "Most revisions that one step of a compaction removes; 0 means 1000.";
    "compaction-sleep-interval", Kind::Duration(|c| &mut c.compaction_sleep_interval),
    Status::Built(""),
    "Pause between two steps of a compaction; 0 means 10ms.";
    "watch-progress-notify-interval", Kind::Duration(|c| &mut c.watch_progress_notify_interval),
    Status::Built(""),
    "Time between two progress notifications to watchers; 0 means 10m.";
    "warning-apply-duration", Kind::Duration(|c| &mut c.warning_apply_duration), Status::Built(""),
    "An apply that takes longer is logged.";
    "bootstrap-defrag-threshold-megabytes",
    Kind::Uint("uint", |c| &mut c.bootstrap_defrag_threshold_megabytes),
    Status::Harmless("the store reuses freed space by itself"),
    "Defragment at start when that frees as many megabytes; 0 is off.";
    "downgrade-check-time", Kind::Duration(|c| &mut c.downgrade_check_time),
    Status::Built(""),
    "Time between two looks whether a downgrade is complete.";
    "snapshot-catchup-entries", Kind::Uint("uint64", |c| &mut c.snapshot_catchup_entries),
    Status::Built(""),
    "Entries of the raft log kept for followers that fell behind.";
};

pub(super) const UNSAFE: &[Flag] = rows! { Group::Unsafe;
    "force-new-cluster", Kind::Bool(|c| &mut c.force_new_cluster),
    Status::Built("needs a raft log, as in etcd"),
    "Make a new cluster of one member from the existing data.";
    "unsafe-no-fsync", Kind::Bool(|c| &mut c.unsafe_no_fsync), Status::Built(""),
    "Do not wait for the disk. A crash loses data.";
};

pub(super) const INVOCATION: &[Flag] = rows! { Group::Invocation;
    "config-file", Kind::Text(|c| &mut c.config_file), Status::Built(""),
    "Read the configuration from this file alone; other flags and the environment are ignored.";
    "version", Kind::Bool(|c| &mut c.print_version), Status::Built(""),
    "Show the version and exit.";
};
