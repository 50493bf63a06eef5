//! Programs that commands run, and signals that end commands.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        process::ExitStatusExt,
    },
    process::{ExitStatus, Stdio},
};

use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use crate::gotext::quote::quote;

/// Why a program did not succeed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// It could not be started.
    Start(String),
    /// It ended with another status than 0.
    Status(ExitStatus),
}

impl Failed {
    /// The exit code to pass on.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Failed::Start(_) => 1,
            Failed::Status(status) => {
                // A signal has no code: like Go, -1, of which a shell sees the low bits.
                status.code().map_or(255, |code| code.to_le_bytes()[0])
            }
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Start(why) => f.write_str(why),
            Failed::Status(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exit status {code}"),
                (None, Some(number)) => write!(f, "signal: {}", signal_name(number)),
                (None, None) => write!(f, "{status}"),
            },
        }
    }
}

/// The name of a signal as the system's library has it.
fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        6 => "aborted",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Runs a program to its end, without input, with more environment.
pub(crate) async fn run(words: &[Vec<u8>], environment: &[(&str, OsString)]) -> Result<(), Failed> {
    let (program, arguments) = words.split_first().expect("callers pass a program");
    let program = OsStr::from_bytes(program);
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|word| OsStr::from_bytes(word))).stdin(Stdio::null());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    match command.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed::Status(status)),
        Err(error) => Err(Failed::Start(start_failure(program, &error))),
    }
}

/// Why a program could not be started, in Go's words.
pub(crate) fn start_failure(program: &OsStr, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound && !program.as_bytes().contains(&b'/') {
        let name = quote(program.as_bytes());
        return format!("exec: {name}: executable file not found in $PATH");
    }
    let text = error.to_string().to_lowercase();
    let text = text.split(" (os error").next().unwrap_or(&text);
    format!("fork/exec {}: {text}", program.to_string_lossy())
}

/// A value for an environment: bytes as they are.
pub(crate) fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

/// Completes when the process is asked to end (SIGINT, SIGTERM). Must be made before the wait
/// begins, so that no signal is lost.
pub(crate) struct Interrupt {
    receiver: tokio::sync::watch::Receiver<bool>,
}

impl Interrupt {
    /// Begins to catch the signals.
    pub(crate) fn catch() -> io::Result<Interrupt> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (sender, receiver) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            sender.send_replace(true);
            // The sender stays, or waiting would end in an error instead.
            sender.closed().await;
        });
        Ok(Interrupt { receiver })
    }

    /// Waits for a signal; returns at once when one came.
    pub(crate) async fn wait(&self) {
        let mut receiver = self.receiver.clone();
        // An error means that the runtime is going down.
        let _ = receiver.wait_for(|came| *came).await;
    }
}
