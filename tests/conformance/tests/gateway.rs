//! The JSON gateway: what scripts and browsers say and hear, and that a real etcd says the same.

use std::time::Duration;

use anyhow::Result;
use conformance::{
    member::{Binary, Kind, Member},
    plain::{Answer, Exchange, ask, call},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

fn body(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[tokio::test]
async fn keys_leases_and_transactions() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let put = call(&member, "/v3/kv/put", r#"{"key":"Zm9v","value":"YmFy"}"#).await?;
    assert_eq!((put.status, put.header("content-type")), (200, Some("application/json")));
    assert_eq!(put.header("grpc-metadata-content-type"), Some("application/grpc"));
    assert_eq!(body(&put)["header"]["revision"], json!("2"));
    // Unpadded, camel case, a number as a number, a field that nobody knows; the old prefix.
    let asked = r#"{"key":"Zg","rangeEnd":"Zw==","limit":5,"nobody":[1]}"#;
    let range = body(&call(&member, "/v3beta/kv/range", asked).await?);
    let kv = json!({"key": "Zm9v", "create_revision": "2", "mod_revision": "2", "version": "1",
                    "value": "YmFy"});
    assert_eq!((&range["kvs"], &range["count"]), (&json!([kv]), &json!("1")));
    let txn = r#"{"compare":[{"target":"VERSION","key":"Zm9v","version":"1"}],
        "success":[{"requestDeleteRange":{"key":"Zm9v","prevKv":true}}]}"#;
    let txn = body(&call(&member, "/v3/kv/txn", txn).await?);
    assert_eq!(txn["responses"][0]["response_delete_range"]["prev_kvs"], json!([kv]));
    let grant = body(&call(&member, "/v3/lease/grant", r#"{"ID":7,"TTL":"60"}"#).await?);
    assert_eq!((&grant["ID"], &grant["TTL"]), (&json!("7"), &json!("60")));
    // Values one behind the other, and an answer to each.
    let kept = call(&member, "/v3/lease/keepalive", r#"{"ID":"7"}{"ID":"8"}"#).await?;
    let lines: Vec<Value> =
        kept.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["result"]["TTL"]), (2, &json!("60")), "{}", kept.body);
    assert_eq!(lines[1]["result"].get("TTL"), None, "a default is left out");
    Ok(())
}

#[tokio::test]
async fn errors_have_etcds_statuses() -> Result<()> {
    let member = Member::under_test(&[]).await;
    for (request, json, status, expected) in [
        ("POST /v3/kv/range", "", 400, r#"{"code":3,"message":"etcdserver: key is not provided"}"#),
        ("POST /v3/kv/range", r#"{"key":"#, 400, r#"{"code":3,"message":"unexpected EOF"}"#),
        (
            "POST /v3/kv/range",
            r#"{"key":"YQ","revision":99}"#,
            400,
            r#"{"code":11,"message":"etcdserver: mvcc: required revision is a future revision"}"#,
        ),
        (
            "POST /v3/lease/revoke",
            r#"{"ID":"5"}"#,
            404,
            r#"{"code":5,"message":"etcdserver: requested lease not found"}"#,
        ),
        (
            "POST /v3/auth/authenticate",
            r#"{"name":"a"}"#,
            400,
            r#"{"code":9,"message":"etcdserver: authentication is not enabled"}"#,
        ),
        ("POST /v3/kv/none", "{}", 404, r#"{"code":5,"message":"Not Found"}"#),
        ("GET /v3/kv/range", "", 501, r#"{"code":12,"message":"Method Not Allowed"}"#),
    ] {
        let answer = ask(&member, request, &[], json).await?;
        assert_eq!((answer.status, answer.body.as_str()), (status, expected), "{request} {json}");
    }
    let late = [("Grpc-Timeout", "x")];
    let answer = ask(&member, "POST /v3/kv/range", &late, "{}").await?;
    assert_eq!(answer.body, r#"{"code":3,"message":"invalid grpc-timeout: x"}"#);
    let moved = call(&member, "/v3//kv/./range", "{}").await?;
    assert_eq!((moved.status, moved.header("location")), (307, Some("/v3/kv/range")));
    Ok(())
}

/// Reads one JSON line of a stream.
async fn line(exchange: &mut Exchange) -> Result<Value> {
    Ok(serde_json::from_str(exchange.chunk().await?.trim())?)
}

#[tokio::test]
async fn a_watch_is_asked_while_it_answers() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut watch = Exchange::open(&member, "POST /v3/watch", &[], None).await?;
    watch.send(r#"{"create_request":{"key":"YQ"#).await?;
    watch.send(r#"=="}} "#).await?;
    assert_eq!(watch.head().await?.status, 200);
    assert_eq!(line(&mut watch).await?["result"]["created"], json!(true));
    call(&member, "/v3/kv/put", r#"{"key":"YQ","value":"MQ"}"#).await?;
    let event = line(&mut watch).await?;
    assert_eq!(event["result"]["events"][0]["kv"]["value"], json!("MQ=="));
    assert_eq!(event["result"]["events"][0].get("type"), None, "PUT is the default");
    call(&member, "/v3/kv/deleterange", r#"{"key":"YQ"}"#).await?;
    assert_eq!(line(&mut watch).await?["result"]["events"][0]["type"], json!("DELETE"));
    watch.send(r#"{"cancel_request":{"watch_id":"0"}}"#).await?;
    assert_eq!(line(&mut watch).await?["result"]["canceled"], json!(true));
    // What is no JSON ends the requests, not the stream.
    watch.send("{bad").await?;
    let silent = tokio::time::timeout(Duration::from_millis(300), watch.chunk()).await;
    assert!(silent.is_err(), "the stream goes on");
    Ok(())
}

#[tokio::test]
async fn a_websocket_carries_a_watch() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "Bearer, nothing.1"),
    ];
    let mut exchange = Exchange::open(&member, "GET /v3/watch", &headers, Some("")).await?;
    let head = exchange.head().await?;
    assert_eq!(head.status, 101);
    assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(head.header("sec-websocket-protocol"), Some("Bearer"));
    let stream = exchange.into_stream();
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    socket.send(Message::text(r#"{"create_request":{"key":"YQ=="}}"#)).await?;
    let mut next = async || -> Result<Value> {
        let message = socket.next().await.expect("the socket is open")?;
        Ok(serde_json::from_str(message.to_text()?)?)
    };
    assert_eq!(next().await?["result"]["created"], json!(true));
    call(&member, "/v3/kv/put", r#"{"key":"YQ","value":"MQ"}"#).await?;
    assert_eq!(next().await?["result"]["events"][0]["kv"]["version"], json!("1"));
    // A key that is none, and a method that cannot be upgraded.
    let headers = [("Connection", "upgrade"), ("Upgrade", "WebSocket")];
    assert_eq!(ask(&member, "GET /v3/watch", &headers, "").await?.status, 400);
    assert_eq!(ask(&member, "POST /v3/watch", &headers, "{}").await?.status, 405);
    Ok(())
}

#[tokio::test]
async fn a_token_comes_with_the_request() -> Result<()> {
    let member = Member::under_test(&[]).await;
    for (path, json) in [
        ("/v3/auth/user/add", r#"{"name":"root","password":"p"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        call(&member, path, json).await?;
    }
    let range = "POST /v3/kv/range";
    let key = r#"{"key":"YQ"}"#;
    let without = ask(&member, range, &[], key).await?;
    assert_eq!(without.status, 400);
    assert_eq!(without.body, r#"{"code":3,"message":"etcdserver: user name is empty"}"#);
    let wrong = ask(&member, range, &[("Authorization", "no.1")], key).await?;
    assert_eq!(
        (wrong.status, wrong.header("www-authenticate")),
        (401, Some("etcdserver: invalid auth token"))
    );
    let login = call(&member, "/v3/auth/authenticate", r#"{"name":"root","password":"p"}"#).await?;
    let token = body(&login)["token"].as_str().expect("a token").to_owned();
    for (name, value) in [
        ("Authorization", token.clone()),
        ("Authorization", format!("Bearer {token}")),
        ("Grpc-Metadata-Token", token),
    ] {
        assert_eq!(ask(&member, range, &[(name, &value)], key).await?.status, 200, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn hosts_and_origins_that_are_not_listed() -> Result<()> {
    let flags = ["--host-whitelist=localhost,etcd.example", "--cors=http://page.example:80"];
    let member = Member::under_test(&flags).await;
    let health = "GET /health";
    let refused = ask(&member, health, &[("Host", "evil.example:2379")], "").await?;
    assert_eq!(refused.status, 421);
    assert!(refused.body.contains("--host-whitelist \"evil.example\""), "{}", refused.body);
    let origin = |origin| [("Host", "localhost:1"), ("Origin", origin)];
    let page = ask(&member, health, &origin("http://page.example:80"), "").await?;
    assert_eq!(page.header("access-control-allow-origin"), Some("http://page.example:80"));
    let other = ask(&member, health, &origin("http://other.example:80"), "").await?;
    assert_eq!((other.status, other.header("access-control-allow-origin")), (200, None));
    let member = Member::under_test(&["--enable-grpc-gateway=false"]).await;
    let answer = call(&member, "/v3/kv/range", r#"{"key":"YQ"}"#).await?;
    assert_eq!((answer.status, answer.body.as_str()), (404, "404 page not found\n"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    Ok(())
}

#[tokio::test]
async fn variables_and_profiles() -> Result<()> {
    let member = Member::under_test(&["--enable-pprof"]).await;
    let variables = ask(&member, "GET /debug/vars", &[], "").await?;
    assert_eq!(variables.header("content-type"), Some("application/json; charset=utf-8"));
    let variables = body(&variables);
    let line = variables["cmdline"].as_array().expect("the command line");
    assert!(line.contains(&json!("--enable-pprof")), "{line:?}");
    assert!(variables["file_descriptor_limit"].as_u64() > Some(0), "{variables}");
    assert!(variables["memstats"]["Alloc"].as_u64() > Some(0), "{variables}");
    assert_eq!(variables["raft.status"]["raftState"], json!("StateLeader"));
    for path in
        ["heap", "allocs", "goroutine", "threadcreate", "block", "mutex", "profile?seconds=1"]
    {
        let line = format!("GET /debug/pprof/{path}");
        let head = Exchange::open(&member, &line, &[], Some("")).await?.head().await?;
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.header("content-type"), Some("application/octet-stream"), "{path}");
    }
    let threads = ask(&member, "GET /debug/pprof/goroutine?debug=1", &[], "").await?.body;
    assert!(threads.starts_with("goroutine profile: total "), "{threads}");
    assert!(threads.lines().any(|line| line.contains(" apply ")), "{threads}");
    let index = ask(&member, "GET /debug/pprof/", &[], "").await?;
    assert!(index.body.contains("<a href='profile'>"), "{}", index.body);
    let symbols = ask(&member, "GET /debug/pprof/symbol?0x1", &[], "").await?;
    assert_eq!(symbols.body, "num_symbols: 1\n");
    let trace = ask(&member, "GET /debug/pprof/trace", &[], "").await?;
    assert_eq!((trace.status, trace.header("x-go-pprof")), (501, Some("1")));
    let unknown = ask(&member, "GET /debug/pprof/nope", &[], "").await?;
    assert_eq!((unknown.status, unknown.body.as_str()), (404, "Unknown profile\n"));
    let without = Member::under_test(&[]).await;
    assert_eq!(ask(&without, "GET /debug/pprof/heap", &[], "").await?.status, 404);
    Ok(())
}

/// Requests, each to be answered alike by a fresh member of either kind.
const REQUESTS: &str = include_str!("gateway/requests.txt");

/// What 3.5 answers in another way: it has fewer fields, takes any order, and redirects with 301.
const NEWER: &[&str] = &[
    "/v3/maintenance/status",
    "/v3/maintenance/hashkv",
    "/v3/maintenance/downgrade",
    "\"sort_order\":9",
    "POST /v3 |",
    "/v3//kv",
];

/// Numbers that differ between two members of any kind.
const OWN: &[&str] = &[
    "cluster_id",
    "member_id",
    "ID",
    "leader",
    "raft_term",
    "raftTerm",
    "raftIndex",
    "raftAppliedIndex",
    "dbSize",
    "dbSizeInUse",
    "hash",
    "lease",
    "token",
    "clientURLs",
    "peerURLs",
    "memberID",
    "id",
    "compact_revision",
    "revision",
    "storageVersion",
];

fn without_own(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if OWN.contains(&name.as_str()) && !value.is_object() {
                    *value = json!("own");
                }
                without_own(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_own),
        _ => {}
    }
}

/// What an answer says that both kinds must say.
async fn said(member: &Member, request: &str) -> Result<(u16, Option<String>, Vec<Value>)> {
    let (line, json) = request.split_once(" | ").unwrap_or((request, ""));
    let answer = ask(member, line, &[], json).await?;
    let mut values = Vec::new();
    // Builds of Go's library put one space or the other, so that nobody relies on its texts.
    let answer = Answer { body: answer.body.replace("proto:\u{a0}", "proto: "), ..answer };
    for value in serde_json::Deserializer::from_str(&answer.body).into_iter::<Value>() {
        let Ok(mut value) = value else {
            values.push(Value::String(answer.body.clone()));
            break;
        };
        without_own(&mut value);
        values.push(value);
    }
    Ok((answer.status, answer.header("content-type").map(str::to_owned), values))
}

#[tokio::test]
async fn a_real_etcd_answers_the_same() -> Result<()> {
    if std::env::var_os("OXETCD_REFERENCE_ETCD").is_none() {
        eprintln!("skipped: OXETCD_REFERENCE_ETCD names no real etcd");
        return Ok(());
    }
    let reference = Binary::reference()?;
    let old = reference.kind() == Kind::Etcd && reference.version() < (3, 6);
    let ours = Member::under_test(&[]).await;
    let theirs = Member::start(&reference, &[]).await?;
    let requests = REQUESTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut differ = Vec::new();
    for request in requests {
        let (ours, theirs) = (said(&ours, request).await?, said(&theirs, request).await?);
        if ours != theirs && !(old && NEWER.iter().any(|path| request.contains(path))) {
            differ.push(format!("{request}\n  ours: {ours:?}\n  etcd: {theirs:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    Ok(())
}
