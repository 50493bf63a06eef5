//! One child process: inside a namespace, with its log in a file, gone when its owner is.
//!
//! All children are started by one thread that lives as long as this process: Linux ends a child
//! that asked for it when the *thread* that started it ends. So even a test that is killed leaves
//! no process behind.

use std::{
    fs::OpenOptions,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::network::{Namespace, descriptor, enter_namespace};

/// How long a process may take to end after SIGTERM.
const EXIT_LIMIT: Duration = Duration::from_secs(30);

/// A running process.
pub struct Process {
    child: Child,
    /// How it ended, once it was waited for.
    ended: Option<ExitStatus>,
}

/// What to run.
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where its output goes, appended.
    pub log: PathBuf,
    /// Where it runs.
    pub(crate) namespace: Option<Arc<Namespace>>,
}

impl Process {
    /// Starts a program.
    pub fn start(program: Program) -> Result<Process> {
        let path = program.path.display().to_string();
        let child = spawner(program).with_context(|| format!("start {path}"))?;
        Ok(Process { child, ended: None })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that it has used.
    pub fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        // The name in parentheses may hold anything; user and system time are the 14th and 15th field.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let times = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = times.sum::<Result<_, _>>().with_context(|| format!("parse {path}"))?;
        // SAFETY: `sysconf` touches no memory.
        let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Ok(Duration::from_secs_f64(ticks as f64 / a_second.max(1) as f64))
    }

    /// How it ended; `None` while it runs.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("wait for a process")?;
        }
        Ok(self.ended)
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            // It may have ended by itself a moment ago: then there is nothing to kill.
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    /// Stops it in the middle of whatever it does.
    pub fn pause(&self) -> Result<()> {
        self.signal(libc::SIGSTOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(libc::SIGCONT)
    }

    /// Asks it to end and waits until it has.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        self.wait(EXIT_LIMIT).await
    }

    /// Waits until it has ended.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("process {} still runs after {limit:?}", self.pid())
    }

    fn signal(&self, signal: i32) -> Result<()> {
        ensure!(self.ended.is_none(), "signal {signal} to a process that ended");
        // SAFETY: `kill` touches no memory; the child was not waited for, so the id is its own.
        let sent = unsafe { libc::kill(self.pid() as libc::pid_t, signal) };
        ensure!(sent == 0, "send signal {signal}: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process that was asked to end did so in order. As etcd does, a server that closed
/// everything ends by the same signal.
pub fn ended_in_order(status: ExitStatus) -> bool {
    status.signal() == Some(libc::SIGTERM) || status.success()
}

type Order = (Program, mpsc::Sender<Result<Child>>);

/// Has the one thread start a program.
fn spawner(program: Program) -> Result<Child> {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (program, reply) in receiver {
                // Who asked may be gone: then the child is dropped here, and runs until we end.
                let _ = reply.send(spawn(program));
            }
        });
        Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    let orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    orders.send((program, reply)).context("the starting thread is gone")?;
    drop(orders);
    answer.recv().context("the starting thread is gone")?
}

fn spawn(program: Program) -> Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(&program.log)?;
    let mut command = Command::new(&program.path);
    command.args(&program.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // The environment configures etcd too (`ETCD_*`): members want only their own arguments.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD_") {
            command.env_remove(name);
        }
    }
    let namespace = program.namespace.clone();
    let before_exec = move || {
        // SAFETY: `prctl` with this option takes a number and touches no memory.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        match &namespace {
            Some(namespace) => enter_namespace(descriptor(namespace)),
            None => Ok(()),
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(before_exec) };
    Ok(command.spawn()?)
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process({}, {:?})", self.pid(), self.ended)
    }
}
