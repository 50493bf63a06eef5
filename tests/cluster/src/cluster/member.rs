//! One member: its flags, directory and process.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    binary::{Binary, Kind},
    disk::Disk,
    network::Network,
    process::{Process, Program, ended_in_order},
    volatile::{Lost, Volatile},
};

/// Why a new member ends that comes when nobody of the cluster runs, as etcd does: it is to be started
/// again.
const NOBODY_TO_ASK: &str = "cannot fetch cluster info from peer urls";

/// Why a member ends whose removal took effect.
const REMOVED: &str = "the member has been permanently removed from the cluster";

/// A slot with what runs in it.
pub struct Member {
    slot: usize,
    /// Counts members that the slot has had: each has a name and a directory of its own.
    generation: u32,
    binary: Binary,
    client: String,
    peer: String,
    directory: PathBuf,
    token: String,
    flags: Vec<String>,
    /// `--initial-cluster` and `--initial-cluster-state`; `None`: not part of the cluster.
    joined: Option<(String, String)>,
    /// For what the next process needs beside that, such as `--force-new-cluster`.
    pub once: Vec<String>,
    process: Option<Process>,
    paused: bool,
    namespace: Option<std::sync::Arc<crate::network::Namespace>>,
    /// Where its data is, instead of `directory`. Dropped after the process.
    disk: Option<Disk>,
    /// Another kind of disk. Dropped after the process, too.
    volatile: Option<Volatile>,
    frozen: bool,
    /// Whether its disk is full or fails now.
    faulty: bool,
    /// Whether it was while the process ran: then the process may end.
    ailing: bool,
    /// How often it did.
    pub ended_for_disk: usize,
    /// How much of the log was looked through for crashes.
    judged: usize,
    /// Its removal was asked for; the answer may be lost.
    pub(super) leaving: bool,
}

impl Member {
    pub(super) fn new(
        slot: usize,
        binary: Binary,
        (network, scheme): (&Network, &str),
        directory: &Path,
        token: &str,
        flags: &[String],
    ) -> Member {
        Member {
            slot,
            generation: 0,
            binary,
            client: format!("{scheme}://{}", network.client_endpoint(slot)),
            peer: format!("{scheme}://{}", network.peer_endpoint(slot)),
            directory: directory.to_owned(),
            token: token.to_owned(),
            flags: flags.to_vec(),
            joined: None,
            once: Vec::new(),
            process: None,
            paused: false,
            namespace: network.namespace(slot),
            disk: None,
            volatile: None,
            frozen: false,
            faulty: false,
            ailing: false,
            ended_for_disk: 0,
            judged: 0,
            leaving: false,
        }
    }

    /// Its name: slot and generation.
    pub fn name(&self) -> String {
        format!("m{}-{}", self.slot + 1, self.generation)
    }

    /// The address for peers.
    pub fn peer_url(&self) -> &str {
        &self.peer
    }

    /// The address for clients.
    pub fn client_url(&self) -> &str {
        &self.client
    }

    /// What it runs.
    pub fn binary(&self) -> &Binary {
        &self.binary
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        let volatile = self.volatile.as_ref().map(Volatile::path);
        let disk = self.disk.as_ref().map(Disk::path).or(volatile);
        let directory = disk.unwrap_or_else(|| self.directory.clone());
        directory.join(format!("{}.etcd", self.name()))
    }

    /// Keeps its data on this disk.
    pub(super) fn put_on(&mut self, disk: Option<Disk>) {
        self.disk = disk;
    }

    /// Keeps its data on this disk.
    pub(super) fn put_on_volatile(&mut self, disk: Option<Volatile>) {
        self.volatile = disk;
    }

    fn volatile(&mut self) -> Result<&mut Volatile> {
        self.volatile.as_mut().context("the member has no disk that loses anything")
    }

    /// Its machine loses power: the process ends, and what was not synced goes, or some of it.
    pub fn lose_power(&mut self) -> Result<Lost> {
        self.kill();
        Ok(self.volatile()?.lose_power())
    }

    /// Its disk is full, or every sync of it fails. The process may end for that.
    pub fn break_disk(&mut self, full: bool) -> Result<()> {
        let disk = self.volatile()?;
        disk.fill(full);
        disk.fail(!full);
        (self.faulty, self.ailing) = (true, true);
        Ok(())
    }

    /// So long takes every sync.
    pub fn slow_disk(&mut self, each: std::time::Duration) -> Result<()> {
        self.volatile()?.slow(each);
        Ok(())
    }

    /// Ends faults of its disk.
    pub fn heal_disk(&mut self) {
        if let Some(disk) = &self.volatile {
            disk.fill(false);
            disk.fail(false);
            disk.slow(std::time::Duration::ZERO);
        }
        self.faulty = false;
    }

    /// Where its output goes.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join(format!("m{}.log", self.slot + 1))
    }

    /// `name=peer-url`.
    pub fn initial_entry(&self) -> String {
        format!("{}={}", self.name(), self.peer)
    }

    /// Makes it part of the cluster, with the value of `--initial-cluster`.
    pub fn join_as(&mut self, initial_cluster: &str, state: &str) {
        self.joined = Some((initial_cluster.to_owned(), state.to_owned()));
    }

    /// A new member in this slot: no data, another name, not part of the cluster yet.
    pub fn replace(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs while it is replaced", self.name());
        let data = self.data_dir();
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        self.generation += 1;
        self.joined = None;
        self.leaving = false;
        Ok(())
    }

    /// Whether it is part of the cluster.
    pub fn is_configured(&self) -> bool {
        self.joined.is_some()
    }

    /// Whether its process was started and neither ended on request nor stands still.
    pub fn is_running(&self) -> bool {
        self.process.is_some() && !self.paused && !self.frozen
    }

    /// Whether it is stopped in the middle of whatever it did.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// The process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The processor time that its process has used; none while there is no process.
    pub fn cpu_time(&self) -> Result<std::time::Duration> {
        self.process.as_ref().map_or(Ok(std::time::Duration::ZERO), Process::cpu_time)
    }

    /// The flags, as a unit file of systemd has them.
    pub fn arguments(&self) -> Result<Vec<String>> {
        let (cluster, state) = self.joined.as_ref().context("no part of the cluster")?;
        let mut arguments: Vec<String> =
            self.binary.leading_arguments().iter().map(ToString::to_string).collect();
        arguments.extend([
            format!("--name={}", self.name()),
            format!("--data-dir={}", self.data_dir().display()),
            format!("--listen-peer-urls={}", self.peer),
            format!("--initial-advertise-peer-urls={}", self.peer),
            format!("--listen-client-urls={}", self.client),
            format!("--advertise-client-urls={}", self.client),
            format!("--initial-cluster-token={}", self.token),
            format!("--initial-cluster={cluster}"),
            format!("--initial-cluster-state={state}"),
        ]);
        arguments.extend_from_slice(&self.flags);
        Ok(arguments)
    }

    /// Starts the process; does not wait until it serves.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "{} runs already", self.name());
        let mut arguments = self.arguments()?;
        arguments.append(&mut self.once);
        let program = Program {
            path: self.binary.path().to_owned(),
            arguments,
            log: self.log_path(),
            namespace: self.namespace.clone(),
        };
        self.process = Some(Process::start(program)?);
        self.ailing = self.faulty;
        self.paused = false;
        Ok(())
    }

    /// Lets its disk hang: every write and sync waits.
    pub fn freeze_disk(&mut self) -> Result<()> {
        self.disk.as_ref().context("the member has no disk of its own")?.freeze()?;
        self.frozen = true;
        Ok(())
    }

    /// Lets its disk go on.
    pub fn thaw_disk(&mut self) -> Result<()> {
        self.frozen = false;
        self.disk.as_ref().context("the member has no disk of its own")?.thaw()
    }

    /// Whether its disk hangs.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        if self.frozen {
            // A process that waits for a frozen disk cannot end.
            let _ = self.thaw_disk();
        }
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
        self.paused = false;
    }

    /// Asks the process to end and waits.
    pub async fn terminate(&mut self) -> Result<()> {
        let name = self.name();
        let mut process = self.process.take().context("terminate what does not run")?;
        let status = process.terminate().await?;
        ensure!(ended_in_order(status), "{name} after SIGTERM: {status}\n{}", self.log_tail(20));
        Ok(())
    }

    /// Waits until the process ends by itself; answers its exit code.
    pub async fn wait_end(&mut self, limit: std::time::Duration) -> Result<Option<i32>> {
        let process = self.process.as_mut().context("wait for what does not run")?;
        let status = process.wait(limit).await?;
        self.process = None;
        Ok(status.code())
    }

    /// Stops it in the middle of whatever it does.
    pub fn pause(&mut self) -> Result<()> {
        self.process.as_ref().context("pause what does not run")?.pause()?;
        self.paused = true;
        Ok(())
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        self.process.as_ref().context("resume what does not run")?.resume()?;
        self.paused = false;
        Ok(())
    }

    /// An error when the process ended by itself.
    pub fn ensure_alive(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if let Some(status) = process.status()? {
            let name = self.name();
            bail!("{name} ended by itself: {status}\n{}", self.log_tail(20));
        }
        Ok(())
    }

    /// A crash since the last look: a panic in the log, or an end nobody asked for. A process that
    /// ended is forgotten, so that it can be started again.
    pub(super) fn crash(&mut self) -> Option<String> {
        let ended = self.ensure_alive().err().map(|error| format!("{error:#}"));
        if ended.is_some() {
            self.process = None;
        }
        let log = self.log();
        let fresh = log.get(self.judged..).unwrap_or_default();
        self.judged = log.len();
        let marks: &[&str] = match self.binary.kind() {
            Kind::Oxetcd => &["panicked at", "\"level\":\"panic\"", "\"level\":\"fatal\""],
            Kind::Etcd => &["\npanic: ", "\"level\":\"panic\"", "\"level\":\"fatal\""],
        };
        let mark = marks.iter().find_map(|mark| fresh.find(mark));
        if ended.is_some() && fresh.contains(NOBODY_TO_ASK) {
            return None;
        }
        if ended.is_some() && self.leaving && fresh.contains(REMOVED) {
            return None;
        }
        if self.ailing && (ended.is_some() || mark.is_some()) {
            // It says that it cannot write, and ends: what it is to do.
            self.ended_for_disk += usize::from(ended.is_some());
            return None;
        }
        let panic = mark.map(|at| {
            let from = fresh[..at].rfind('\n').map_or(0, |line| line + 1);
            let text: String = fresh[from..].lines().take(6).collect::<Vec<_>>().join("\n");
            format!("{}: {text}", self.name())
        });
        panic.or(ended)
    }

    /// Everything it wrote.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}
