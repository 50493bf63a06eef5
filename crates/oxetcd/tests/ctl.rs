//! The binary as etcdctl against the binary as a server: what a script sees.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A member, and the tool pointed at it.
struct Cluster {
    dir: TempDir,
    port: u16,
    server: Child,
}

/// What a user sees.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Cluster {
    fn start() -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, peer) = (free(), free());
        let (client, peer) =
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let server = Command::new(env!("CARGO_BIN_EXE_oxetcd"))
            .args(["server", "--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--data-dir"])
            .arg(dir.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Cluster { dir, port, server };
        let deadline = Instant::now() + Duration::from_secs(30);
        while cluster.run("endpoint health --command-timeout=1s").code != Some(0) {
            assert!(Instant::now() < deadline, "the member does not become healthy");
        }
        cluster
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oxetcd"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCDCTL_") {
                command.env_remove(name);
            }
        }
        let folder = self.dir.path().to_str().unwrap();
        command.args(["ctl", "--endpoints", &format!("127.0.0.1:{}", self.port)]);
        command.args(line.split(' ').map(|word| word.replace("{TMP}", folder)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, line: &str) -> Seen {
        self.run_with(line, "")
    }

    fn run_with(&self, line: &str, stdin: &str) -> Seen {
        let mut child = self.command(line).spawn().unwrap();
        // A tool that reads nothing may have ended by now.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Seen {
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            code: output.status.code(),
        }
    }

    #[track_caller]
    fn check(&self, line: &str, stdout: &str) {
        let seen = self.run(line);
        assert_eq!(seen.stdout, stdout, "{line}: {}", seen.stderr);
        assert_eq!(seen.code, Some(0), "{line}");
    }

    /// A failure: exit code and last line of standard error.
    #[track_caller]
    fn check_failure(&self, line: &str, code: i32, message: &str) {
        let seen = self.run(line);
        assert_eq!(seen.stderr.lines().last(), Some(message), "{line}");
        assert_eq!(seen.code, Some(code), "{line}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn keys_are_written_read_and_deleted() {
    let cluster = Cluster::start();
    cluster.check("put a 1", "OK\n");
    cluster.check("put a 2 --prev-kv", "OK\na\n1\n");
    cluster.check("put b/x 3", "OK\n");
    cluster.check("get a", "a\n2\n");
    cluster.check("get a --rev=2 --print-value-only", "1\n");
    cluster.check("get b --prefix --keys-only", "b/x\n\n");
    cluster.check("get nothing", "");
    let json = cluster.run("get a -w json").stdout;
    let kv = "\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":2,\"mod_revision\":3,\"version\":2,\
              \"value\":\"Mg==\"}],\"count\":1}\n";
    assert!(json.starts_with("{\"header\":{\"cluster_id\":") && json.ends_with(kv), "{json}");
    assert_eq!(cluster.run_with("put piped", "from stdin").stdout, "OK\n");
    cluster.check("get piped --print-value-only", "from stdin\n");
    let txn = "val(\"a\") = \"2\"\n\nput a 3\nget a\n\nput a never\n\n";
    assert_eq!(cluster.run_with("txn", txn).stdout, "SUCCESS\n\nOK\n\na\n3\n");
    cluster.check("del b/ --prefix --prev-kv", "1\nb/x\n3\n");
    cluster.check("compaction 4", "compacted revision 4\n");
    let compacted = "Error: etcdserver: mvcc: required revision has been compacted";
    cluster.check_failure("get a --rev=3", 1, compacted);
    cluster.check_failure("put a b --lease=99", 1, "Error: etcdserver: requested lease not found");
    cluster.check_failure("get --nope", 1, "");
}

#[test]
fn leases_locks_and_watches() {
    let cluster = Cluster::start();
    let granted = cluster.run("lease grant 60").stdout;
    let id = granted.split(' ').nth(1).unwrap();
    assert_eq!(granted, format!("lease {id} granted with TTL(60s)\n"));
    cluster.check(&format!("put k v --lease={id}"), "OK\n");
    cluster.check("lease list", &format!("found 1 leases\n{id}\n"));
    let renewed = format!("lease {id} keepalived with TTL(60)\n");
    cluster.check(&format!("lease keep-alive {id} --once"), &renewed);
    let seen = cluster.run(&format!("lease timetolive {id} --keys")).stdout;
    assert!(seen.ends_with("s), attached keys([k])\n"), "{seen}");
    cluster.check(&format!("lease revoke {id}"), &format!("lease {id} revoked\n"));
    cluster.check("get k", "");

    let locked = cluster.run("lock l printenv ETCD_LOCK_KEY ETCD_LOCK_REV");
    assert!(locked.stdout.starts_with("l/") && locked.code == Some(0), "{locked:?}");
    cluster.check("get l --prefix", "");
    cluster.check_failure("lock l false", 1, "Error: exit status 1");

    let mut watch =
        cluster.command("watch w --prev-kv -- printenv ETCD_WATCH_VALUE").spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    let mut count = 0;
    // Until the watch is made, changes pass it by.
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(&mut next);
        while !first.is_finished() {
            count += 1;
            cluster.check(&format!("put w {count}"), "OK\n");
            std::thread::sleep(Duration::from_millis(50));
        }
        first.join().unwrap()
    });
    assert_eq!(first, "PUT");
    cluster.check("del w", "1\n");
    let mut last = Vec::new();
    while last.last().map(String::as_str) != Some("DELETE") {
        last.push(next());
    }
    let shown = [next(), next(), next(), next()];
    assert_eq!(shown, ["w".to_owned(), count.to_string(), "w".to_owned(), String::new()]);
    assert_eq!(next(), "\"\"", "the command saw the value in quotes");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// A tool that goes on until it is told to end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks again and again, until the answer is this one.
#[track_caller]
fn await_answer(cluster: &Cluster, line: &str, stdout: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let seen = cluster.run(line);
        if seen.stdout == stdout {
            return;
        }
        assert!(Instant::now() < deadline, "{line}: {seen:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_mirror_copies_what_is_there_and_follows_changes() {
    let (from, to) = (Cluster::start(), Cluster::start());
    // More keys than are read at once.
    for group in 10..21 {
        let puts: String = (0..100).map(|at| format!("put m/{group}{at:02} v{at}\n")).collect();
        assert_eq!(from.run_with("txn", &format!("\n{puts}\n\n")).code, Some(0));
    }
    from.check("put other 1", "OK\n");
    from.check("del m/1000", "1\n");
    let line = format!("make-mirror --prefix m/ --dest-prefix n/ 127.0.0.1:{}", to.port);
    let mut mirror = Running(from.command(&line).spawn().unwrap());
    await_answer(&to, "get n/2099", "n/2099\nv99\n");

    // A transaction stays one; a change of a key that is not mirrored leaves nothing.
    let ops = "\nput m/a 1\nput m/b 2\nput other 2\ndel m/2099\n\n\n";
    assert_eq!(from.run_with("txn", ops).code, Some(0));
    await_answer(&to, "get n/b", "n/b\n2\n");
    let of = |key: &str| {
        let lines = to.run(&format!("get {key} -w fields")).stdout;
        let line =
            lines.lines().find(|line| line.starts_with("\"ModRevision\"")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{lines}"))
    };
    assert_eq!(of("n/a"), of("n/b"));
    to.check("get n/2099", "");
    from.check("put m/a 3", "OK\n");
    await_answer(&to, "get n/a", "n/a\n3\n");
    let there = to.run("get a --from-key --keys-only").stdout;
    let mut expected: Vec<String> = (10..21)
        .flat_map(|group| (0..100).map(move |at| format!("n/{group}{at:02}")))
        .filter(|key| key != "n/1000" && key != "n/2099")
        .collect();
    expected.extend(["n/a".to_owned(), "n/b".to_owned()]);
    assert_eq!(there.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>(), expected);
    assert_eq!(mirror.0.try_wait().unwrap(), None, "a mirror goes on");

    // From a revision on: nothing of before, and the prefix is dropped without --dest-prefix.
    to.check("del n/ --prefix", "1100\n");
    let line = format!("make-mirror --prefix m/ --rev 14 127.0.0.1:{}", to.port);
    let _from_then = Running(from.command(&line).spawn().unwrap());
    await_answer(&to, "get a b --keys-only", "a\n\n");
    to.check("get 1 --prefix --keys-only", "");
}

#[test]
fn members_endpoints_and_snapshots() {
    let cluster = Cluster::start();
    cluster.check("put a 1", "OK\n");
    let endpoint = format!("127.0.0.1:{}", cluster.port);
    let health = cluster.run("endpoint health").stdout;
    let healthy = format!("{endpoint} is healthy: successfully committed proposal: took = ");
    assert!(health.starts_with(&healthy), "{health}");
    let status = cluster.run("endpoint status").stdout;
    assert_eq!(status.trim_end_matches('\n').split(", ").count(), 16, "{status}");
    let members = cluster.run("member list").stdout;
    assert!(members.contains(", started, default, http://127.0.0.1:"), "{members}");
    let unknown = "Error: etcdserver: member not found";
    cluster.check_failure("member remove 1234", 1, unknown);

    let saved = cluster.run("snapshot save {TMP}/s.db");
    assert_eq!(saved.code, Some(0), "{}", saved.stderr);
    assert!(saved.stdout.starts_with("Snapshot saved at "), "{}", saved.stdout);
    assert!(!cluster.dir.path().join("s.db.part").exists());
    let status = cluster.run("snapshot status {TMP}/s.db -w json").stdout;
    assert!(status.contains("\"revision\":2,\"totalKey\":1,"), "{status}");
    let refused = cluster.run("snapshot save /nonexistent/s.db");
    assert_eq!(refused.code, Some(5));
}

#[test]
fn users_roles_and_permissions() {
    let cluster = Cluster::start();
    cluster.check("user add root:pw", "User root created\n");
    cluster.check("user add alice --new-user-password=x", "User alice created\n");
    cluster.check("role add r", "Role r created\n");
    cluster.check("role grant-permission r readwrite p/ --prefix", "Role r updated\n");
    cluster.check("user grant-role alice r", "Role r is granted to user alice\n");
    cluster.check(
        "role get r",
        "Role r\nKV Read:\n\t[p/, p0) (prefix p/)\nKV Write:\n\t[p/, p0) (prefix p/)\n",
    );
    cluster.check("auth enable", "Authentication Enabled\n");
    cluster.check_failure("get a", 1, "Error: etcdserver: user name is empty");
    cluster.check("--user alice:x put p/1 v", "OK\n");
    cluster.check_failure("--user alice:x put q v", 1, "Error: etcdserver: permission denied");
    let wrong = "Error: etcdserver: authentication failed, invalid user ID or password";
    cluster.check_failure("--user alice:y get p/1", 2, wrong);
    let seen = cluster.run("--user root:pw auth status").stdout;
    assert!(seen.starts_with("Authentication Status: true\nAuthRevision: "), "{seen}");
    cluster.check("--user root --password pw auth disable", "Authentication Disabled\n");
    cluster.check("get p/1", "p/1\nv\n");
}

#[test]
fn the_environment_sets_flags() {
    let cluster = Cluster::start();
    cluster.check("put a 1", "OK\n");
    let run = |line: &str, name: &str, value: &str| {
        let output = cluster.command(line).env(name, value).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (String::from_utf8(output.stdout).unwrap(), stderr, output.status.code())
    };
    assert_eq!(run("get a", "ETCDCTL_HEX", "true").0, "\\x61\n\\x31\n");
    let (stdout, stderr, _) = run("get a", "ETCDCTL_API", "3");
    assert_eq!(stdout, "a\n1\n");
    assert!(stderr.contains("\"environment-variable\":\"ETCDCTL_API=3\""), "{stderr}");
    let (_, stderr, code) = run("get a", "ETCDCTL_ENDPOINTS", "x:1");
    assert!(stderr.starts_with("{\"level\":\"fatal\"") && code == Some(1), "{stderr}");
    let (_, stderr, code) = run("watch a", "ETCDCTL_WATCH_KEY", "b");
    let conflict = "Error: bad number of arguments (found conflicting environment key)\n";
    assert_eq!((stderr.as_str(), code), (conflict, Some(128)));
}
