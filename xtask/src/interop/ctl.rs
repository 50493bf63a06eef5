//! Runs the commands of a transcript of `tests/conformance/transcripts` twice and compares what a
//! user sees: through our etcdctl and the real one, each against a server of its own, or through the
//! real one against our server and the real one.
//!
//! Lines of the transcript:
//!
//! - `reason NAME: TEXT` says why two releases differ; `reason NAME, exit too: TEXT` where their
//!   exit codes do as well; where the reason is `help`, the shape of the page must be the same;
//! - `stdin: TEXT` and `env: NAME=VALUE ...` are for the command that follows (`\n` is a line end);
//! - `differs NAME: COMMAND` must differ between the tools, for that reason, and
//!   `servers-differ NAME: COMMAND` between the servers; any other command must not;
//! - `bare: COMMAND` is run without `--endpoints`;
//! - `async: COMMAND` is started and left alone until `join`, which interrupts it if it still runs.
//!
//! `{TMP}` in a command is a folder, `{PORT}` the server's port.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    server::Server,
    transcript::{normalise_token, without_padding, without_value, words},
};
use crate::shell::{command, root};

/// How long a command in the background is left alone after it started, and after the last
/// command that it should notice.
const SETTLE: Duration = Duration::from_millis(800);

/// A transcript and how it is run.
#[derive(Clone, Copy)]
pub(super) struct Script {
    /// The file's name.
    pub(super) file: &'static str,
    /// What `ETCDCTL_API` is set to, if to anything.
    pub(super) api: Option<&'static str>,
    /// Whether one tool talks to two servers, not two tools to servers of one kind.
    pub(super) servers: bool,
}

/// One tool and what it talks to.
pub(super) struct Side<'a> {
    /// The program.
    pub(super) program: &'a Path,
    /// Words before those of the transcript.
    pub(super) first: &'a [&'a str],
    /// Its server.
    pub(super) server: &'a Server,
}

/// What a user sees of a command.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

/// One command of the transcript with what belongs to it.
#[derive(Default)]
struct Step {
    line: String,
    stdin: String,
    environment: Vec<(String, String)>,
    reason: Option<String>,
    bare: bool,
    background: bool,
}

/// How many commands were run, and how many of them differed as they should.
pub(super) struct Compared {
    pub(super) commands: usize,
    pub(super) differing: usize,
}

/// Runs the transcript; wrong differences are an error.
pub(super) fn compare(script: Script, ours: &Side<'_>, theirs: &Side<'_>) -> Result<Compared> {
    let path = root().join("tests/conformance/transcripts").join(script.file);
    let text = fs::read_to_string(&path).with_context(|| format!("read {path:?}"))?;
    let transcript = Transcript::read(&text, script.servers)?;
    let mut compared = Compared { commands: 0, differing: 0 };
    let mut wrong = String::new();
    let mut waiting: Option<(&Step, Running, Running)> = None;
    for step in &transcript.steps {
        let start = |side| Running::start(script, side, step);
        let (step, first, second) = if step.line == "join" {
            let (step, first, second) = waiting.take().context("join without async")?;
            std::thread::sleep(SETTLE);
            (step, first.interrupt()?, second.interrupt()?)
        } else if step.background {
            waiting = Some((step, start(ours)?, start(theirs)?));
            std::thread::sleep(SETTLE);
            continue;
        } else {
            // Together: some commands take seconds.
            let (first, second) = (start(ours)?, start(theirs)?);
            (step, first.finish()?, second.finish()?)
        };
        compared.commands += 1;
        compared.differing += usize::from(step.reason.is_some());
        if let Some(why) = transcript.fault(step, &first, &second) {
            let (line, environment) = (&step.line, &step.environment);
            wrong += &format!("etcdctl {line} {environment:?}: {why}\n--- ours\n{first:#?}\n");
            wrong += &format!("--- theirs\n{second:#?}\n");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(compared)
}

/// The transcript: its reasons, with whether exit codes may differ too, and its commands.
struct Transcript {
    reasons: BTreeMap<String, bool>,
    steps: Vec<Step>,
}

impl Transcript {
    /// What is wrong about two outcomes of a command.
    fn fault(&self, step: &Step, first: &Seen, second: &Seen) -> Option<&'static str> {
        let Some(reason) = &step.reason else {
            return (first != second).then_some("a difference");
        };
        let exit_too = self.reasons[reason];
        if first == second {
            return Some("no difference any more");
        }
        if first.code != second.code && !exit_too {
            return Some("another exit code");
        }
        let same_page = || shape(&first.stdout) == shape(&second.stdout);
        let is_page = reason == "help";
        (is_page && !(same_page() && first.stderr == second.stderr)).then_some("another shape")
    }

    /// Reads a transcript; differences between servers count if `servers`, else those of tools.
    fn read(text: &str, servers: bool) -> Result<Transcript> {
        let mut transcript = Transcript { reasons: BTreeMap::new(), steps: Vec::new() };
        let mut step = Step::default();
        let mut named = BTreeSet::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(rest) = line.strip_prefix("reason ") {
                let (name, why) = rest.split_once(": ").context("a reason needs a text")?;
                ensure!(!why.is_empty(), "reason {name} has no text");
                let bare = name.strip_suffix(", exit too");
                transcript.reasons.insert(bare.unwrap_or(name).to_owned(), bare.is_some());
            } else if let Some(input) = line.strip_prefix("stdin: ") {
                step.stdin = input.replace("\\n", "\n");
            } else if let Some(settings) = line.strip_prefix("env: ") {
                for setting in settings.split(' ') {
                    let (name, value) = setting.split_once('=').context("env needs NAME=VALUE")?;
                    step.environment.push((name.to_owned(), value.to_owned()));
                }
            } else {
                let reasons = step.read(line, servers)?;
                for reason in &reasons {
                    ensure!(transcript.reasons.contains_key(reason), "no reason {reason}");
                }
                named.extend(reasons);
                transcript.steps.push(std::mem::take(&mut step));
            }
        }
        for reason in transcript.reasons.keys() {
            ensure!(named.contains(reason), "no command differs for reason {reason}");
        }
        Ok(transcript)
    }
}

impl Step {
    /// Reads a command; the reasons that it names.
    fn read(&mut self, mut line: &str, servers: bool) -> Result<Vec<String>> {
        let mut reasons = Vec::new();
        for (mark, counts) in [("differs ", !servers), ("servers-differ ", servers)] {
            let Some(rest) = line.strip_prefix(mark) else { continue };
            let (reason, rest) = rest.split_once(": ").context("differs needs a reason")?;
            reasons.push(reason.to_owned());
            if counts {
                self.reason = Some(reason.to_owned());
            }
            line = rest;
        }
        if let Some(rest) = line.strip_prefix("bare: ") {
            self.bare = true;
            line = rest;
        }
        if let Some(rest) = line.strip_prefix("async: ") {
            self.background = true;
            line = rest;
        }
        self.line = line.to_owned();
        Ok(reasons)
    }
}

/// A command that runs.
struct Running {
    child: Child,
    /// The folder that `{TMP}` stands for.
    folder: PathBuf,
}

impl Running {
    fn start(script: Script, side: &Side<'_>, step: &Step) -> Result<Running> {
        let port = side.server.port;
        let folder = side.server.folder();
        let mut tool = command(side.program);
        tool.args(side.first);
        tool.envs(script.api.map(|api| ("ETCDCTL_API", api)));
        if !step.bare && script.api == Some("2") {
            tool.args(["--endpoints", &side.server.endpoint()]).args(side.server.v2_flags());
        } else if !step.bare {
            tool.args(["--endpoints", &format!("127.0.0.1:{port}")]);
        }
        let place = |word: String| {
            word.replace("{PORT}", &port.to_string()).replace("{TMP}", &folder.to_string_lossy())
        };
        tool.args(words(&step.line).into_iter().map(place));
        tool.envs(step.environment.iter().map(|(name, value)| (name, value)));
        tool.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = tool.spawn().context("start the tool")?;
        let mut pipe = child.stdin.take().context("stdin is piped")?;
        // A tool that reads nothing may have ended by now.
        let _ = pipe.write_all(step.stdin.as_bytes());
        if step.background {
            // Its input stays open.
            child.stdin = Some(pipe);
        }
        Ok(Running { child, folder })
    }

    fn finish(self) -> Result<Seen> {
        let output = self.child.wait_with_output().context("wait for the tool")?;
        let folder = self.folder.to_string_lossy().into_owned();
        let text =
            |bytes: &[u8]| normalise(&String::from_utf8_lossy(bytes).replace(&folder, "TMP"));
        Ok(Seen {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            code: output.status.code(),
        })
    }

    /// Ends a command that runs for ever, if it still does.
    fn interrupt(mut self) -> Result<Seen> {
        if self.child.try_wait().context("look at the tool")?.is_none() {
            let id = self.child.id().to_string();
            crate::shell::capture(command("kill").args(["-TERM", &id]))?;
        }
        // The end of its input must not come before the signal does.
        let input = self.child.stdin.take();
        let seen = self.finish();
        drop(input);
        seen
    }
}

/// Takes out what two servers cannot have in common: ids, ports, times, sizes and raft indexes; of
/// a line of the log, all but its level and text.
fn normalise(text: &str) -> String {
    text.lines().map(normalise_line).collect::<Vec<_>>().join("\n")
}

fn normalise_line(line: &str) -> String {
    if let Some(log) = log_line(line) {
        return log;
    }
    if let Some(members) = line.strip_prefix("ETCD_INITIAL_CLUSTER=\"") {
        // In the order of ids.
        let mut members: Vec<_> = members.trim_end_matches('"').split(',').collect();
        members.sort_unstable();
        return normalise_tokens(&format!("ETCD_INITIAL_CLUSTER={}", members.join(",")));
    }
    normalise_tokens(line)
}

fn normalise_tokens(line: &str) -> String {
    let line = without_value(&without_padding(line), "expiration");
    let mut out = String::new();
    let mut token = String::new();
    let mut name = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() || ".µ".contains(c) {
            token.push(c);
            continue;
        }
        let number = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit());
        match number && VARYING.contains(&name.to_lowercase().as_str()) {
            true => out.push('N'),
            // Versions are what some commands are about.
            false if token.matches('.').count() == 2 => out.push_str(&token),
            false => out.push_str(&normalise_token(&token)),
        }
        if token.chars().any(char::is_alphabetic) {
            name.clone_from(&token);
        }
        token.clear();
        if c != '\n' {
            out.push(c);
        }
    }
    sizes(&out)
}

/// Names whose numbers vary from member to member.
const VARYING: [&str; 4] = ["dbsize", "dbsizeinuse", "raftindex", "raftappliedindex"];

/// `20 kB` becomes `SIZE`.
fn sizes(line: &str) -> String {
    let parts = line.split_inclusive([',', '│', ' ']);
    let mut out: Vec<String> = Vec::new();
    for part in parts {
        let unit = part.trim_end_matches([',', '│', ' ']);
        match out.last_mut() {
            Some(last) if ["kB", "MB"].contains(&unit) => {
                *last = format!("SIZE{}", &part[unit.len()..]);
            }
            _ => out.push(part.to_owned()),
        }
    }
    out.concat()
}

/// A line of the log with what identifies its event.
fn log_line(line: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_str(line).ok()?;
    json.get("ts")?;
    let fields = ["level", "msg", "error", "environment-variable"];
    let texts = fields.iter().filter_map(|name| json.get(*name)).filter_map(|value| value.as_str());
    Some(format!("LOG {}", texts.collect::<Vec<_>>().join(" ")))
}

/// A page of help without its descriptions.
fn shape(page: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut heading = "";
    for line in page.lines() {
        if !line.is_empty() && !line.starts_with(' ') {
            heading = line;
        } else if ["VERSION:", "DESCRIPTION:"].contains(&heading) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let columns = line[indent..].find("  ").map(|at| at + indent);
        let end = line.find(" - ").into_iter().chain(columns).min();
        out.push(&line[..end.unwrap_or(line.len())]);
    }
    out
}

/// Fails unless the transcript is as long as it is meant to be.
pub(super) fn check_length(compared: &Compared) -> Result<()> {
    if compared.commands < 150 {
        bail!("the transcript has only {} commands", compared.commands);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_varies_is_taken_out() {
        for (line, expected) in [
            ("\"dbSize\":20480,\"revision\":7", "\"dbSize\":N,\"revision\":7"),
            ("\"RaftIndex\" : 12", "\"RaftIndex\" : N"),
            ("e, 82039f3eee02bfb3, 3.7.1, 20 kB, 1.2 MB, true", "e, ID, 3.7.1, SIZE, SIZE, true"),
            ("│ 127.0.0.1:45249 │  20 kB │", "│ 127.0.0.1:PORT │ SIZE │"),
            (
                "{\"level\":\"warn\",\"ts\":\"x\",\"caller\":\"y\",\"msg\":\"m\",\"error\":\"e\"}",
                "LOG warn m e",
            ),
            ("{\"header\":{}}", "{\"header\":{}}"),
        ] {
            assert_eq!(normalise_line(line), expected);
        }
    }

    #[test]
    fn pages_have_shapes() {
        let page = "NAME:\n   x set - sets\n\nDESCRIPTION:\n   Long.\n\n   $ x\n\nOPTIONS:\n   \
                    --ttl value  how long\n   -p  no - yes\n";
        let expected =
            ["NAME:", "   x set", "", "DESCRIPTION:", "OPTIONS:", "   --ttl value", "   -p"];
        assert_eq!(shape(page), expected);
    }

    #[test]
    fn a_transcript_is_read() {
        let text = "reason r: why\nreason x, exit too: why\nenv: A=b C=d\nstdin: 1\\n\n\
                    differs x: servers-differ r: bare: get a\nasync: watch a\njoin\n";
        let transcript = Transcript::read(text, false).unwrap();
        assert!(transcript.reasons["x"] && !transcript.reasons["r"]);
        let [get, watch, join] = &transcript.steps[..] else { panic!("three steps") };
        assert!(get.bare && get.reason.as_deref() == Some("x") && get.line == "get a");
        assert_eq!((get.stdin.as_str(), get.environment.len()), ("1\n", 2));
        assert!(watch.background && watch.stdin.is_empty() && join.line == "join");
        let of_servers = Transcript::read(text, true).unwrap();
        assert_eq!(of_servers.steps[0].reason.as_deref(), Some("r"));
        assert!(Transcript::read("reason unused: why\n", false).is_err());
        assert!(Transcript::read("differs unknown: get a\n", true).is_err());
    }
}
