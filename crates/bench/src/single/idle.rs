//! `idle`: the memory and processor time of a server that does nothing.

use crate::{
    args::compare::{HostArgs, IdleArgs},
    launch::{Home, Ports, Program, Server},
    probe::procfs,
    report::{
        emit,
        figures::{Better, Figures},
    },
};
use anyhow::{Context as _, Result};
use std::time::Duration;

/// Runs the verb.
pub(crate) async fn run(args: &IdleArgs) -> Result<()> {
    let program = Program::new("server", &args.server, &args.host)?;
    let figures = measure(&program, &args.host, args.rest).await?;
    emit(&figures, &super::lines("idle", &figures), args.json.as_deref())
}

/// Starts `program`, lets it rest, reads its figures.
pub(crate) async fn measure(program: &Program, host: &HostArgs, rest: Duration) -> Result<Figures> {
    let home = Home::create(host)?;
    let mut server = Server::start(program, &home, Ports::free()?)?;
    let started = server.ready(&home).await?;
    let before = procfs::cpu_time(server.pid()).context("read its processor time")?;
    tokio::time::sleep(rest).await;
    let after = procfs::cpu_time(server.pid()).context("read its processor time")?;
    let memory = procfs::memory(server.pid()).context("read its memory")?;
    server.stop().await?;

    let mut figures = Figures::default();
    figures.push("first start to read, ms", started.as_secs_f64() * 1e3, Better::Lower);
    let cpu = after.since(before).as_secs_f64() * 1e3 / rest.as_secs_f64().max(1e-3);
    figures.push("CPU at rest, ms/s", cpu, Better::Lower);
    figures.push_memory(&memory);
    Ok(figures)
}
