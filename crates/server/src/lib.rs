//! The server: threads, services, HTTP, start and stop of one member.
//!
//! **Architecture invariant:** layers below know no clock, thread, socket or metric; they are driven
//! from here. Only [`main`] and what it takes is public.

mod advice;
mod auth;
mod bootstrap;
mod clock;
mod cluster_version;
mod compactor;
mod consensus;
mod cores;
mod corruption;
mod damage;
mod describe;
mod discovery;
mod driver;
mod handle;
mod http;
mod inbox;
mod leadership;
mod leases;
mod limits;
mod listen;
mod lists;
mod member;
mod members;
mod metrics;
mod monitors;
mod notify;
mod peer_client;
mod peer_http;
mod peers;
mod profile;
mod progress;
mod proposal;
mod publish;
mod read_gate;
mod reconfig;
mod request_id;
mod security;
mod services;
mod settings;
mod settle;
mod signals;
mod slow;
mod starting;
mod status;
mod telemetry;
mod v2;
mod v2_stats;
mod waiters;
mod workers;

#[cfg(test)]
mod cluster_tests;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use config::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};

use cores::Cores;
use member::{Listeners, Member};
use settings::Settings;

/// What the server asks of the program's allocator.
#[derive(Clone, Copy, Debug)]
pub struct Allocator {
    /// Returns what is free to the kernel; called once the start is over.
    pub give_back: fn(),
    /// How many bytes are allocated.
    pub in_use: fn() -> u64,
}

/// Runs `etcd` with these arguments (the program's name first) until it is told to stop.
pub fn main(args: Vec<OsString>, allocator: Allocator) -> ExitCode {
    metrics::count_by(allocator.in_use);
    let config = match config::start(args) {
        Ok((config, _logger)) => config,
        Err(status) => return ExitCode::from(u8::try_from(status).unwrap_or(1)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime
        .context("failed to start the runtime")
        .and_then(|runtime| runtime.block_on(run(&config, allocator.give_back)));
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(signal) => die_of(signal),
        Err(error) => {
            // etcd's words for whatever keeps it from starting.
            config::fatal!(error = %format!("{error:#}"), "discovery failed")
        }
    }
}

/// Serves until a signal asks to stop, and returns it, or until the member has left the cluster, and
/// returns 0.
async fn run(config: &Config, give_back: fn()) -> Result<i32> {
    check_data_dir(config);
    let mut settings = Settings::new(config)?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for SIGINT")?;
    bear_other_signals()?;
    let peer = listen::bind_peers(config, &settings.security).await.inspect_err(|error| {
        tracing::error!(error = %format!("{error:#}"), "creating peer listener failed");
    })?;
    let listeners = Listeners {
        peer,
        clients: listen::bind_clients(config, &settings.security).await?,
        cores: Arc::new(Cores::start()?),
    };
    discovery::discover(&mut settings).await?;
    advice::warn(config);
    // Joining waits for other members; nothing has been begun that could not be left as it is.
    let member = tokio::select! {
        started = Member::start(&settings) => started?,
        signal = signalled(&mut terminate, &mut interrupt) => return Ok(signal),
    };
    tokio::spawn(settle::settle(give_back));
    let mut received = 0;
    let stop = async { received = signalled(&mut terminate, &mut interrupt).await };
    member.serve(&settings, listeners, stop).await;
    tracing::info!(
        name = %settings.name,
        "data-dir" = config.data_dir,
        "advertise-peer-urls" = %config::log::strings(&settings.peer_urls),
        "advertise-client-urls" = %config::log::strings(&settings.client_urls),
        "closed etcd server"
    );
    Ok(received)
}

/// Ends the process where the data dir is something that cannot be one.
fn check_data_dir(config: &Config) {
    let dir = &config.data_dir;
    if let Err(error) = std::fs::read_dir(dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        let error = format!("open {dir}: {}", config::os_error(&error));
        config::fatal!(dir = %dir, error, "failed to list data directory")
    }
}

/// Signals that mean nothing to etcd mean nothing here: unheard they would end the process.
fn bear_other_signals() -> Result<()> {
    let [one, two] = [SignalKind::user_defined1(), SignalKind::user_defined2()];
    for kind in [one, two, SignalKind::alarm(), SignalKind::io()] {
        // Whoever asked to hear of it once keeps the process from ending by it.
        drop(signal(kind).context("watch for other signals")?);
    }
    Ok(())
}

/// Waits for a signal to stop; returns it.
async fn signalled(terminate: &mut Signal, interrupt: &mut Signal) -> i32 {
    let (signal, name) = tokio::select! {
        _ = terminate.recv() => (libc::SIGTERM, "terminated"),
        _ = interrupt.recv() => (libc::SIGINT, "interrupt"),
    };
    tracing::info!(signal = name, "received signal; shutting down");
    signal
}

/// Ends the process by the signal it was sent, as etcd does; as the first process of a container,
/// which no signal ends, with 0.
fn die_of(signal: i32) -> ExitCode {
    if std::process::id() != 1 {
        // SAFETY: both calls take plain numbers; the handler being replaced is tokio's own.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    ExitCode::SUCCESS
}
