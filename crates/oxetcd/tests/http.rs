//! A running member as load balancers, probes and Prometheus see it; and how it ends.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

struct Member {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(data: &Path, log: &Path, port: u16, extra: &[&str]) -> Child {
    let client = format!("http://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", free_port());
    Command::new(env!("CARGO_BIN_EXE_oxetcd"))
        .args(["server", "--data-dir"])
        .arg(data)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(extra)
        .stdout(Stdio::null())
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap()
}

impl Member {
    fn start(extra: &[&str]) -> Member {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let child = spawn(&dir.path().join("data"), &dir.path().join("log"), port, extra);
        let member = Member { child, port, dir };
        member.wait_for("ready to serve client requests");
        member
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn wait_for(&self, line: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(line) {
            assert!(Instant::now() < until, "no {line:?} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Status code, headers and body of a request on `port`.
    fn ask(&self, port: u16, method: &str, path: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        (code, head.to_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(self.port, "GET", path)
    }

    fn signal(&mut self, name: &str) -> std::process::ExitStatus {
        let id = self.child.id().to_string();
        Command::new("kill").args([name, &id]).status().unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn health_and_its_checks() {
    let member = Member::start(&[]);
    let (code, head, body) = member.get("/health");
    assert_eq!((code, body.as_str()), (200, r#"{"health":"true","reason":""}"#));
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert_eq!(member.get("/health?serializable=true").0, 200);
    for path in ["/livez", "/readyz", "/livez/serializable_read", "/readyz/linearizable_read"] {
        assert_eq!((member.get(path).0, member.get(path).2.as_str()), (200, "ok\n"), "{path}");
    }
    let verbose = member.get("/readyz?verbose").2;
    for check in ["data_corruption", "serializable_read", "linearizable_read", "non_learner"] {
        assert!(verbose.contains(&format!("[+]{check} ok\n")), "{verbose}");
    }
    assert_eq!(member.ask(member.port, "POST", "/health").0, 405);
    assert_eq!(member.get("/readyz/nothing").0, 404);
}

#[test]
fn version_options_and_unknown_paths() {
    let member = Member::start(&[]);
    let expected = r#"{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}"#;
    // The leader decides the cluster's version, and each member follows with that of its storage.
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (code, _, body) = member.get("/version");
        assert_eq!(code, 200);
        if body == expected {
            break;
        }
        assert!(Instant::now() < until, "{body}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(member.ask(member.port, "OPTIONS", "/any").0, 200);
    let (code, head, body) = member.get("/nothing");
    assert_eq!((code, body.as_str()), (404, "404 page not found\n"));
    assert!(head.contains("x-content-type-options: nosniff"), "{head}");
}

#[test]
fn metrics_move() {
    let metrics = free_port();
    let url = format!("http://127.0.0.1:{metrics}");
    let member = Member::start(&["--listen-metrics-urls", &url]);
    let (code, _, text) = member.ask(metrics, "GET", "/metrics");
    assert_eq!(code, 200);
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no series {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("etcd_server_has_leader"), 1.0);
    assert_eq!(value("etcd_server_is_leader"), 1.0);
    assert!(value("etcd_disk_wal_fsync_duration_seconds_count") >= 1.0);
    assert!(value("etcd_server_proposals_applied_total") >= 3.0);
    assert!(value("etcd_mvcc_db_total_size_in_bytes") > 0.0);
    assert_eq!(value("etcd_server_quota_backend_bytes"), 2147483648.0);
    assert!(value("process_resident_memory_bytes") > 1e6);
    assert_eq!(member.ask(metrics, "GET", "/health").0, 200);
    assert_eq!(member.ask(metrics, "GET", "/version").0, 404, "not on the metrics port");
}

#[test]
fn the_log_says_what_it_runs_with_and_who_leads() {
    // Whose directory the log has is nobody's business, other than that of the data.
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let wal = format!("--wal-dir={}/wal", shared.path().display());
    let mut member = Member::start(&[
        "--auto-compaction-mode=revision",
        "--auto-compaction-retention=1000",
        "--quota-backend-bytes=77",
        &wal,
    ]);
    member.wait_for("set initial cluster version");
    member.signal("-TERM");
    let log = member.log();
    assert!(!log.contains("check file permission"), "{log}");
    let line = |message: &str| {
        let message = format!("\"msg\":\"{message}\"");
        let found = log.lines().find(|line| line.contains(&message));
        found.unwrap_or_else(|| panic!("no {message} in the log:\n{log}")).to_owned()
    };
    let start = line("starting an etcd server");
    for field in [
        "\"etcd-version\":\"3.7.1\"",
        "\"member-initialized\":false",
        "\"name\":\"default\"",
        "\"heartbeat-interval\":\"100ms\",\"election-timeout\":\"1s\"",
        "\"snapshot-count\":10000,\"max-wals\":5,\"max-snapshots\":5",
        "\"listen-metrics-urls\":[],\"local-address\":\"\"",
        "\"cors\":[\"*\"],\"host-whitelist\":[\"*\"]",
        "\"initial-cluster\":\"default=http://127.0.0.1:",
        "\"quota-backend-bytes\":77,\"max-request-bytes\":1572864",
        "\"auto-compaction-mode\":\"revision\",\"auto-compaction-retention\":\"1µs\"",
        "\"discovery-dial-timeout\":\"2s\"",
        "\"max-learners\":1,\"v2-deprecation\":\"write-only\"}",
    ] {
        assert!(start.contains(field), "no {field} in {start}");
    }
    let version = line("set initial cluster version");
    assert!(version.contains("\"cluster-version\":\"3.7\""), "{version}");
    let client = format!("http://127.0.0.1:{}", member.port);
    let listens = format!("\"listen-client-urls\":[\"{client}\"]");
    assert!(line("now serving peer/client/metrics").contains(&listens), "{log}");
    let published = line("published local member to cluster through raft");
    let attributes = format!("{{Name:default ClientURLs:[{client}]}}");
    assert!(published.contains(&format!("\"local-member-attributes\":\"{attributes}\"")), "{log}");
    let id = published.split("\"local-member-id\":\"").nth(1).unwrap().split('"').next().unwrap();
    for said in [
        line(&format!("{id} became leader at term 2")),
        line(&format!("raft.node: {id} elected leader {id} at term 2")),
    ] {
        assert!(said.contains("\"logger\":\"raft\""), "{said}");
    }
}

#[test]
fn a_signal_ends_it_gracefully_and_it_comes_back() {
    let mut member = Member::start(&[]);
    let data = member.dir.path().join("data");
    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let status = member.signal("-TERM");
    assert_eq!(status.signal(), Some(15), "ended by the signal itself, as etcd is");
    assert!(member.log().contains("closed etcd server"), "{}", member.log());
    let log = member.dir.path().join("log");
    member.child = spawn(&data, &log, member.port, &[]);
    member.wait_for("ready to serve client requests");
    assert_eq!(member.get("/health").0, 200);
}

#[test]
fn a_second_process_on_a_data_dir_is_refused() {
    let member = Member::start(&[]);
    let log = member.dir.path().join("second");
    let mut second = spawn(&member.dir.path().join("data"), &log, free_port(), &[]);
    assert_eq!(second.wait().unwrap().code(), Some(1));
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("failed to open the store"), "{text}");
    assert_eq!(member.get("/health").0, 200, "the first one goes on");
}

#[test]
fn a_file_that_is_no_database_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("data/member/snap");
    fs::create_dir_all(&snap).unwrap();
    fs::write(snap.join("db"), b"bbolt").unwrap();
    let log = dir.path().join("log");
    let mut child = spawn(&dir.path().join("data"), &log, free_port(), &[]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("failed to read the database"), "{text}");
    assert_eq!(fs::read(snap.join("db")).unwrap(), b"bbolt");
}
