//! `etcd gateway` and `etcd grpc-proxy` in front of a member, as clients meet them.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use api::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
    LeaseGrantRequest, LeaseKeepAliveResponse, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    MemberListRequest, PutRequest, RangeRequest, WatchCreateRequest,
};
use client::{
    client::Client,
    config::{Config, Credentials},
    endpoint::Endpoint,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn testdata(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/testdata").join(name);
    path.display().to_string()
}

/// A process of the binary that listens at a port.
struct Process {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
    arguments: Vec<String>,
    ready: &'static str,
}

/// Starts the binary in a folder, with a log of its own.
fn run(arguments: &[String], dir: &Path) -> Child {
    let log = File::create(dir.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_oxetcd"))
        .args(arguments)
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

impl Process {
    fn spawn(arguments: &[&str], port: u16, ready: &'static str) -> Process {
        let process = Process::begin(arguments, port, ready);
        process.wait_for(ready);
        process
    }

    /// Starts without waiting.
    fn begin(arguments: &[&str], port: u16, ready: &'static str) -> Process {
        let dir = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let child = run(&arguments, dir.path());
        Process { child, port, dir, arguments, ready }
    }

    /// Kills it and starts it again.
    fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = run(&self.arguments, self.dir.path());
        self.wait_for(self.ready);
    }

    fn member(extra: &[&str], scheme: &str) -> Process {
        let port = free_port();
        let client = format!("{scheme}://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{}", free_port());
        let cluster = format!("default={peer}");
        let mut arguments = vec!["server", "--data-dir", "data"];
        arguments.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        arguments.extend(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        arguments.extend(["--initial-cluster", &cluster]);
        arguments.extend(extra);
        Process::spawn(&arguments, port, "ready to serve client requests")
    }

    /// A cluster of two members.
    fn pair() -> [Process; 2] {
        let ready = "ready to serve client requests";
        let peers = [0, 1].map(|_| format!("http://127.0.0.1:{}", free_port()));
        let cluster = format!("m0={},m1={}", peers[0], peers[1]);
        let members = [0, 1].map(|at| {
            let (port, name, peer) = (free_port(), format!("m{at}"), &peers[at]);
            let client = format!("http://127.0.0.1:{port}");
            let mut arguments = vec!["server", "--data-dir", "data", "--name", &name];
            arguments.extend(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            arguments.extend(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
            arguments.extend(["--initial-cluster", &cluster]);
            Process::begin(&arguments, port, ready)
        });
        members.iter().for_each(|member| member.wait_for(ready));
        members
    }

    /// A gRPC proxy in front of an endpoint.
    fn proxy(of: &str, extra: &[&str]) -> Process {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut arguments = vec!["grpc-proxy", "start", "--endpoints", of];
        arguments.extend(["--listen-addr", &address, "--advertise-client-url", &address]);
        arguments.extend(extra);
        Process::spawn(&arguments, port, "started gRPC proxy")
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn wait_for(&self, line: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.log().contains(line) {
            assert!(Instant::now() < until, "no {line:?} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    async fn client(&self) -> Client {
        Client::new(Config::new(vec![Endpoint::parse(&self.address())])).await.unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn put(key: &str, value: &str) -> PutRequest {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    PutRequest { key, value, ..PutRequest::default() }
}

fn read(key: &str, serializable: bool) -> RangeRequest {
    RangeRequest { serializable, ..client::kv::get(key.to_owned()) }
}

async fn value(client: &Client, key: &str, serializable: bool) -> String {
    let answer = client.range(read(key, serializable)).await.unwrap();
    let kv = answer.kvs.first().map(|kv| kv.decode().unwrap());
    String::from_utf8(kv.map(|kv| kv.value.to_vec()).unwrap_or_default()).unwrap()
}

/// A path of a listener without TLS: status and body.
fn get(port: u16, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until a series has a value.
fn wait_for_series(port: u16, path: &str, line: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = get(port, path).1;
        if text.lines().any(|found| found == line) {
            return;
        }
        assert!(Instant::now() < until, "no {line:?} in {path}:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_passes_connections_on_and_leaves_out_who_fails() {
    let member = Process::member(&[], "http");
    let port = free_port();
    let (listen, nobody) = (format!("127.0.0.1:{port}"), free_port());
    let endpoints = format!("http://127.0.0.1:{nobody},{}", member.address());
    let gateway = Process::spawn(
        &["gateway", "start", "--endpoints", &endpoints, "--listen-addr", &listen],
        port,
        "ready to proxy client requests",
    );
    for at in 0..4 {
        let client = gateway.client().await;
        client.put(put("a", &at.to_string())).await.unwrap();
        assert_eq!(value(&client, "a", false).await, at.to_string());
    }
    let log = gateway.log();
    assert_eq!(log.matches("deactivated endpoint").count(), 1, "{log}");
    assert_eq!(get(port, "/health").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable_reads_are_cached_until_a_write_through_the_proxy() {
    let member = Process::member(&[], "http");
    let proxy = Process::proxy(&member.address(), &[]);
    let (direct, proxied) = (member.client().await, proxy.client().await);
    proxied.put(put("a", "1")).await.unwrap();
    assert_eq!(value(&proxied, "a", false).await, "1");
    direct.put(put("a", "2")).await.unwrap();
    assert_eq!(value(&proxied, "a", true).await, "1");
    assert_eq!(value(&proxied, "a", false).await, "2");
    assert_eq!(value(&proxied, "a", true).await, "2");
    proxied.put(put("a", "3")).await.unwrap();
    assert_eq!(value(&proxied, "a", true).await, "3");
    wait_for_series(proxy.port, "/proxy/metrics", "etcd_grpc_proxy_cache_hits_total 2");
    wait_for_series(proxy.port, "/proxy/metrics", "etcd_grpc_proxy_cache_misses_total 1");
    for path in ["/health", "/proxy/health"] {
        let health = (200, r#"{"health":"true","reason":""}"#.to_owned());
        assert_eq!(get(proxy.port, path), health, "{path}");
    }
    assert!(get(proxy.port, "/metrics").1.contains("etcd_server_has_leader 1"));
    assert_eq!(get(proxy.port, "/version").0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_of_one_range_share_one_watch_of_the_member() {
    let member = Process::member(&[], "http");
    let proxy = Process::proxy(&member.address(), &[]);
    let client = proxy.client().await;
    let first = client.put(put("w/0", "")).await.unwrap().header.unwrap().revision;
    let request = WatchCreateRequest {
        key: "w/".into(),
        range_end: "w0".into(),
        start_revision: first,
        ..WatchCreateRequest::default()
    };
    let mut watchers = Vec::new();
    for _ in 0..10 {
        watchers.push(client.watch(request.clone()).await);
    }
    for at in 1..=50 {
        client.put(put(&format!("w/{at}"), "")).await.unwrap();
    }
    for (number, watcher) in watchers.iter_mut().enumerate() {
        let mut revisions = Vec::new();
        while revisions.len() < 51 {
            let next = tokio::time::timeout(PATIENCE, watcher.next()).await;
            let response = next.expect("events come").expect("the watch goes on");
            assert_eq!(response.error(), None);
            let kvs = response.events.iter().map(|event| event.kv.as_ref().unwrap());
            revisions.extend(kvs.map(|kv| kv.decode().unwrap().mod_revision));
        }
        assert_eq!(revisions, (first..=first + 50).collect::<Vec<_>>(), "watcher {number}");
    }
    // The watches for the leader aside, the member sees one.
    client.put(put("w/51", "")).await.unwrap();
    wait_for_series(proxy.port, "/proxy/metrics", "etcd_grpc_proxy_watchers_coalescing_total 9");
    drop(watchers);
    wait_for_series(proxy.port, "/proxy/metrics", "etcd_grpc_proxy_watchers_coalescing_total 0");
    wait_for_series(member.port, "/metrics", "etcd_debugging_mvcc_watcher_total 1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_delays_nobody_and_loses_nothing() {
    const PUTS: i64 = 1500;
    let member = Process::member(&[], "http");
    let proxy = Process::proxy(&member.address(), &["--debug"]);
    let client = proxy.client().await;
    let first = client.put(put("s", "")).await.unwrap().header.unwrap().revision + 1;
    let request =
        WatchCreateRequest { key: "s".into(), start_revision: first, ..Default::default() };
    let mut slow = client.watch(request.clone()).await;
    let mut fast = client.watch(request.clone()).await;
    let writing = tokio::spawn(async move {
        let direct = member.client().await;
        let value = "v".repeat(30_000);
        for _ in 0..PUTS / 50 {
            let puts: Vec<_> = (0..50)
                .map(|_| {
                    let (direct, value) = (direct.clone(), value.clone());
                    tokio::spawn(async move { direct.put(put("s", &value)).await.unwrap() })
                })
                .collect();
            for put in puts {
                put.await.unwrap();
            }
        }
        member
    });
    // More than any queue between the member and the slow client holds.
    for watcher in [&mut fast, &mut slow] {
        let mut next = first;
        while next < first + PUTS {
            let response = tokio::time::timeout(PATIENCE, watcher.next()).await;
            let response = response.expect("events come").expect("the watch goes on");
            assert_eq!(response.error(), None);
            for event in &response.events {
                assert_eq!(event.kv.as_ref().unwrap().decode().unwrap().mod_revision, next);
                next += 1;
            }
        }
    }
    drop(writing.await.unwrap());
    let log = proxy.log();
    assert!(log.contains("a slow watcher leaves for its own watch"), "{log}");
    assert!(!log.contains("does not read"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_and_calls_go_on_when_the_member_comes_back() {
    let mut member = Process::member(&[], "http");
    let proxy = Process::proxy(&member.address(), &[]);
    let client = proxy.client().await;
    let first = client.put(put("r", "0")).await.unwrap().header.unwrap().revision;
    let request =
        WatchCreateRequest { key: "r".into(), start_revision: first, ..Default::default() };
    let mut watchers = [client.watch(request.clone()).await, client.watch(request).await];
    for restarts in 0..3 {
        member.restart();
        let waiting = client.with_timeout(PATIENCE);
        while waiting.put(put("r", &restarts.to_string())).await.is_err() {}
    }
    let last = client.range(read("r", false)).await.unwrap().kvs[0].decode().unwrap().mod_revision;
    for watcher in &mut watchers {
        let mut next = first;
        while next <= last {
            let response = tokio::time::timeout(PATIENCE, watcher.next()).await;
            let response = response.expect("events come").expect("the watch goes on");
            assert_eq!(response.error(), None);
            for event in &response.events {
                assert_eq!(event.kv.as_ref().unwrap().decode().unwrap().mod_revision, next);
                next += 1;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_want_a_leader_end_without_one() {
    let [one, other] = Process::pair();
    let proxy = Process::proxy(&one.address(), &[]);
    let client = proxy.client().await;
    let request = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let mut wanting = client.require_leader().watch(request.clone()).await;
    let mut patient = client.watch(request).await;
    client.put(put("a", "1")).await.unwrap();
    for watcher in [&mut wanting, &mut patient] {
        let response = tokio::time::timeout(PATIENCE, watcher.next()).await;
        assert_eq!(response.expect("an event comes").expect("the watch goes on").events.len(), 1);
    }
    drop(other);
    let end = tokio::time::timeout(PATIENCE, wanting.next()).await.expect("the watch ends");
    let end = end.expect("the end is told");
    assert!(end.failure.is_some_and(|failure| failure.is(api::error::Error::NoLeader)));
    let more = tokio::time::timeout(Duration::from_millis(300), patient.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_not_seen_by_its_clients() {
    let member = Process::member(&[], "http");
    let flags = [
        "--namespace=ns/",
        "--experimental-serializable-ordering",
        "--experimental-enable-grpc-logging",
        "--endpoints-auto-sync-interval=20ms",
    ];
    let proxy = Process::proxy(&member.address(), &flags);
    let (direct, proxied) = (member.client().await, proxy.client().await);
    let lease = proxied.lease_grant(LeaseGrantRequest { ttl: 60, id: 0 }).await.unwrap().id;
    proxied.put(PutRequest { lease, ..put("a", "1") }).await.unwrap();
    direct.put(PutRequest { lease, ..put("other", "x") }).await.unwrap();
    assert_eq!(value(&direct, "ns/a", false).await, "1");
    let all = RangeRequest { range_end: "\0".into(), ..read("\0", false) };
    let all = proxied.range(all).await.unwrap();
    assert_eq!(all.kvs.iter().map(|kv| kv.decode().unwrap().key).collect::<Vec<_>>(), ["a"]);
    let left = LeaseTimeToLiveRequest { id: lease, keys: true };
    assert_eq!(proxied.lease_time_to_live(left).await.unwrap().keys, ["a"]);
    let request =
        WatchCreateRequest { key: "a".into(), start_revision: 2, ..WatchCreateRequest::default() };
    let response = proxied.watch(request).await.next().await.unwrap();
    assert_eq!(response.events[0].kv.as_ref().unwrap().decode().unwrap().key, "a");
    let refused = proxied.put(put("", "x")).await.unwrap_err();
    assert!(refused.is(api::error::Error::EmptyKey), "{refused}");
    let log = proxy.log();
    assert!(log.contains(r#""grpc.method":"Put","grpc.code":"InvalidArgument""#), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_of_a_lease_reach_the_member_until_it_ends() {
    let member = Process::member(&[], "http");
    let proxy = Process::proxy(&member.address(), &[]);
    let client = proxy.client().await;
    let id = client.lease_grant(LeaseGrantRequest { ttl: 3, id: 0 }).await.unwrap().id;
    let (mut one, mut other) = (client.keep_alive(id), client.keep_alive(id));
    for _ in 0..2 {
        for keep_alive in [&mut one, &mut other] {
            let answer: Option<LeaseKeepAliveResponse> = keep_alive.next().await;
            assert_eq!(answer.map(|answer| answer.ttl), Some(3));
        }
    }
    // A client that ends its side is answered, and the stream ends.
    assert_eq!(client.keep_alive_once(id).await.unwrap().ttl, 3);
    client.lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
    assert!(client.keep_alive_once(id).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_proxies_stand_for_the_members() {
    let member = Process::member(&[], "http");
    let flags = ["--resolver-prefix", "proxies", "--resolver-ttl", "60"];
    let proxies =
        [Process::proxy(&member.address(), &flags), Process::proxy(&member.address(), &flags)];
    let client = proxies[0].client().await;
    let until = Instant::now() + PATIENCE;
    let mut wanted: Vec<String> = proxies.iter().map(Process::address).collect();
    wanted.sort();
    loop {
        let list = client.member_list(MemberListRequest::default()).await.unwrap();
        let mut found: Vec<String> =
            list.members.iter().flat_map(|member| member.client_urls.clone()).collect();
        found.sort();
        if found == wanted {
            break;
        }
        assert!(Instant::now() < until, "{found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let direct = member.client().await;
    let value = value(&direct, &format!("proxies/{}", proxies[1].address()), false).await;
    let start = format!(r#"{{"Op":0,"Addr":"{}","Metadata":"{{"#, proxies[1].address());
    assert!(value.starts_with(&start), "{value}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_reach_the_member_and_answers_are_kept_apart() {
    let member = Process::member(&[], "http");
    let proxy = Process::proxy(&member.address(), &[]);
    let direct = member.client().await;
    direct.put(put("a", "secret")).await.unwrap();
    let (name, password) = ("root".to_owned(), "pw".to_owned());
    let user =
        AuthUserAddRequest { name: name.clone(), password: password.clone(), ..Default::default() };
    direct.user_add(user).await.unwrap();
    direct.role_add(AuthRoleAddRequest { name: name.clone() }).await.unwrap();
    let grant = AuthUserGrantRoleRequest { user: name.clone(), role: name.clone() };
    direct.user_grant_role(grant).await.unwrap();
    direct.auth_enable(AuthEnableRequest {}).await.unwrap();
    let config = Config {
        credentials: Some(Credentials::Password { name, password }),
        ..Config::new(vec![Endpoint::parse(&proxy.address())])
    };
    let root = Client::new(config).await.unwrap();
    assert_eq!(value(&root, "a", true).await, "secret");
    assert_eq!(value(&root, "a", true).await, "secret");
    let stranger = proxy.client().await;
    let refused = stranger.range(read("a", true)).await.unwrap_err();
    assert!(refused.is(api::error::Error::UserEmpty), "{refused}");
    let request = WatchCreateRequest { key: "a".into(), ..WatchCreateRequest::default() };
    let refused = stranger.watch(request).await.next().await.unwrap();
    assert!(refused.canceled && refused.failure.is_some(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_have_tls() {
    let (cert, key) = (testdata("kubeadm-server.crt"), testdata("kubeadm-server.key"));
    let member = Process::member(&["--cert-file", &cert, "--key-file", &key], "https");
    let ca = testdata("bundle.crt");
    let metrics = free_port();
    let metrics_url = format!("http://127.0.0.1:{metrics}");
    let flags = [
        ["--cacert", &ca],
        ["--cert-file", &cert],
        ["--key-file", &key],
        ["--metrics-addr", &metrics_url],
    ];
    let proxy = Process::proxy(&format!("https://{}", member.address()), flags.as_flattened());
    let options =
        tls::ClientOptions { trusted_ca_file: Some(ca.into()), ..tls::ClientOptions::default() };
    let config = Config {
        tls: Some(client::config::connector(options).unwrap()),
        ..Config::new(vec![Endpoint::parse(&format!("https://{}", proxy.address()))])
    };
    let client = Client::new(config).await.unwrap();
    client.put(put("a", "1")).await.unwrap();
    assert_eq!(value(&client, "a", false).await, "1");
    assert_eq!(get(metrics, "/health").0, 200);
    wait_for_series(metrics, "/proxy/metrics", "etcd_grpc_proxy_cache_keys_total 1");
}

#[test]
fn wrong_arguments_are_told_in_etcds_words() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_oxetcd")).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = run(&["gateway", "start", "--endpoints=abc"]);
    assert_eq!((code, out.as_str()), (Some(1), "error parsing endpoint \"abc\""));
    let (code, out, _) = run(&["gateway", "start", "--endpoints="]);
    assert_eq!((code, out.as_str()), (Some(1), "no endpoints found\n"));
    let (_, out, _) = run(&["gateway", "start", "--endpoints=127.0.0.1:23790"]);
    let same = "SRV or endpoint (127.0.0.1:23790->127.0.0.1:23790) should not resolve to the \
                gateway listen addr (127.0.0.1:23790)\n";
    assert_eq!(out, same);
    let (code, _, err) = run(&["grpc-proxy", "start", "--bogus"]);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("Error: unknown flag: --bogus\nUsage:\n"), "{err}");
    let (_, _, err) = run(&["grpc-proxy", "start", "--resolver-prefix=p"]);
    assert_eq!(err, "invalid resolver-ttl 0\n");
    let (cert, key) = (testdata("kubeadm-client.crt"), testdata("kubeadm-client.key"));
    let (code, _, err) =
        run(&["grpc-proxy", "start", "--cert", &cert, "--key", &key, "--listen-addr=127.0.0.1:0"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("cert has non empty Common Name ("), "{err}");
    for help in [&["gateway", "--help"][..], &["gateway"], &["grpc-proxy", "start", "--help"]] {
        let (code, out, _) = run(help);
        assert!(code == Some(0) && out.contains("\nUsage:\n  etcd "), "{help:?}: {out}");
    }
}
