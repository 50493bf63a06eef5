//! A member as a child process on free loopback ports, with a data dir of its own.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::shell::{command, root};

/// A running member; ended and cleaned up when dropped.
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
    /// The client port on 127.0.0.1.
    pub(crate) port: u16,
    /// Whether clients speak TLS, and show certificates.
    tls: bool,
}

/// A file of certificates as kubeadm makes them.
fn testdata(name: &str) -> String {
    root().join("crates/tls/testdata").join(name).display().to_string()
}

impl Server {
    /// Starts `program` with `first` arguments before etcd's flags and waits until it serves.
    pub(crate) fn start(program: &Path, first: &[&str]) -> Result<Server> {
        Server::start_as(program, first, false)
    }

    /// The same with TLS on the client port: only clients with a certificate are served.
    pub(crate) fn start_with_tls(program: &Path, first: &[&str]) -> Result<Server> {
        Server::start_as(program, first, true)
    }

    /// Starts it with or without TLS.
    pub(crate) fn start_as(program: &Path, first: &[&str], tls: bool) -> Result<Server> {
        let (port, peer) = (free_port()?, free_port()?);
        let dir = root().join(format!("target/interop-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).context("create a folder for the member")?;
        let scheme = if tls { "https" } else { "http" };
        let client_url = format!("{scheme}://127.0.0.1:{port}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let log = File::create(dir.join("log")).context("create the log file")?;
        let mut member = command(program);
        member.args(first).arg("--data-dir").arg(dir.join("data"));
        member.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        member.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        member.args(["--initial-cluster", &format!("default={peer_url}")]);
        if tls {
            member.args(["--cert-file", &testdata("kubeadm-server.crt")]);
            member.args(["--key-file", &testdata("kubeadm-server.key")]);
            member.args(["--trusted-ca-file", &testdata("bundle.crt"), "--client-cert-auth"]);
        }
        member.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = member.spawn().with_context(|| format!("start {}", program.display()))?;
        let server = Server { child, dir, port, tls };
        server.wait_ready()?;
        Ok(server)
    }

    /// A folder that goes with the member.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.clone()
    }

    /// The client endpoint.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// What etcdctl needs to be let in.
    pub(crate) fn etcdctl_flags(&self) -> Vec<String> {
        self.file_flags(["--cacert", "--cert", "--key"])
    }

    /// The same with the names that flags have for the v2 store.
    pub(crate) fn v2_flags(&self) -> Vec<String> {
        self.file_flags(["--ca-file", "--cert-file", "--key-file"])
    }

    fn file_flags(&self, [ca, cert, key]: [&str; 3]) -> Vec<String> {
        if !self.tls {
            return Vec::new();
        }
        let files = [(ca, "bundle.crt"), (cert, "kubeadm-client.crt"), (key, "kubeadm-client.key")];
        files.iter().flat_map(|(flag, name)| [flag.to_string(), testdata(name)]).collect()
    }

    fn wait_ready(&self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if log.contains("ready to serve client requests") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        bail!("the member did not become ready; its log:\n{log}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        let _cleaned = fs::remove_dir_all(&self.dir);
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("bind a free port")?;
    Ok(listener.local_addr().context("read the port")?.port())
}
