//! `/metrics`: every series of docs/compat/metrics.md with its type and labels, moving as the page
//! says; and what the queries of etcd's dashboard and alerts read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use api::etcdserverpb as pb;
use conformance::{
    member::Member,
    plain::{Exchange, ask, call},
};

const PAGE: &str = include_str!("../../../docs/compat/metrics.md");

/// One family of a scrape.
#[derive(Clone, Debug, Default)]
struct Family {
    kind: String,
    /// Of each sample: its labels without the bucket, and its value.
    samples: Vec<(BTreeMap<String, String>, f64)>,
}

impl Family {
    fn sum(&self) -> f64 {
        self.samples.iter().map(|(_, value)| value).sum()
    }

    fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|(labels, _)| labels.keys());
        names.map(String::as_str).filter(|name| *name != "le").collect()
    }
}

fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            current = name.to_owned();
            let known = families
                .insert(current.clone(), Family { kind: kind.to_owned(), ..Family::default() });
            assert!(known.is_none(), "{current} twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a series and a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            assert!(name.starts_with(&current), "{line} belongs to {current}");
            let labels = labels.trim_end_matches('}').split("\",").filter_map(|pair| {
                let (name, value) = pair.split_once("=\"")?;
                Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
            });
            let family = families.get_mut(&current).expect("types come first");
            family.samples.push((labels.collect(), value.parse().expect("a number")));
        }
    }
    families
}

async fn scrape(member: &Member) -> Result<BTreeMap<String, Family>> {
    let answer = ask(member, "GET /metrics", &[], "").await?;
    let kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)));
    Ok(parse(&answer.body))
}

/// Something of everything that a single member does; a watch stays open.
async fn load(member: &Member) -> Result<Exchange> {
    let mut client = member.client().await;
    let create = r#"{"create_request":{"key":"aw==","range_end":"bA=="}}"#;
    let mut stream = Exchange::open(member, "POST /v3/watch", &[], Some(create)).await?;
    stream.head().await?;
    stream.chunk().await?;
    for i in 0..30 {
        client.put(format!("k{}", i % 7), "some value").await?;
    }
    stream.chunk().await?;
    client.get("k1").await?;
    client.delete("k1").await?;
    let put = |key: &str| pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(pb::PutRequest {
            key: key.to_owned().into(),
            ..Default::default()
        })),
    };
    let success = vec![put("ka"), put("kb")];
    client.txn(pb::TxnRequest { success, ..Default::default() }).await?;
    client.grant(7, 60).await?;
    client.keep_alive(7).await?;
    client.revoke(7).await?;
    client.maintenance.hash(pb::HashRequest {}).await?;
    client.maintenance.hash_kv(pb::HashKvRequest { revision: 0 }).await?;
    client.maintenance.defragment(pb::DefragmentRequest {}).await?;
    let snapshot = client.maintenance.snapshot(pb::SnapshotRequest {}).await?;
    let mut snapshot = snapshot.into_inner();
    while snapshot.message().await?.is_some() {}
    for action in ["ACTIVATE", "DEACTIVATE"] {
        let alarm = format!(r#"{{"action":"{action}","memberID":"1","alarm":"CORRUPT"}}"#);
        call(member, "/v3/maintenance/alarm", &alarm).await?;
    }
    call(member, "/v3/auth/role/add", r#"{"name":"r"}"#).await?;
    let compaction = pb::CompactionRequest { revision: 20, physical: true };
    client.kv.compact(compaction).await?;
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(ask(member, &format!("GET {path}"), &[], "").await?.status, 200, "{path}");
    }
    Ok(stream)
}

/// Rows of the page: name, type, labels, shown, moves.
fn rows() -> Vec<[&'static str; 5]> {
    let lines =
        PAGE.lines().filter(|line| line.starts_with("| etcd_") || line.starts_with("| os_"));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        cells.try_into().expect("five cells")
    };
    lines.map(row).collect()
}

#[tokio::test]
async fn every_series_is_there_and_moves_as_the_page_says() -> Result<()> {
    let member = Member::under_test(&["--snapshot-count=20", "--metrics=extensive"]).await;
    let before = scrape(&member).await?;
    let _watching = load(&member).await?;
    let after = scrape(&member).await?;
    let rows = rows();
    assert_eq!(rows.len(), 111);
    let mut wrong = Vec::new();
    for [name, kind, labels, shown, moves] in rows {
        let expected: BTreeSet<&str> =
            labels.split(", ").filter(|label| !label.is_empty()).collect();
        let early = before.contains_key(name);
        if (shown == "start" && !early) || (shown == "peers" && early) {
            wrong.push(format!("{name} is not shown as the page says: {shown}"));
        }
        let Some(family) = after.get(name) else {
            let absent =
                shown == "peers" || moves.starts_with("upon") || moves.starts_with("never");
            assert!(absent, "no {name} after the load");
            continue;
        };
        assert_eq!(family.kind, kind, "{name}");
        assert_eq!(family.labels(), expected, "{name}");
        let then = before.get(name).map_or(0.0, Family::sum);
        let fits = match moves {
            "load" => family.sum() != then,
            "set" => family.sum() != 0.0,
            _ if moves.starts_with("never") => family.sum() == 0.0,
            _ => true,
        };
        if !fits {
            wrong.push(format!("{name} does not move as the page says: {moves}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}

/// What the alerts and panels of etcd's mixin read, with the labels that they select or group by;
/// the series of peers are tested where there are some.
const MIXIN: &[(&str, &[&str])] = &[
    ("etcd_server_has_leader", &[]),
    ("etcd_server_leader_changes_seen_total", &[]),
    ("grpc_server_handled_total", &["grpc_code", "grpc_method", "grpc_service", "grpc_type"]),
    ("grpc_server_started_total", &["grpc_type", "grpc_service"]),
    ("grpc_server_handling_seconds", &["grpc_type", "grpc_method", "grpc_service"]),
    ("etcd_server_proposals_failed_total", &[]),
    ("etcd_server_proposals_pending", &[]),
    ("etcd_server_proposals_committed_total", &[]),
    ("etcd_server_proposals_applied_total", &[]),
    ("etcd_disk_wal_fsync_duration_seconds", &[]),
    ("etcd_disk_backend_commit_duration_seconds", &[]),
    ("etcd_mvcc_db_total_size_in_bytes", &[]),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", &[]),
    ("etcd_server_quota_backend_bytes", &[]),
    ("etcd_network_client_grpc_received_bytes_total", &[]),
    ("etcd_network_client_grpc_sent_bytes_total", &[]),
    ("etcd_debugging_mvcc_db_compaction_keys_total", &[]),
    ("process_resident_memory_bytes", &[]),
    ("process_start_time_seconds", &[]),
    ("process_cpu_seconds_total", &[]),
    ("process_open_fds", &[]),
    ("process_max_fds", &[]),
    ("go_goroutines", &[]),
    ("go_info", &["version"]),
];

#[tokio::test]
async fn dashboards_and_alerts_find_what_they_read() -> Result<()> {
    let member = Member::under_test(&["--metrics=extensive"]).await;
    member.client().await.put("a", "b").await?;
    let refused = call(&member, "/v3/kv/range", "{}").await?;
    assert_eq!(refused.status, 400);
    let found = scrape(&member).await?;
    for (name, labels) in MIXIN {
        let family = found.get(*name).unwrap_or_else(|| panic!("no {name}"));
        assert!(!family.samples.is_empty(), "{name}");
        for label in *labels {
            assert!(family.labels().contains(label), "{name} has no {label}");
        }
    }
    let count = |name: &str, method: &str, code: Option<&str>| -> f64 {
        let samples = found[name].samples.iter().filter(|(labels, _)| {
            let is =
                |label: &str, value: &str| labels.get(label).is_some_and(|found| found == value);
            is("grpc_method", method) && code.is_none_or(|code| is("grpc_code", code))
        });
        samples.map(|(_, value)| value).sum()
    };
    assert_eq!(count("grpc_server_handled_total", "Put", Some("OK")), 1.0);
    assert_eq!(count("grpc_server_handled_total", "Range", Some("InvalidArgument")), 1.0);
    assert_eq!(count("grpc_server_handled_total", "Campaign", Some("Unavailable")), 0.0);
    assert_eq!(count("grpc_server_msg_sent_total", "Put", None), 1.0);
    assert_eq!(count("grpc_server_msg_received_total", "Range", None), 1.0);
    Ok(())
}

#[tokio::test]
async fn the_heap_has_what_the_member_keeps() -> Result<()> {
    const MIB: usize = 1 << 20;
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let allocated = async || scrape(&member).await.map(|all| all["go_memstats_alloc_bytes"].sum());
    let before = allocated().await?;
    // The log's last entries stay in memory.
    for key in 0..32 {
        client.put(format!("{key}"), "x".repeat(MIB)).await?;
    }
    let grown = allocated().await? - before;
    assert!(grown > 16.0 * MIB as f64, "{before} bytes, then {grown} more");
    assert!(grown < 256.0 * MIB as f64, "{before} bytes, then {grown} more");
    Ok(())
}

#[tokio::test]
async fn a_scrape_is_compressed_for_those_who_ask() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut exchange = Exchange::open(
        &member,
        "GET /metrics",
        &[("Accept-Encoding", "deflate, gzip;q=1.0")],
        Some(""),
    )
    .await?;
    let head = exchange.head().await?;
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    let plain = ask(&member, "GET /metrics", &[("Accept-Encoding", "gzip;q=0")], "").await?;
    assert_eq!(plain.header("content-encoding"), None);
    let length: usize = head.header("content-length").expect("a length").parse()?;
    assert!(length * 5 < plain.body.len(), "{length} of {}", plain.body.len());
    Ok(())
}
