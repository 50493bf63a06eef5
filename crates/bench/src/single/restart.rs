//! `restart`: fill a server, kill it without warning, and time its way back.

use crate::{
    args::compare::{FillArgs, HostArgs, RestartArgs},
    grpc::{channel::Keep, frame, method::Method, target::Target},
    launch::{Home, Ports, Program, Server},
    load::{
        fleet::Fleet,
        payload::{KeySpace, Values},
        unary::UnaryLoad,
    },
    probe::procfs,
    report::{
        emit,
        figures::{Better, Figures},
    },
    verbs::{self, Filling},
};
use anyhow::{Context as _, Result, ensure};
use api::etcdserverpb::RangeRequest;
use bytes::BytesMut;
use std::time::{Duration, Instant};

/// Bytes of a key.
const KEY_BYTES: usize = 16;
/// Clients that fill the server.
const FILL_CLIENTS: usize = 256;
/// Connections they share.
const FILL_CONNECTIONS: usize = 8;
/// Keys of one answer when all are listed.
const LISTED_AT_ONCE: u64 = 10_000;
/// How long a fill may stand still.
const FILL_STALL: Duration = Duration::from_secs(30);

/// Runs the verb.
pub(crate) async fn run(args: &RestartArgs) -> Result<()> {
    let program = Program::new("server", &args.server, &args.host)?;
    let figures = measure(&program, &args.host, &args.fill).await?;
    emit(&figures, &super::lines("restart", &figures), args.json.as_deref())
}

/// Fills `program`, kills it, starts it again, reads its figures.
pub(crate) async fn measure(
    program: &Program,
    host: &HostArgs,
    fill: &FillArgs,
) -> Result<Figures> {
    let program = &program.with_room();
    let home = Home::create(host)?;
    let ports = Ports::free()?;
    let mut server = Server::start(program, &home, ports)?;
    server.ready(&home).await?;
    let begun = Instant::now();
    let targets = [Target::plain(server.endpoint().clone())];
    for _ in 0..fill.revisions {
        put_all(&targets, fill).await?;
    }
    let fill_seconds = begun.elapsed().as_secs_f64();
    let full = procfs::memory(server.pid()).context("read the server's memory")?;
    server.kill()?;
    let disk = home.data_bytes()?;
    if fill.cold {
        home.drop_cached()?;
    }

    let mut server = Server::start(program, &home, ports)?;
    let restarted = server.ready(&home).await?;
    let cpu = procfs::cpu_time(server.pid()).context("read its processor time")?;
    let read = procfs::read_bytes(server.pid()).context("read what it read")?;
    let at_read = procfs::memory(server.pid()).context("read its memory")?;
    tokio::time::sleep(fill.rest).await;
    let rested = procfs::memory(server.pid()).context("read its memory")?;
    list_all(&targets, fill).await?;
    let listed = procfs::memory(server.pid()).context("read its memory")?;
    server.stop().await?;

    let mut figures = Figures::default();
    let payload = (fill.keys * fill.revisions) as f64 * (fill.val_size + KEY_BYTES) as f64;
    figures.push("restart to read, ms", restarted.as_secs_f64() * 1e3, Better::Lower);
    figures.push("CPU until read, ms", cpu.0.as_secs_f64() * 1e3, Better::Lower);
    figures.push("read at start, MiB", read as f64 / (1024.0 * 1024.0), Better::Lower);
    figures.push("RSS at first read, MiB", at_read.rss_kib as f64 / 1024.0, Better::Lower);
    figures.push_memory(&rested);
    let private = listed.rss_anon_kib as f64 / 1024.0;
    figures.push("private after a list, MiB", private, Better::Lower);
    figures.push("RSS after a list, MiB", listed.rss_kib as f64 / 1024.0, Better::Lower);
    figures.push("RSS peak before kill, MiB", full.peak_rss_kib as f64 / 1024.0, Better::Lower);
    figures.push(
        "fill, keys/s",
        (fill.keys * fill.revisions) as f64 / fill_seconds,
        Better::Higher,
    );
    figures.push("disk bytes per payload byte", disk as f64 / payload, Better::Lower);
    Ok(figures)
}

/// Reads every key once, in answers of some thousand keys.
async fn list_all(targets: &[Target], fill: &FillArgs) -> Result<()> {
    let space = KeySpace::new("", KEY_BYTES, fill.keys)?;
    let fleet = Fleet::connect(targets, 1).await?;
    let mut channel = fleet.channel(0);
    for from in (0..fill.keys).step_by(LISTED_AT_ONCE as usize) {
        let range = RangeRequest {
            key: space.key(from),
            range_end: space.key(fill.keys.min(from + LISTED_AT_ONCE)),
            ..RangeRequest::default()
        };
        let mut message = BytesMut::new();
        frame::encode(&range, &mut message);
        let listed = channel.unary(Method::Range, message.freeze(), Keep::Nothing).await;
        listed.context("list the keys")?;
    }
    Ok(())
}

async fn put_all(targets: &[Target], fill: &FillArgs) -> Result<()> {
    ensure!(fill.keys > 0, "--keys must be above zero");
    ensure!(fill.txn_ops > 0, "--txn-ops must be above zero");
    let filling = Filling { targets, connections: FILL_CONNECTIONS, stall: FILL_STALL };
    let space = KeySpace::new("", KEY_BYTES, fill.keys)?;
    let values = Values::new(fill.val_size, 1);
    let ops = fill.txn_ops as u64;
    if ops == 1 {
        let load = UnaryLoad::new(verbs::put::Puts::filling(space, values), FILL_CLIENTS);
        return filling.run(load, fill.keys).await;
    }
    let load = UnaryLoad::new(verbs::txn::Puts::filling(space, values, ops), FILL_CLIENTS);
    filling.run(load, fill.keys.div_ceil(ops)).await
}
