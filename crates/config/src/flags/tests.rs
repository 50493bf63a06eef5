//! Properties of the table as a whole.

use std::collections::BTreeSet;

use super::*;

#[test]
fn the_table_has_every_flag_of_etcd_once() {
    let names: Vec<&str> = all().map(|flag| flag.name).collect();
    let unique: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(unique.len(), names.len());
    let real = all().filter(|flag| flag.group != Group::Older).count();
    let ignored = all().filter(|flag| matches!(flag.kind, Kind::Ignored)).count();
    // Two are not of etcd 3.7: `--scrub-interval` and `--enable-v2`.
    assert_eq!((real, ignored), (113 + 2, 15));
}

#[test]
fn older_names_point_at_modern_flags_and_gates() {
    for flag in all() {
        match flag.kind {
            Kind::OlderName(name) => {
                let modern = find(name).expect(name);
                assert!(modern.group != Group::Older, "{name}");
            }
            Kind::OlderGate(gate) => {
                assert!(crate::gates::GATES.iter().any(|known| known.name == gate), "{gate}");
            }
            _ => {}
        }
    }
}

#[test]
fn every_real_flag_has_help() {
    for flag in all().filter(|flag| flag.group != Group::Older) {
        let sentence = flag.help.ends_with('.') || flag.help.ends_with(':');
        assert!(sentence, "{}: {:?}", flag.name, flag.help);
    }
}

#[test]
fn a_default_is_accepted_again_and_changes_nothing() {
    for flag in all().filter(|flag| flag.group != Group::Older) {
        let mut config = Config::default();
        let shown = flag.shown(&mut config);
        // An empty list cannot be given: the empty text is a list of one empty word.
        let list = matches!(flag.kind, Kind::Words(_) | Kind::UniqueWords(_) | Kind::Choices(..));
        if list && shown.is_empty() {
            continue;
        }
        flag.set(&mut config, &shown).expect(flag.name);
        assert_eq!(flag.shown(&mut config), shown, "{}", flag.name);
    }
}

#[test]
fn defaults_are_etcds() {
    let cases = [
        ("name", "default"),
        ("snapshot-count", "10000"),
        ("snapshot-catchup-entries", "5000"),
        ("heartbeat-interval", "100"),
        ("election-timeout", "1000"),
        ("listen-peer-urls", "http://localhost:2380"),
        ("listen-client-urls", "http://localhost:2379"),
        ("listen-metrics-urls", ""),
        ("max-snapshots", "5"),
        ("max-wals", "5"),
        ("quota-backend-bytes", "0"),
        ("max-txn-ops", "128"),
        ("max-request-bytes", "1572864"),
        ("max-concurrent-streams", "4294967295"),
        ("grpc-keepalive-min-time", "5s"),
        ("grpc-keepalive-interval", "2h0m0s"),
        ("grpc-keepalive-timeout", "20s"),
        ("raft-read-timeout", "5s"),
        ("initial-cluster", "default=http://localhost:2380"),
        ("initial-cluster-token", "etcd-cluster"),
        ("initial-cluster-state", "new"),
        ("discovery-keepalive-timeout", "6s"),
        ("discovery-insecure-transport", "true"),
        ("strict-reconfig-check", "true"),
        ("pre-vote", "true"),
        ("auto-compaction-retention", "0"),
        ("max-learners", "1"),
        ("tls-min-version", "TLS1.2"),
        ("cors", "*"),
        ("host-whitelist", "*"),
        ("auth-token", "simple"),
        ("bcrypt-cost", "10"),
        ("auth-token-ttl", "300"),
        ("metrics", "basic"),
        ("log-outputs", "default"),
        ("log-format", "json"),
        ("warning-unary-request-duration", "300ms"),
        ("warning-apply-duration", "100ms"),
        ("distributed-tracing-address", "localhost:4317"),
        ("compact-hash-check-time", "1m0s"),
        ("downgrade-check-time", "5s"),
        ("watch-progress-notify-interval", "0s"),
        ("enable-grpc-gateway", "true"),
        ("force-new-cluster", "false"),
    ];
    for (name, default) in cases {
        assert_eq!(find(name).expect(name).shown(&mut Config::default()), default, "{name}");
    }
}

#[test]
fn zero_means_the_usual_value() {
    let mut config = Config::default();
    assert_eq!(config.quota_bytes(), Some(2 << 30));
    assert_eq!(config.backend_commit_interval().to_string(), "100ms");
    assert_eq!(config.backend_commit_ops(), 10_000);
    assert_eq!(config.compaction_batch_revisions(), 1_000);
    assert_eq!(config.compaction_pause().to_string(), "10ms");
    assert_eq!(config.progress_notify_interval().to_string(), "10m0s");
    assert_eq!(config.election_ticks(), 10);
    config.quota_backend_bytes = -1;
    config.watch_progress_notify_interval = GoDuration::from_millis(1);
    assert_eq!(config.quota_bytes(), None);
    assert_eq!(config.progress_notify_interval().to_string(), "100ms");
}
