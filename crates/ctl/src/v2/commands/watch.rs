//! Commands that wait for changes. They end with success when they are interrupted.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    process::{Command, Stdio},
};

use tokio::signal::unix::{SignalKind, signal};

use super::show;
use crate::{
    process::start_failure,
    v2::{
        app::Context,
        cluster::Cluster,
        error::{Code, Ended, Outcome},
        keys::{Response, Watcher},
        say,
        settings::cluster,
    },
};

/// Ends the process with success when it is interrupted.
fn end_when_interrupted(cluster: &Cluster) {
    cluster.transport().spawn(async {
        // Where signals cannot be caught, an interrupt ends the process anyway.
        if let Ok(mut interrupt) = signal(SignalKind::interrupt()) {
            interrupt.recv().await;
            std::process::exit(0);
        }
    });
}

/// `watch`.
pub(in crate::v2) fn watch(context: &Context) -> Outcome {
    let cluster = cluster(context)?;
    let Some(key) = context.args.first() else { return Err(Ended::missing("key required")) };
    let recursive = context.flags.bool("recursive");
    let after = context.flags.int("after-index").cast_unsigned();
    let mut watcher = Watcher::new(&cluster, key, after, recursive);
    end_when_interrupted(&cluster);
    loop {
        let response = watcher.next().map_err(|error| Ended::error(Code::Server, &error))?;
        if response.node().is_dir() {
            continue;
        }
        if recursive {
            say(format!("[{}] {}", response.action(), response.node().key()))?;
        }
        show(context, &response)?;
        if !context.flags.bool("forever") {
            return Ok(());
        }
    }
}

/// `exec-watch`.
pub(in crate::v2) fn exec_watch(context: &Context) -> Outcome {
    let cluster = cluster(context)?;
    let args = &context.args;
    if args.len() < 2 {
        return Err(Ended::missing("key and command to exec required"));
    }
    // `KEY -- COMMAND` is what the manual says. Without the dashes the key comes last.
    let (key, command) = match context.before_dash {
        Some(1) => (&args[0], &args[1..]),
        _ => args.split_last().expect("there are two arguments"),
    };
    let after = context.flags.int("after-index").cast_unsigned();
    let mut watcher = Watcher::new(&cluster, key, after, context.flags.bool("recursive"));
    end_when_interrupted(&cluster);
    loop {
        let response = watcher.next().map_err(|error| Ended::error(Code::Server, &error))?;
        if response.node().is_dir() {
            eprintln!("Ignored dir {} change", response.node().key());
            continue;
        }
        start(command, &response)?;
    }
}

/// Starts a program; its end is not waited for.
fn start(words: &[Vec<u8>], response: &Response) -> Outcome {
    let (program, arguments) = words.split_first().expect("there is a command");
    let program = OsStr::from_bytes(program);
    let node = response.node();
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|word| OsStr::from_bytes(word))).stdin(Stdio::null());
    command.env("ETCD_WATCH_ACTION", response.action());
    command.env("ETCD_WATCH_MODIFIED_INDEX", node.modified_index().to_string());
    command.env("ETCD_WATCH_KEY", node.key());
    command.env("ETCD_WATCH_VALUE", node.value());
    match command.spawn() {
        Ok(mut child) => {
            // Reaped when it ends; its status concerns nobody.
            std::thread::spawn(move || child.wait());
            Ok(())
        }
        Err(error) => Err(Ended { code: 1, message: start_failure(program, &error) }),
    }
}
