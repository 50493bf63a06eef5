//! `lock`: takes a lock, until a signal or while a command runs.

use client::{client::Client, error::Error, kv, mutex::Mutex, session::Session as LeaseSession};

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    log,
    printer::Answer,
    process::{self, Interrupt, os},
    session::Session,
};

/// `lock`.
pub(crate) static COMMAND: Command = Command {
    usage: "lock <lockname> [exec-command arg1 arg2 ...]",
    short: "Takes a lock",
    group: Some(Group::Concurrency),
    flags: &[Flag::new("ttl", Kind::Int, "seconds after which a lost owner loses the lock")
        .default("10")],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let [name, command @ ..] = &invocation.args[..] else {
        let text = "lock takes a lock name argument and an optional command to execute";
        return Err(Failure::bad_args(text));
    };
    let name = String::from_utf8_lossy(name);
    let session = Session::open(invocation)?;
    let client = session.client()?;
    let ttl = session.flags.int("ttl");
    session.run(hold(&session, &client, &name, ttl, command))
}

async fn hold(
    session: &Session,
    client: &Client,
    name: &str,
    ttl: i64,
    command: &[Vec<u8>],
) -> Outcome {
    let ttl = match ttl {
        ..=0 => {
            let text = "WithTTL(): TTL should be > 0, preserving current TTL";
            log::line("warn", text, &[("current-session-ttl", "60")]);
            client::session::DEFAULT_TTL
        }
        ttl => ttl,
    };
    let lease = LeaseSession::new(client, ttl).await?;
    let interrupt = Interrupt::catch()?;
    let mut mutex = Mutex::new(&lease, name);
    let locked = tokio::select! {
        locked = mutex.lock() => locked,
        () = interrupt.wait() => Err(Error::Canceled),
    };
    if let Err(error) = locked {
        if error == Error::Canceled {
            // The place in the queue goes with the lease if not now.
            let _ = mutex.unlock().await;
        }
        return Err(error.into());
    }
    if !command.is_empty() {
        let environment = [
            ("ETCD_LOCK_KEY", os(mutex.key().as_bytes())),
            ("ETCD_LOCK_REV", mutex.header().revision.to_string().into()),
        ];
        let ended = process::run(command, &environment).await;
        let unlocked = mutex.unlock().await;
        if let Err(failed) = ended {
            return Err(Failure { code: failed.code(), message: Some(failed.to_string()) });
        }
        return Ok(unlocked?);
    }
    let found = client.range(kv::get(mutex.key().to_owned())).await?;
    if found.kvs.is_empty() {
        return Err(Failure::new(Code::Error, "lock lost on init"));
    }
    session.print(&Answer::Get(&found))?;
    tokio::select! {
        () = interrupt.wait() => Ok(mutex.unlock().await?),
        () = lease.done() => Err(Failure::new(Code::Error, "session expired")),
    }
}
