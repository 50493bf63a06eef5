//! Servers that this process starts: on ports and in folders of their own, ended by their id.
//!
//! Invariant: a server never outlives its [`Server`] value, nor this process: dropping kills it, and
//! the kernel kills it should this process die without dropping.

use crate::{
    args::compare::HostArgs,
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
        target::{Endpoint, Target},
    },
};
use anyhow::{Context as _, Result, bail, ensure};
use api::etcdserverpb::RangeRequest;
use bytes::{Bytes, BytesMut};
use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// How long a server may take to answer its first read.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a server may take to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two attempts to read.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(5);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Lines of a server's log that an error shows.
const LOG_TAIL_LINES: usize = 20;

/// A binary to start.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Its name in reports.
    pub(crate) name: String,
    /// The binary.
    pub(crate) path: PathBuf,
    /// Flags besides those every server is given.
    pub(crate) args: Vec<String>,
}

impl Program {
    /// The binary at `path`, which must exist.
    pub(crate) fn new(name: &str, path: &Path, host: &HostArgs) -> Result<Self> {
        let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
        Ok(Self { name: name.to_owned(), path, args: host.server_args.clone() })
    }
}

impl Program {
    /// The same with room for stores beyond the default quota.
    pub(crate) fn with_room(&self) -> Self {
        let mut args = vec!["--quota-backend-bytes=8589934592".to_owned()];
        args.extend(self.args.iter().cloned());
        Self { args, ..self.clone() }
    }

    /// The first line of what it says its version is.
    pub(crate) fn version(&self) -> String {
        let said = Command::new(&self.path).arg0("etcd").arg("--version").output();
        let said = said.map(|output| output.stdout).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        said.lines().next().unwrap_or("unknown").to_owned()
    }
}

/// A folder for one server's data and log, removed in the end.
#[derive(Debug)]
pub(crate) struct Home(TempDir);

impl Home {
    /// A new folder under `host.dir`.
    pub(crate) fn create(host: &HostArgs) -> Result<Self> {
        ensure!(
            host.allow_tmpfs || !is_in_memory(&host.dir)?,
            "{} lies in memory: syncs would cost nothing; give --dir, or --allow-tmpfs",
            host.dir.display()
        );
        let dir = tempfile::Builder::new()
            .prefix("oxetcd-bench-")
            .tempdir_in(&host.dir)
            .with_context(|| format!("create a folder in {}", host.dir.display()))?;
        Ok(Self(dir))
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// Has the kernel drop what it caches of the data folder's files.
    pub(crate) fn drop_cached(&self) -> Result<()> {
        fn walk(dir: &Path) -> std::io::Result<()> {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                if entry.metadata()?.is_dir() {
                    walk(&entry.path())?;
                    continue;
                }
                let file = File::open(entry.path())?;
                // What is not written back cannot be dropped.
                file.sync_all()?;
                rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
            }
            Ok(())
        }
        walk(&self.data()).context("drop cached files")
    }

    /// Bytes of all files of the data folder.
    pub(crate) fn data_bytes(&self) -> Result<u64> {
        fn walk(dir: &Path) -> std::io::Result<u64> {
            use std::os::unix::fs::MetadataExt as _;
            let mut bytes = 0;
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                bytes +=
                    if metadata.is_dir() { walk(&entry.path())? } else { metadata.blocks() * 512 };
            }
            Ok(bytes)
        }
        walk(&self.data()).context("measure the data folder")
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

fn is_in_memory(dir: &Path) -> Result<bool> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    let fs = rustix::fs::statfs(dir).with_context(|| format!("stat {}", dir.display()))?;
    Ok([TMPFS_MAGIC, RAMFS_MAGIC].contains(&(fs.f_type as i64)))
}

/// The client and peer ports of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    client: u16,
    peer: u16,
}

impl Ports {
    /// Two ports that are free now.
    pub(crate) fn free() -> Result<Self> {
        let listen = || TcpListener::bind(("127.0.0.1", 0)).context("find a free port");
        let (client, peer) = (listen()?, listen()?);
        Ok(Self { client: client.local_addr()?.port(), peer: peer.local_addr()?.port() })
    }
}

/// The flags of the `index`-th of the members at `ports`.
fn flags(data: &Path, ports: &[Ports], index: usize) -> Vec<String> {
    let peer_of = |ports: &Ports| format!("http://127.0.0.1:{}", ports.peer);
    let members = ports.iter().enumerate();
    let members = members.map(|(at, ports)| format!("bench{at}={}", peer_of(ports)));
    let members = members.collect::<Vec<_>>().join(",");
    let client = format!("http://127.0.0.1:{}", ports[index].client);
    let peer = peer_of(&ports[index]);
    vec![
        format!("--name=bench{index}"),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={members}"),
        "--log-level=warn".into(),
    ]
}

/// A server that runs.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    endpoint: Endpoint,
    started: Instant,
}

impl Server {
    /// Starts `program` in `home`; [`Server::ready`] says when it serves.
    pub(crate) fn start(program: &Program, home: &Home, ports: Ports) -> Result<Self> {
        Self::start_member(program, home, &[ports], 0)
    }

    /// Starts the `index`-th member of a cluster at `ports`.
    pub(crate) fn start_member(
        program: &Program,
        home: &Home,
        ports: &[Ports],
        index: usize,
    ) -> Result<Self> {
        let log = File::options().create(true).append(true).open(home.log()).context("open log")?;
        let mut command = Command::new(&program.path);
        command
            .arg0("etcd")
            .args(flags(&home.data(), ports, index))
            .args(&program.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share log")?)
            .stderr(log);
        // Settings of our own environment are not the server's.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"ETCD_") {
                command.env_remove(name);
            }
        }
        // SAFETY: between fork and exec the closure makes one system call and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                let kill = Some(rustix::process::Signal::KILL);
                Ok(rustix::process::set_parent_process_death_signal(kill)?)
            });
        }
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("start {}", program.path.display()))?;
        let port = ports[index].client;
        let (host, authority) = ("127.0.0.1".to_owned(), format!("127.0.0.1:{port}"));
        Ok(Self { child, endpoint: Endpoint { authority, host, port, tls: false }, started })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its client endpoint.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the answer to a linearizable read; returns the time since the start.
    pub(crate) async fn ready(&mut self, home: &Home) -> Result<Duration> {
        loop {
            if let Ok(Ok(())) = timeout(ATTEMPT_TIMEOUT, read_once(&self.endpoint)).await {
                return Ok(self.started.elapsed());
            }
            if let Some(status) = self.child.try_wait().context("wait for the server")? {
                bail!("the server ended with {status}:\n{}", home.log_tail());
            }
            if self.started.elapsed() > START_TIMEOUT {
                bail!("no answer within {START_TIMEOUT:?}:\n{}", home.log_tail());
            }
            sleep(ATTEMPT_INTERVAL).await;
        }
    }

    /// Ends the server as an operator would: SIGTERM, then patience.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a child has a positive id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).context("stop")?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_TIMEOUT {
            if self.child.try_wait().context("wait for the server")?.is_some() {
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        bail!("the server did not end within {STOP_TIMEOUT:?} of SIGTERM; it was killed")
    }

    /// Ends the server without a chance to write anything more.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the server")?;
        self.child.wait().context("wait for the killed server")?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process has already ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One linearizable read of a key that need not exist.
async fn read_once(endpoint: &Endpoint) -> Result<()> {
    let mut channel = Channel::connect(&Target::plain(endpoint.clone())).await?;
    let key = Bytes::from_static(b"oxetcd-bench/ready");
    let mut message = BytesMut::new();
    frame::encode(&RangeRequest { key, ..RangeRequest::default() }, &mut message);
    channel.unary(Method::Range, message.freeze(), Keep::Nothing).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_every_address_once() {
        let flags = flags(Path::new("/d"), &[Ports { client: 1001, peer: 1002 }], 0);
        assert!(flags.contains(&"--data-dir=/d".to_owned()));
        assert!(flags.contains(&"--advertise-client-urls=http://127.0.0.1:1001".to_owned()));
        assert!(flags.contains(&"--initial-cluster=bench0=http://127.0.0.1:1002".to_owned()));
    }

    #[test]
    fn free_ports_differ() {
        let ports = Ports::free().expect("loopback");
        assert_ne!(ports.client, ports.peer);
    }

    #[test]
    fn the_proc_file_system_is_not_in_memory_and_missing_folders_are_errors() {
        assert!(!is_in_memory(Path::new("/proc")).expect("stat"));
        assert!(is_in_memory(Path::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_server_that_ends_is_reported_with_its_log() {
        let host = HostArgs { dir: std::env::temp_dir(), allow_tmpfs: true, server_args: vec![] };
        let program = Program::new("false", Path::new("/bin/false"), &host).expect("exists");
        let home = Home::create(&host).expect("folder");
        let error = crate::runtime::block_on(async {
            let ports = Ports::free().expect("loopback");
            let mut server = Server::start(&program, &home, ports).expect("starts");
            server.ready(&home).await.expect_err("it ended")
        })
        .expect("runtime");
        assert!(error.to_string().contains("ended with exit status: 1"), "{error}");
    }
}
