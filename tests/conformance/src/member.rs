//! One server process: started on free loopback ports in a fresh directory, watched, killed.
//!
//! A member stays on its ports and its data directory over restarts. Whatever it writes to stderr
//! is kept in a file; text of a crash in that file fails the test that owns the member.

mod binary;
mod crash;

use std::{
    fs::OpenOptions,
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

pub use self::binary::{Binary, Kind};
use crate::client::Client;

/// How long a server may take until it answers; a debug build on a busy machine is slow.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long a server may take to end after SIGTERM.
const EXIT_LIMIT: Duration = Duration::from_secs(20);
/// Pause between two looks at a process that is starting or ending.
const POLL: Duration = Duration::from_millis(10);

/// A running (or stopped) server process with its directory and ports.
pub struct Member {
    binary: Binary,
    extra: Vec<String>,
    directory: TempDir,
    ports: Ports,
    child: Option<Child>,
    /// Set once the log no longer matters: its crash text was reported already.
    log_judged: bool,
}

/// The two ports of a member.
#[derive(Clone, Copy)]
struct Ports {
    client: u16,
    peer: u16,
}

impl Member {
    /// Starts the binary under test with these further arguments and waits until it serves.
    ///
    /// Panics with the reason when it cannot: a test has nothing to say without its server.
    pub async fn under_test(extra: &[&str]) -> Member {
        let started = match Binary::under_test() {
            Ok(binary) => Member::start(&binary, extra).await,
            Err(error) => Err(error),
        };
        started.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts `binary` with these further arguments and waits until it serves.
    pub async fn start(binary: &Binary, extra: &[&str]) -> Result<Member> {
        let mut attempts = 0;
        loop {
            let mut member = Member {
                binary: binary.clone(),
                extra: extra.iter().map(ToString::to_string).collect(),
                directory: TempDir::with_prefix("conformance-").context("create a directory")?,
                ports: Ports::free()?,
                child: None,
                log_judged: false,
            };
            attempts += 1;
            let Err(error) = member.spawn().await else { return Ok(member) };
            // A port that was free a moment ago can be taken by now: try again with others.
            member.log_judged = true;
            if attempts == 3 || !member.log().contains("address already in use") {
                return Err(error);
            }
        }
    }

    /// Starts the process again on the same directory and ports, and waits until it serves.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "restart of a member that still runs");
        self.spawn().await
    }

    /// Ends the process at once with SIGKILL, as a crash of the machine's software would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child that was not waited for can be killed");
            child.wait().expect("a killed child can be waited for");
        }
    }

    /// Asks the process to end with SIGTERM and waits for it. As etcd does, a server that closed
    /// everything in order ends by that same signal.
    pub async fn terminate(&mut self) -> Result<()> {
        let pid = self.pid()?;
        // SAFETY: `kill` touches no memory; the child was not waited for, so the id is its own.
        let sent = unsafe { libc::kill(pid as libc::pid_t, libc::SIGTERM) };
        ensure!(sent == 0, "send SIGTERM: {}", std::io::Error::last_os_error());
        let deadline = Instant::now() + EXIT_LIMIT;
        while Instant::now() < deadline {
            let child = self.child.as_mut().context("the member is not running")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                let in_order = status.signal() == Some(libc::SIGTERM);
                ensure!(in_order, "after SIGTERM: {status}\n{}", self.log_tail());
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("still running {EXIT_LIMIT:?} after SIGTERM\n{}", self.log_tail())
    }

    /// A new connection to this member.
    pub async fn client(&self) -> Client {
        Client::connect(&self.client_url()).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The address for clients, as in `--listen-client-urls`.
    pub fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.client)
    }

    /// Where it keeps its data, as in `--data-dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What this member runs.
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// The process id; an error when it is not running.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the member is not running")?.id())
    }

    /// Private memory of the process in bytes: without mapped files and caches.
    pub fn anonymous_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no RssAnon")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// Whether the process runs; collects its status when it ended by itself.
    pub fn is_running(&mut self) -> Result<bool> {
        let Some(child) = self.child.as_mut() else { return Ok(false) };
        if child.try_wait()?.is_some() {
            self.child = None;
        }
        Ok(self.child.is_some())
    }

    /// Everything the member wrote to stderr so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Panics when the log holds text of a crash.
    pub fn assert_sound(&mut self) {
        if let Some(crash) = self.take_crash() {
            panic!("{crash}");
        }
    }

    /// The text of a crash in the log, if there is one; it is then no longer held against the test
    /// that owns the member.
    pub fn take_crash(&mut self) -> Option<String> {
        let log = self.log();
        let crash = crash::find(&log)?;
        self.log_judged = true;
        Some(format!("{} crashed:\n{crash}", self.binary.path().display()))
    }

    async fn spawn(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(self.binary.path());
        command.args(self.binary.leading_arguments()).args(self.own_arguments()).args(&self.extra);
        // The environment configures etcd too (`ETCD_*`): a test wants only its own arguments.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD_") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child =
            command.spawn().with_context(|| format!("start {}", self.binary.path().display()))?;
        self.child = Some(child);
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        while Instant::now() < deadline {
            let child = self.child.as_mut().expect("spawned by the caller");
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("the server ended at start with {status}\n{}", self.log_tail());
            }
            if let Ok(mut client) = Client::connect(&self.client_url()).await {
                match client.status().await {
                    Ok(status) if status.leader != 0 => return Ok(()),
                    // Authentication is on: the member has a leader, or it could not tell us so.
                    Err(refused) if refused.message().ends_with("user name is empty") => {
                        return Ok(());
                    }
                    _ => {}
                }
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("not ready within {READY_LIMIT:?}\n{}", self.log_tail())
    }

    fn own_arguments(&self) -> Vec<String> {
        let client = self.client_url();
        let peer = format!("http://127.0.0.1:{}", self.ports.peer);
        vec![
            format!("--data-dir={}", self.data_dir().display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=default={peer}"),
        ]
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.contains("\"level\":\"info\"")).collect();
        let tail = &lines[lines.len().saturating_sub(20)..];
        format!("last lines of {}:\n{}", self.binary.path().display(), tail.join("\n"))
    }
}

impl Ports {
    /// Two ports that nobody listens on at this moment.
    fn free() -> Result<Ports> {
        let client = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
        let peer = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
        Ok(Ports { client: client.local_addr()?.port(), peer: peer.local_addr()?.port() })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        } else if !self.log_judged {
            self.assert_sound();
        }
    }
}
