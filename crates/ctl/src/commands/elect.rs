//! `elect`: stands for election, or watches one.

use client::{
    client::Client,
    election::{self, Election},
    error::Error,
    kv,
    session::{DEFAULT_TTL, Session as LeaseSession},
};
use tokio::sync::mpsc;

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    printer::Answer,
    process::Interrupt,
    session::Session,
};

/// `elect`.
pub(crate) static COMMAND: Command = Command {
    usage: "elect <election-name> [proposal]",
    short: "Stands for election, or watches one",
    group: Some(Group::Concurrency),
    flags: &[Flag::new("listen", Kind::Bool, "only watch who leads").short('l')],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let listen = invocation.flags.bool("listen");
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    match (&invocation.args[..], listen) {
        ([name], true) => {
            let session = Session::open(invocation)?;
            let client = session.client()?;
            session.run(observe(&session, &client, &text(name)))
        }
        ([name, proposal], false) => {
            let session = Session::open(invocation)?;
            let client = session.client()?;
            session.run(campaign(&session, &client, &text(name), &text(proposal)))
        }
        ([_], false) => Err(Failure::bad_args("no proposal argument but -l not set")),
        ([_, _], true) => Err(Failure::bad_args("proposal given but -l is set")),
        _ => Err(Failure::bad_args(
            "elect takes one election name argument and an optional proposal argument",
        )),
    }
}

/// Prints leaders until a signal.
async fn observe(session: &Session, client: &Client, name: &str) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let (leaders, mut received) = mpsc::channel(1);
    let watching = election::observe(client, name, leaders);
    tokio::pin!(watching);
    let mut watched = false;
    loop {
        tokio::select! {
            () = interrupt.wait() => return Ok(()),
            leader = received.recv() => match leader {
                Some(leader) => session.print(&Answer::Get(&leader))?,
                None => return Err(Failure::new(Code::Error, "elect: observer lost")),
            },
            () = &mut watching, if !watched => watched = true,
        }
    }
}

/// Stands for election, then leads until a signal.
async fn campaign(session: &Session, client: &Client, name: &str, value: &str) -> Outcome {
    let lease = LeaseSession::new(client, DEFAULT_TTL).await?;
    let interrupt = Interrupt::catch()?;
    let mut election = Election::new(&lease, name);
    let elected = tokio::select! {
        elected = election.campaign(value) => elected,
        () = interrupt.wait() => Err(Error::Canceled),
    };
    if let Err(error) = elected {
        if error == Error::Canceled {
            // The candidate goes with the lease if not now.
            let _ = election.resign().await;
        }
        return Err(error.into());
    }
    let found = client.range(kv::get(election.key().to_owned())).await?;
    session.print(&Answer::Get(&found))?;
    tokio::select! {
        () = interrupt.wait() => Ok(election.resign().await?),
        () = lease.done() => Err(Failure::new(Code::Error, "elect: session expired")),
    }
}
