//! A real etcd as the other member, when there is one on this machine.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The executable: `OXETCD_REFERENCE_ETCD`, or the one under `~/.cache/etcd-peers`. Without one
/// the test that asks ends early, and says so.
pub fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("OXETCD_REFERENCE_ETCD").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let found = named.unwrap_or_else(|| home.join(".cache/etcd-peers/3.5/bin/etcd"));
    if found.is_file() {
        return Some(found);
    }
    eprintln!("skipped: no etcd at {}", found.display());
    None
}

/// An address that was free a moment ago.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A running etcd; killed when dropped.
pub struct Etcd {
    process: Child,
    folder: tempfile::TempDir,
    pub client: SocketAddr,
    pub peer: SocketAddr,
}

impl Etcd {
    /// Starts `binary` as member `real` of the cluster that `others` (name, peer URL) complete.
    pub fn start(binary: &Path, others: &[(&str, String)], flags: &[&str]) -> Etcd {
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = (free_address(), free_address());
        let mut cluster = format!("real=http://{peer}");
        for (name, url) in others {
            cluster.push_str(&format!(",{name}={url}"));
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(binary)
            .args(["--name", "real", "--log-level", "debug", "--initial-cluster", &cluster])
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Etcd { process, folder, client, peer }
    }

    /// Calls the JSON gateway of the client API until it answers with success.
    pub async fn call(&self, path: &str, json: &str) -> serde_json::Value {
        let length = json.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
        );
        let mut last = None;
        for _ in 0..300 {
            last = ask(self.client, request.as_bytes()).await;
            if let Some(answer) = last.as_ref().filter(|answer| answer.status == 200) {
                return serde_json::from_str(&answer.body).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} failed: {last:?}");
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("etcd logged last:\n{}", tail.join("\n"));
        }
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// An answer, its header names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Sends a request as it is on a connection of its own, and reads the answer: a body of a length,
/// or in chunks until it ends or breaks off. `None` when there is no answer.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut bytes = Vec::new();
    loop {
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read_buf(&mut bytes)).await;
        let ended = !matches!(read, Ok(Ok(1..)));
        if let Some(answer) = parse(&bytes, ended) {
            return Some(answer);
        }
        if ended {
            return None;
        }
    }
}

fn parse(bytes: &[u8], ended: bool) -> Option<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let split = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let headers = lines.map(split).collect();
    let mut answer = Answer { status, headers, body: String::new() };
    if answer.header("transfer-encoding") == Some("chunked") {
        let mut rest = body;
        while let Some((size, data)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).ok()?;
            let Some(data) = data.split_at_checked(size) else { break };
            if size == 0 {
                return Some(answer);
            }
            answer.body.push_str(data.0);
            rest = data.1.strip_prefix("\r\n").unwrap_or_default();
        }
        return ended.then_some(answer);
    }
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    answer.body = body.to_owned();
    (body.len() >= length).then_some(answer)
}
