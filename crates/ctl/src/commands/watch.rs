//! `watch`: prints changes as they come, and may run a command for each.

use std::{io::BufRead, sync::Arc};

use api::{
    etcdserverpb::WatchCreateRequest,
    mvccpb::{Event, event::EventType},
    range::prefix_end,
};
use bytes::Bytes;
use client::{
    client::Client,
    watch::{ProgressHandle, WatchResponse, Watcher},
};
use tokio::sync::mpsc;

use crate::{
    cli::{
        self, Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    exit::{Code, Failure, Outcome},
    gotext::{
        quote::{quote, quote_list},
        words,
    },
    printer::Answer,
    process::{self, os},
    session::{Display, Session, say},
};

/// `watch`.
pub(crate) static COMMAND: Command = Command {
    usage: "watch [options] [key or prefix] [range_end] [--] [exec-command arg1 arg2 ...]",
    short: "Prints changes of keys as they come",
    group: Some(Group::KeyValue),
    flags: &[
        Flag::new("interactive", Kind::Bool, "read watches from standard input").short('i'),
        Flag::new("prefix", Kind::Bool, "watch all keys with this prefix"),
        Flag::new("rev", Kind::Int, "begin at this revision"),
        Flag::new("prev-kv", Kind::Bool, "show the key and value from before"),
        Flag::new("progress-notify", Kind::Bool, "ask for notices while nothing changes"),
    ],
    run: Some(run),
    ..Command::BASE
};

const BAD_COUNT: &str = "bad number of arguments";
const BAD_SEPARATOR: &str = "bad number of arguments (found separator --, but no commands)";
const BAD_ENVIRONMENT: &str = "bad number of arguments (found conflicting environment key)";

/// Lines of input that wait to be taken.
const LINES: usize = 16;

/// Keys to watch that the environment names.
#[derive(Clone, Default)]
struct Environment {
    key: Vec<u8>,
    range_end: Vec<u8>,
}

/// What the words before and after `--` are.
struct Arguments {
    keys: Vec<Vec<u8>>,
    command: Vec<Vec<u8>>,
}

/// One watch to make, and what to run for its events.
struct Plan {
    request: WatchCreateRequest,
    command: Vec<Vec<u8>>,
}

fn run(invocation: &Invocation) -> Outcome {
    let variable = |name: &str| {
        use std::os::unix::ffi::OsStringExt;
        std::env::var_os(name).unwrap_or_default().into_vec()
    };
    let environment = Environment {
        key: variable("ETCDCTL_WATCH_KEY"),
        range_end: variable("ETCDCTL_WATCH_RANGE_END"),
    };
    if environment.key.is_empty() && !environment.range_end.is_empty() {
        let end = quote(&environment.range_end);
        return Err(Failure::bad_args(format!(
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}"
        )));
    }
    if invocation.flags.bool("interactive") {
        let session = Session::open(invocation)?;
        let client = session.client()?.require_leader();
        return session.run(interactive(session.display(), &client, &environment));
    }
    let arguments = arguments(invocation, &environment).map_err(Failure::bad_args)?;
    let session = Session::open(invocation)?;
    let client = session.client()?.require_leader();
    let plan = plan(&session.flags, arguments).map_err(Failure::bad_args)?;
    session.run(async {
        let watcher = client.watch(plan.request).await;
        follow(session.display(), watcher, &plan.command).await
    })?;
    Err(Failure::new(Code::Interrupted, "watch is canceled by the server"))
}

/// Keys to watch and command to run, from the command line or the environment.
fn arguments(
    invocation: &Invocation,
    environment: &Environment,
) -> Result<Arguments, &'static str> {
    let count = invocation.before_dash.unwrap_or(invocation.args.len());
    let (keys, command) = invocation.args.split_at(count);
    if invocation.before_dash.is_some() && command.is_empty() {
        return Err(BAD_SEPARATOR);
    }
    if environment.key.is_empty() {
        if keys.is_empty() {
            return Err(BAD_COUNT);
        }
        return Ok(Arguments { keys: keys.to_vec(), command: command.to_vec() });
    }
    if !keys.is_empty() {
        return Err(BAD_ENVIRONMENT);
    }
    let mut keys = vec![environment.key.clone()];
    if !environment.range_end.is_empty() {
        keys.push(environment.range_end.clone());
    }
    Ok(Arguments { keys, command: command.to_vec() })
}

/// The watch that flags and keys make.
fn plan(flags: &Flags, arguments: Arguments) -> Result<Plan, &'static str> {
    let Arguments { keys, command } = arguments;
    let prefix = flags.bool("prefix");
    let everything = Bytes::from_static(&[0]);
    let (key, range_end) = match &keys[..] {
        [] => return Err(BAD_COUNT),
        [_, _] if prefix => return Err("`range_end` and `--prefix` are mutually exclusive"),
        [key, end] => (key.clone().into(), end.clone().into()),
        [key, ..] if prefix && key.is_empty() => (everything.clone(), everything),
        [key, ..] if prefix => (key.clone().into(), prefix_end(key)),
        [key, ..] => (key.clone().into(), Bytes::new()),
    };
    let request = WatchCreateRequest {
        key,
        range_end,
        start_revision: flags.int("rev"),
        progress_notify: flags.bool("progress-notify"),
        prev_kv: flags.bool("prev-kv"),
        ..WatchCreateRequest::default()
    };
    Ok(Plan { request, command })
}

/// Prints what a watch delivers until it ends.
async fn follow(display: Display, mut watcher: Watcher, command: &[Vec<u8>]) -> Outcome {
    while let Some(response) = watcher.next().await {
        if let Some(error) = response.error() {
            eprintln!("watch was canceled ({error})");
        }
        if response.is_progress() {
            say(format_args!("progress notify: {}", response.header.revision))?;
        }
        display.print(&Answer::Watch(&response))?;
        if !command.is_empty() {
            execute(&response, command).await?;
        }
    }
    Ok(())
}

/// Runs the command for each event, one after the other; a failure ends the tool.
async fn execute(response: &WatchResponse, command: &[Vec<u8>]) -> Outcome {
    for event in &response.events {
        let environment = environment(event, response.header.revision);
        if let Err(failed) = process::run(command, &environment).await {
            eprintln!("command {} error ({failed})", quote_list(command));
            return Err(Failure::silent(1));
        }
    }
    Ok(())
}

fn environment(event: &Event, revision: i64) -> [(&'static str, std::ffi::OsString); 4] {
    let kv = event.kv.as_ref().and_then(|kv| kv.decode().ok()).unwrap_or_default();
    let kind = match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    };
    [
        ("ETCD_WATCH_REVISION", revision.to_string().into()),
        ("ETCD_WATCH_EVENT_TYPE", os(quote(kind).as_bytes())),
        ("ETCD_WATCH_KEY", os(quote(&kv.key).as_bytes())),
        ("ETCD_WATCH_VALUE", os(quote(&kv.value).as_bytes())),
    ]
}

/// Makes the watches that standard input asks for, until it ends.
async fn interactive(display: Display, client: &Client, environment: &Environment) -> Outcome {
    let mut lines = lines();
    let (failed, mut failures) = mpsc::channel(1);
    let mut handles: Vec<ProgressHandle> = Vec::new();
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            failure = failures.recv() => {
                return Err(failure.expect("a sender is held here"));
            }
        };
        let Some(line) = line else {
            let text = "error reading watch request line: EOF";
            return Err(Failure::new(Code::InvalidInput, text));
        };
        let shown = String::from_utf8_lossy(&line).into_owned();
        let words = words::split(&line)
            .ok_or_else(|| Failure::new(Code::InvalidInput, "invalid syntax"))?;
        match words.first().map(Vec::as_slice) {
            None => eprintln!("Invalid command: {shown} (watch and progress supported)"),
            Some(b"watch") if words.len() < 2 && environment.key.is_empty() => {
                eprintln!("Invalid command {shown} (command type or key is not provided)");
            }
            Some(b"watch") => match read_watch(&words[1..], environment)? {
                Ok(plan) => {
                    let watcher = client.watch(plan.request).await;
                    handles.push(watcher.progress_handle());
                    spawn(display, watcher, plan.command, failed.clone());
                }
                Err(why) => eprintln!("Invalid command {shown} ({why})"),
            },
            Some(b"progress") => {
                for handle in &handles {
                    handle.request().await;
                }
            }
            Some(_) => eprintln!("Invalid command {shown} (only support watch)"),
        }
    }
}

/// Reads a `watch` line. Malformed flags and counts end the tool; a contradiction between them is
/// only told.
fn read_watch(
    words: &[Vec<u8>],
    environment: &Environment,
) -> Result<Result<Plan, &'static str>, Failure> {
    let parsed = cli::parse(vec![&COMMAND], words).map_err(Failure::bad_args)?;
    let arguments = arguments(&parsed, environment).map_err(Failure::bad_args)?;
    Ok(plan(&parsed.flags, arguments))
}

fn spawn(display: Display, watcher: Watcher, command: Vec<Vec<u8>>, failed: mpsc::Sender<Failure>) {
    let command = Arc::new(command);
    tokio::spawn(async move {
        if let Err(failure) = follow(display, watcher, &command).await {
            // Another failure may have ended the tool already.
            let _ = failed.send(failure).await;
        }
    });
}

/// Lines of standard input, without their ends, as they come. A last line without an end is
/// dropped, as etcdctl does.
fn lines() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(LINES);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            if read.is_err() || line.pop() != Some(b'\n') || sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, key: &str) -> Result<Plan, String> {
        let words = words::split(line.as_bytes()).unwrap();
        let environment = Environment { key: key.into(), range_end: Vec::new() };
        match read_watch(&words, &environment) {
            Ok(plan) => plan.map_err(str::to_owned),
            Err(failure) => Err(failure.message.unwrap()),
        }
    }

    #[test]
    fn keys_flags_and_command_in_any_order() {
        let plan = read("foo --rev 3 bar --prev-kv -- echo --rev x", "").unwrap();
        assert_eq!(
            (&plan.request.key[..], &plan.request.range_end[..]),
            (&b"foo"[..], &b"bar"[..])
        );
        assert_eq!(plan.request.start_revision, 3);
        assert!(plan.request.prev_kv && !plan.request.progress_notify);
        assert_eq!(plan.command, [&b"echo"[..], b"--rev", b"x"]);
        let plan = read("'' --prefix", "").unwrap();
        assert_eq!((&plan.request.key[..], &plan.request.range_end[..]), (&b"\0"[..], &b"\0"[..]));
        let plan = read("-- echo", "env").unwrap();
        assert_eq!(&plan.request.key[..], b"env");
    }

    #[test]
    fn what_is_refused() {
        for (line, key, message) in [
            ("--rev 1", "", BAD_COUNT),
            ("foo --", "", BAD_SEPARATOR),
            ("foo", "env", BAD_ENVIRONMENT),
            ("-- echo", "", BAD_COUNT),
            ("foo bar --prefix", "", "`range_end` and `--prefix` are mutually exclusive"),
            ("foo --nope", "", "unknown flag: --nope"),
        ] {
            assert_eq!(read(line, key).err().as_deref(), Some(message), "{line}");
        }
    }
}
