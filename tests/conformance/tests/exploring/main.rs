//! What etcdctl has beyond etcd's: the shell and its verbs, decoded values, history and diff,
//! against a keyspace that looks like a Kubernetes cluster's.
//!
//! `docs/shell.md` has a recorded session, `transcripts/exploring.txt` single commands; both are
//! what the tool prints: `UPDATE=1 cargo test -p conformance --test exploring` writes them anew.
//! With `OXETCD_BIN` the server may be a real etcd; the tool is always ours.

mod objects;

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use conformance::member::Member;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The executable of this build.
fn oxetcd() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("tests are in a folder of the build")?;
    let path = folder.join("oxetcd");
    ensure!(path.is_file(), "no {}: cargo build -p oxetcd", path.display());
    Ok(path)
}

/// Runs etcdctl with these words and this input.
fn etcdctl(member: &Member, words: &[&str], input: &[u8]) -> Result<Output> {
    let mut command = Command::new(oxetcd()?);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCDCTL_") {
            command.env_remove(name);
        }
    }
    command.args(["ctl", "--endpoints", &member.client_url()]).args(words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start etcdctl")?;
    // A tool that needs no input may have ended.
    let _ = child.stdin.take().context("stdin")?.write_all(input);
    // A command that waits for what never comes fails the test, not the machine.
    let id = child.id().to_string();
    let (done, wait) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if wait.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").arg(&id).status();
        }
    });
    let output = child.wait_with_output();
    drop(done);
    watchdog.join().expect("the watchdog does not panic");
    Ok(output?)
}

/// What a command printed, errors and exit code included.
fn printed(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    // The client's log has times in it.
    text.extend(errors.lines().filter(|line| !line.starts_with('{')).map(|l| format!("{l}\n")));
    match output.status.code() {
        Some(0) => {}
        code => text += &format!("exit {}\n", code.unwrap_or(-1)),
    }
    text
}

async fn cluster() -> Result<Member> {
    let member = Member::under_test(&[]).await;
    for (key, value) in objects::puts() {
        let output = etcdctl(&member, &["put", &key], &value)?;
        ensure!(output.status.success(), "put {key}: {}", printed(&output));
    }
    Ok(member)
}

fn below_repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Compares a file's recording with what was printed, or writes it.
fn judge(path: PathBuf, recorded: &str, printed: &str, whole: &str) -> Result<()> {
    if std::env::var_os("UPDATE").is_some() {
        return Ok(std::fs::write(path, whole.replacen(recorded, printed, 1))?);
    }
    assert_eq!(recorded, printed, "{}", path.display());
    Ok(())
}

#[tokio::test]
async fn the_session_of_the_documentation() -> Result<()> {
    let member = cluster().await?;
    let path = below_repository("docs/shell.md");
    let text = std::fs::read_to_string(&path).context("read docs/shell.md")?;
    let (_, rest) = text.split_once("```console\n").context("a recording")?;
    let (recorded, _) = rest.split_once("```").context("the recording's end")?;
    let lines = recorded.lines().filter_map(|line| {
        line.starts_with("etcd ").then(|| line.split_once("> ").map(|(_, typed)| typed))?
    });
    let lines: Vec<_> = lines.collect();
    ensure!(lines.len() > 10, "the recording has no lines that begin with a prompt");
    let output = etcdctl(&member, &["shell", "--echo"], lines.join("\n").as_bytes())?;
    judge(path, recorded, &printed(&output), &text)
}

#[tokio::test]
async fn commands_print_what_was_recorded() -> Result<()> {
    let member = cluster().await?;
    let path = below_repository("tests/conformance/transcripts/exploring.txt");
    let recorded = std::fs::read_to_string(&path).context("read the transcript")?;
    let mut found = String::new();
    for line in recorded.lines().filter(|line| line.starts_with("$ ")) {
        let words = words(&line[2..]);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let output = etcdctl(&member, &words, b"")?;
        found += &format!("{line}\n{}", printed(&output));
    }
    ensure!(!found.is_empty(), "a transcript has commands");
    judge(path, &recorded, &found, &recorded)
}

/// Words between blanks, or in single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        match at % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

#[tokio::test]
async fn the_shell_of_a_user_with_few_rights() -> Result<()> {
    let member = cluster().await?;
    for line in [
        "user add root:r --interactive=false",
        "user add dev:d --interactive=false",
        "role add pods",
        "role grant-permission pods --prefix readwrite /registry/pods/",
        "user grant-role dev pods",
        "auth enable",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let output = etcdctl(&member, &words, b"")?;
        ensure!(output.status.success(), "{line}: {}", printed(&output));
    }
    let shell = |user: &str, start: &str, lines: &str| -> Result<String> {
        let output = etcdctl(&member, &["--user", user, "shell", start, "-c", lines], b"")?;
        Ok(printed(&output))
    };
    let allowed = shell("dev:d", "/registry/pods", "ls shop; rev; etcdctl get /registry/pods/x")?;
    assert_eq!(allowed, "cart-8xk2p\nweb-2kfzl\nweb-9jq4t\nnow, revision 25\n");
    let denied = "Error: etcdserver: permission denied\nexit 1\n";
    assert_eq!(shell("dev:d", "/registry/pods", "ls ../secrets")?, denied);
    assert_eq!(shell("dev:d", "/registry/pods", "mv shop/web-2kfzl /x")?, denied);
    assert_eq!(shell("dev:d", "/registry/pods", "rm -f shop/web-2kfzl")?, "1 key deleted\n");
    // A shell that may not see where keys begin still opens.
    let output = etcdctl(&member, &["--user", "dev:d", "shell", "-c", "pwd"], b"")?;
    assert_eq!(printed(&output), "(all keys)\n");
    Ok(())
}
