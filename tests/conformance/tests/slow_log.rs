//! The warnings of slow requests: their texts, fields and values, as etcd 3.7.1 writes them.

use anyhow::{Context as _, Result};
use api::etcdserverpb as pb;
use conformance::member::Member;
use serde_json::Value;

/// The fields that differ from run to run.
const VARYING: [&str; 7] = ["level", "ts", "caller", "took", "start time", "time spent", "remote"];

/// The warnings with this text, without what differs from run to run.
fn warnings(member: &Member, message: &str) -> Vec<Value> {
    let log = member.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines = lines.filter(|line| line["msg"] == message && line["level"] == "warn");
    let mut found: Vec<Value> = lines.collect();
    for line in &mut found {
        let fields = line.as_object_mut().expect("a line is an object");
        fields.retain(|name, _| !VARYING.contains(&name.as_str()));
    }
    found
}

/// A request without the id in its header.
fn without_id(request: &Value) -> String {
    let text = request.as_str().expect("a text");
    let (before, after) = text.split_once("ID:").expect("a header");
    let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}ID:{rest}")
}

#[tokio::test]
async fn slow_requests_are_logged_as_etcd_does() -> Result<()> {
    let member = Member::under_test(&[
        "--warning-apply-duration=1ns",
        "--warning-unary-request-duration=1ns",
    ])
    .await;
    let mut client = member.client().await;
    client.grant(7, 300).await?;
    let put = |key: &'static str, lease| pb::PutRequest {
        key: key.into(),
        value: "b".into(),
        lease,
        ..pb::PutRequest::default()
    };
    client.put_with(put("a", 7)).await?;
    let refused = client.put_with(put("nolease", 119)).await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: requested lease not found");
    let range = pb::RangeRequest {
        key: "a".into(),
        range_end: "b".into(),
        limit: 3,
        revision: 2,
        ..pb::RangeRequest::default()
    };
    client.range(range).await?;

    let applied = warnings(&member, "apply request took too long");
    let of = |part: &str| {
        let has = |line: &&Value| line["request"].as_str().is_some_and(|text| text.contains(part));
        applied.iter().find(has).cloned().with_context(|| format!("no {part} in {applied:?}"))
    };
    let line = of("put:<key:\"a\"")?;
    assert_eq!(without_id(&line["request"]), "header:<ID:> put:<key:\"a\" value_size:1 lease:7 >");
    assert_eq!(line["response"], "size:4");
    assert_eq!((&line["prefix"], &line["expected-duration"]), (&"".into(), &"1ns".into()));
    assert!(line.get("error").is_none());
    let line = of("lease_grant")?;
    assert_eq!(
        without_id(&line["request"]),
        "header:<ID:> lease_grant:<ttl:300-second id:0000000000000007>"
    );
    let line = of("range_end")?;
    assert_eq!(line["prefix"], "read-only range ");
    assert_eq!(line["request"], "key:\"a\" range_end:\"b\" limit:3 revision:2");
    let failed = warnings(&member, "failed to apply request");
    let line = failed.iter().find(|line| line["error"] == "etcdserver: requested lease not found");
    let line = line.with_context(|| format!("{failed:?}"))?;
    assert!(line["request"].as_str().is_some_and(|text| text.contains("put:<key:\"nolease\"")));

    let calls = warnings(&member, "request stats");
    let of = |part: &str| {
        let has = |line: &&Value| {
            line["request content"].as_str().is_some_and(|text| text.contains(part))
        };
        calls.iter().find(has).cloned().with_context(|| format!("no {part} in {calls:?}"))
    };
    let line = of("key:\"a\" value_size")?;
    assert_eq!(line["response type"], "/etcdserverpb.KV/Put");
    assert_eq!(line["request content"], "key:\"a\" value_size:1 lease:7 ");
    assert_eq!((&line["request count"], &line["request size"]), (&1.into(), &8.into()));
    assert_eq!(line["response count"], 0);
    let line = of("nolease")?;
    assert_eq!((&line["response count"], &line["response size"]), (&0.into(), &0.into()));
    let line = of("range_end")?;
    assert_eq!((&line["request count"], &line["request size"]), (&0.into(), &10.into()));
    assert_eq!(line["response count"], 1);
    let granted =
        calls.iter().find(|line| line["response type"] == "/etcdserverpb.Lease/LeaseGrant");
    let granted = granted.context("a line for the grant")?;
    assert_eq!(
        (&granted["request count"], &granted["response size"]),
        (&(-1).into(), &(-1).into())
    );
    assert_eq!(granted["request content"], "");
    Ok(())
}

#[tokio::test]
async fn quick_requests_are_not() -> Result<()> {
    let member =
        Member::under_test(&["--warning-apply-duration=1h", "--warning-unary-request-duration=1h"])
            .await;
    let mut client = member.client().await;
    client.put("a", "b").await?;
    client.get("a").await?;
    for message in ["apply request took too long", "request stats", "failed to apply request"] {
        assert_eq!(warnings(&member, message), [Value::Null; 0], "{message}");
    }
    Ok(())
}
