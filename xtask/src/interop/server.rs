//! A member as a child process on free loopback ports, with a data dir of its own.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
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

/// What a member says when it serves.
const READY: &str = "ready to serve client requests";

/// The ports of a member.
#[derive(Clone, Copy)]
struct Place {
    port: u16,
    peer: u16,
}

/// The folder of the process on this port.
fn folder(port: u16) -> PathBuf {
    root().join(format!("target/interop-{}-{port}", std::process::id()))
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
        let place = Place { port: free_port()?, peer: free_port()? };
        let server = Server::spawn(program, first, tls, &[place], 0)?;
        server.wait_ready(READY)?;
        Ok(server)
    }

    /// Starts a cluster of three members.
    pub(crate) fn start_three(program: &Path, first: &[&str]) -> Result<Vec<Server>> {
        let place = || Ok(Place { port: free_port()?, peer: free_port()? });
        let places: Vec<Place> = (0..3).map(|_| place()).collect::<Result<_>>()?;
        let start = |at| Server::spawn(program, first, false, &places, at);
        let members: Vec<Server> = (0..3).map(start).collect::<Result<_>>()?;
        for member in &members {
            member.wait_ready(READY)?;
        }
        Ok(members)
    }

    /// Starts a proxy in front of this member: `grpc-proxy` of `program`.
    pub(crate) fn proxied(&self, program: &Path, first: &[&str]) -> Result<Server> {
        let port = free_port()?;
        let address = format!("127.0.0.1:{port}");
        let mut proxy = command(program);
        proxy.args(first).args(["grpc-proxy", "start", "--endpoints", &self.endpoint()]);
        // Without an address to advertise, members are told as they are.
        proxy.args(["--listen-addr", &address, "--advertise-client-url="]);
        let proxy = Server::run(proxy, program, port, false)?;
        proxy.wait_ready("started gRPC proxy")?;
        Ok(proxy)
    }

    fn spawn(
        program: &Path,
        first: &[&str],
        tls: bool,
        places: &[Place],
        at: usize,
    ) -> Result<Server> {
        let Place { port, peer } = places[at];
        let scheme = if tls { "https" } else { "http" };
        let client_url = format!("{scheme}://127.0.0.1:{port}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let name = |at: usize| match at {
            0 => "default".to_owned(),
            at => format!("member{at}"),
        };
        let cluster: Vec<String> = places
            .iter()
            .enumerate()
            .map(|(at, place)| format!("{}=http://127.0.0.1:{}", name(at), place.peer))
            .collect();
        let mut member = command(program);
        member.args(first).arg("--data-dir").arg(folder(port).join("data"));
        member.args(["--name", &name(at)]);
        member.args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
        member.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
        member.args(["--initial-cluster", &cluster.join(",")]);
        if tls {
            member.args(["--cert-file", &testdata("kubeadm-server.crt")]);
            member.args(["--key-file", &testdata("kubeadm-server.key")]);
            member.args(["--trusted-ca-file", &testdata("bundle.crt"), "--client-cert-auth"]);
        }
        Server::run(member, program, port, tls)
    }

    fn run(mut member: Command, program: &Path, port: u16, tls: bool) -> Result<Server> {
        let dir = folder(port);
        fs::create_dir_all(&dir).context("create a folder for the member")?;
        let log = File::create(dir.join("log")).context("create the log file")?;
        member.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = member.spawn().with_context(|| format!("start {}", program.display()))?;
        Ok(Server { child, dir, port, tls })
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

    fn wait_ready(&self, line: &str) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if log.contains(line) {
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
