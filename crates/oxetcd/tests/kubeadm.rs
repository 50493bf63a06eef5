//! The flags of kubeadm's manifest, as `packaging/kubeadm-etcd.yaml` has them: with nothing replaced but
//! addresses, ports and the folders of files, they start a member whose probes are answered.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const MANIFEST: &str = include_str!("../../../packaging/kubeadm-etcd.yaml");

/// Ports that were free a moment ago, all different.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// The status line of an answer; an error while nobody listens.
fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// Certificates for client and peer under the names that kubeadm gives them.
fn certificates(folder: &Path) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/testdata");
    for (from, to) in [
        ("kubeadm-server.crt", "server.crt"),
        ("kubeadm-server.key", "server.key"),
        ("kubeadm-server.crt", "peer.crt"),
        ("kubeadm-server.key", "peer.key"),
        ("bundle.crt", "ca.crt"),
    ] {
        std::fs::copy(data.join(from), folder.join(to)).unwrap();
    }
}

struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn the_flags_of_the_manifest_start_a_member_whose_probes_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    std::fs::create_dir(&pki).unwrap();
    certificates(&pki);
    let [client, peer, metrics] = free_ports();
    let data = folder.path().join("data");
    let flags: Vec<String> = MANIFEST
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- --"))
        .map(|flag| {
            format!("--{flag}")
                .replace("https://127.0.0.1:2379,", "")
                .replace("NODE_IP:2379", &format!("127.0.0.1:{client}"))
                .replace("NODE_IP:2380", &format!("127.0.0.1:{peer}"))
                .replace("127.0.0.1:2381", &format!("127.0.0.1:{metrics}"))
                .replace("NODE_NAME", "node")
                .replace("/var/lib/etcd", data.to_str().unwrap())
                .replace("/etc/kubernetes/pki/etcd", pki.to_str().unwrap())
        })
        .collect();
    for flag in [
        "cert-file",
        "client-cert-auth",
        "peer-client-cert-auth",
        "listen-metrics-urls",
        "snapshot-count",
        "trusted-ca-file",
        "watch-progress-notify-interval",
    ] {
        assert!(flags.iter().any(|given| given.starts_with(&format!("--{flag}="))), "{flag}");
    }
    let log = folder.path().join("log");
    let mut member = Member(
        Command::new(env!("CARGO_BIN_EXE_oxetcd"))
            .arg("server")
            .args(&flags)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let told = || std::fs::read_to_string(&log).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    // The probes as the manifest has them: startup and readiness, then liveness.
    while !get(metrics, "/readyz").is_ok_and(|status| status == "HTTP/1.1 200 OK") {
        assert!(member.0.try_wait().unwrap().is_none(), "it ended: {}", told());
        assert!(Instant::now() < until, "it is not ready: {}", told());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(get(metrics, "/livez").unwrap(), "HTTP/1.1 200 OK");
    // A probe that came before there was a leader is told of, as by etcd, and is no fault.
    let log = told();
    let mut errors = log.lines().filter(|line| line.contains("\"level\":\"error\""));
    assert!(errors.all(|line| line.contains("\"msg\":\"Health check error\"")), "{log}");
    let pid = i32::try_from(member.0.id()).unwrap();
    // SAFETY: plain numbers; the child is not reaped yet, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    assert_eq!(member.0.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert!(told().contains("closed etcd server"), "{}", told());
}
