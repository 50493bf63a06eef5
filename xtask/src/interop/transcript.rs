//! Runs the commands of `tests/conformance/transcripts/etcdctl.txt` through one etcdctl against two
//! servers and compares what a user sees.
//!
//! A line is a command; `stdin: TEXT` before it feeds its standard input (`\n` is a line end);
//! `only 3.5: COMMAND` is left out for other releases; `async: COMMAND` starts a command that is
//! read, together with its output so far, when `join` comes.

use std::{
    io::Write,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::server::Server;
use crate::shell::{command, root};

/// What a user sees of a command.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// Runs the transcript; the number of commands that were compared.
pub(crate) fn compare(etcdctl: &Path, ours: &Server, theirs: &Server) -> Result<usize> {
    let path = root().join("tests/conformance/transcripts/etcdctl.txt");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path:?}"))?;
    let old = etcdctl.components().any(|part| part.as_os_str() == "3.4");
    let mut stdin = String::new();
    let mut compared = 0;
    let mut waiting: Option<(String, Child, Child)> = None;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(input) = line.strip_prefix("stdin: ") {
            stdin = input.replace("\\n", "\n");
            continue;
        }
        let line = match line.strip_prefix("only 3.5: ") {
            Some(_) if old => continue,
            Some(rest) => rest,
            None => line,
        };
        if let Some(line) = line.strip_prefix("async: ") {
            let first = start(etcdctl, ours, line, "")?;
            let second = start(etcdctl, theirs, line, "")?;
            waiting = Some((line.to_owned(), first, second));
            std::thread::sleep(Duration::from_millis(700));
            continue;
        }
        let (what, first, second) = if line == "join" {
            let (line, first, second) = waiting.take().context("join without async")?;
            std::thread::sleep(Duration::from_millis(700));
            (line, interrupt(first)?, interrupt(second)?)
        } else {
            let first = start(etcdctl, ours, line, &stdin)?;
            let second = start(etcdctl, theirs, line, &stdin)?;
            (line.to_owned(), finish(first)?, finish(second)?)
        };
        stdin.clear();
        compared += 1;
        if first != second {
            bail!("etcdctl {what}\n--- oxetcd\n{first:#?}\n--- etcd\n{second:#?}");
        }
    }
    Ok(compared)
}

fn start(etcdctl: &Path, server: &Server, line: &str, stdin: &str) -> Result<Child> {
    let mut invocation = command(etcdctl);
    // Without a scheme: etcdctl 3.4 puts the scheme into :authority, which COMPAT.md tells of.
    let endpoint = format!("127.0.0.1:{}", server.port);
    invocation.env("ETCDCTL_API", "3").args(["--endpoints", &endpoint]);
    invocation.args(server.etcdctl_flags());
    invocation.args(words(line));
    invocation.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = invocation.spawn().context("start etcdctl")?;
    let mut pipe = child.stdin.take().context("stdin is piped")?;
    pipe.write_all(stdin.as_bytes()).context("feed etcdctl")?;
    Ok(child)
}

fn finish(child: Child) -> Result<Seen> {
    let output = child.wait_with_output().context("wait for etcdctl")?;
    Ok(Seen {
        stdout: normalise(&String::from_utf8_lossy(&output.stdout)),
        stderr: normalise(&String::from_utf8_lossy(&output.stderr)),
        code: output.status.code(),
    })
}

/// Ends a command that runs for ever and returns what it printed. Not by SIGINT, which commands in the
/// background of a shell without job control are told to ignore.
fn interrupt(child: Child) -> Result<Seen> {
    let id = child.id().to_string();
    crate::shell::capture(command("kill").args(["-TERM", &id]))?;
    finish(child)
}

/// Words of a command line; single quotes keep blanks, `\xNN` is not interpreted.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut any = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Takes out what two members cannot have in common: ids, ports, versions, sizes, indexes, times.
/// Known differences of 3.7 and 3.5 are here too, each with its reason.
fn normalise(text: &str) -> String {
    text.lines().map(normalise_line).collect::<Vec<_>>().join("\n")
}

fn normalise_line(line: &str) -> String {
    // Version, sizes, term and indexes of a status; ids and ports everywhere.
    let status = ["dbSize", "raftIndex", "raftTerm", "raft_term", "storageVersion", "Version"];
    if status.iter().any(|name| line.trim_start().trim_start_matches('"').starts_with(name)) {
        return String::new();
    }
    let line = &without_value(&without_value(&without_padding(line), "ts"), "target");
    let sized = |part: &str| part.ends_with(" kB") || part.ends_with(" MB");
    let parts: Vec<_> = line.split(", ").map(|p| if sized(p) { "SIZE" } else { p }).collect();
    let line = &parts.join(", ");
    // Members new in 3.7 (hash_revision, downgradeInfo, ...) are unknown to the old etcdctl.
    let mut out = String::new();
    let mut token = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || c == '.' || c == 'µ' {
            token.push(c);
            continue;
        }
        out.push_str(&normalise_token(&token));
        token.clear();
        if c != '\n' {
            out.push(c);
        }
    }
    out
}

/// A row of a table with its padding taken out: widths follow the longest id.
pub(super) fn without_padding(line: &str) -> String {
    if !line.starts_with(['+', '|', '┌', '│', '├', '└']) {
        return line.to_owned();
    }
    let mut out = String::new();
    for c in line.chars() {
        if !([' ', '-', '─'].contains(&c) && out.ends_with(c)) {
            out.push(c);
        }
    }
    out
}

/// A JSON line with the text values of all members of one name taken out.
pub(super) fn without_value(line: &str, name: &str) -> String {
    let member = format!("\"{name}\":\"");
    let mut parts = line.split(&member);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(&member);
        out.push_str(&part[part.find('"').unwrap_or(0)..]);
    }
    out
}

/// An id, a port, a duration or a version becomes its kind; anything else stays.
pub(super) fn normalise_token(token: &str) -> String {
    let digits = token.bytes().filter(u8::is_ascii_digit).count();
    let hex = token.bytes().all(|byte| byte.is_ascii_hexdigit());
    let decimal = digits == token.len();
    if token.starts_with("0x")
        || (hex && (13..=16).contains(&token.len()) && digits > 0)
        || (decimal && digits >= 16)
    {
        return "ID".to_owned();
    }
    if decimal && digits == 5 {
        return "PORT".to_owned();
    }
    let numeric = token.trim_end_matches(char::is_alphabetic);
    let unit = &token[numeric.len()..];
    let number = numeric.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let short = ["ms", "µs"].contains(&unit) || (unit == "s" && numeric.contains('.'));
    if number && !numeric.is_empty() && short {
        return "TIME".to_owned();
    }
    if token.starts_with("3.") && token.split('.').count() == 3 {
        return "VERSION".to_owned();
    }
    token.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ids_and_ports_become_their_kind() {
        for (line, expected) in [
            ("took = 976.514µs", "took = TIME"),
            ("took = 4.1ms", "took = TIME"),
            ("took = 12ms", "took = TIME"),
            ("TTL(100s)", "TTL(100s)"),
            (
                "127.0.0.1:45249, 82039f3eee02bfb3, 3.7.1, 49 kB, true",
                "127.0.0.1:PORT, ID, VERSION, SIZE, true",
            ),
            ("revision 12", "revision 12"),
        ] {
            assert_eq!(normalise_line(line), expected);
        }
    }
}
