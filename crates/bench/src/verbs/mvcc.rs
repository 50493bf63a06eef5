//! `mvcc`: the store itself, within this process: its index, its changes, their commits. No network,
//! no log and no raft, so what is left of a put's cost elsewhere is theirs.

use crate::{
    args::mvcc::{MvccArgs, MvccCommand},
    load::{payload::KeySpace, record::Recorder},
    probe::procfs,
    report::{
        emit,
        figures::{Better, Figures},
    },
    single,
};
use anyhow::{Context as _, Result, ensure};
use api::{
    ids::{LeaseId, RaftIndex, Term},
    range::KeyRange,
};
use bytes::Bytes;
use mvcc::{RangeQuery, Store};
use std::{sync::Arc, time::Instant};
use storage::{
    Window,
    engine::{LmdbBackend, LmdbOptions},
};

/// Runs the verb.
pub(crate) fn run(command: &MvccCommand) -> Result<()> {
    let (name, args) = match command {
        MvccCommand::Put(args) => ("mvcc put", args),
        MvccCommand::Delete(args) => ("mvcc delete", args),
        MvccCommand::Range(args) => ("mvcc range", args),
    };
    ensure!(args.total > 0, "--total must be above zero");
    ensure!(args.txn_ops > 0, "--txn-ops must be above zero");
    let folder = tempfile::Builder::new()
        .prefix("oxetcd-bench-")
        .tempdir_in(&args.dir)
        .with_context(|| format!("create a folder in {}", args.dir.display()))?;
    let backend = LmdbBackend::open(folder.path(), LmdbOptions::default())?;
    let backend: Arc<dyn storage::Backend> = Arc::new(backend);
    let store = Store::open(Arc::clone(&backend))?.store;
    let mut bench = Bench { args, space: args.keys.space()?, store, backend, at: 0, dirty: 0 };
    let mut figures = Figures::default();
    bench.put(&mut figures)?;
    match command {
        MvccCommand::Put(_) => {}
        MvccCommand::Delete(_) => bench.delete(&mut figures)?,
        MvccCommand::Range(_) => bench.range(&mut figures)?,
    }
    let memory = procfs::memory(std::process::id()).context("read the memory of this process")?;
    figures.push_memory(&memory);
    emit(&figures, &single::lines(name, &figures), args.json.as_deref())
}

struct Bench<'a> {
    args: &'a MvccArgs,
    space: KeySpace,
    store: Store,
    backend: Arc<dyn storage::Backend>,
    /// The index of the last transaction, as an entry of a log would have it.
    at: u64,
    /// Operations since the last commit.
    dirty: u64,
}

impl Bench<'_> {
    fn put(&mut self, figures: &mut Figures) -> Result<()> {
        let mut picker = self.args.keys.picker(self.args.seed);
        let mut values = self.args.values.values(self.args.seed);
        let window = Window::new();
        self.timed(
            "put",
            figures,
            |bench, ops| {
                let mut txn = bench.store.write(ops);
                for _ in 0..bench.args.txn_ops {
                    txn.put(bench.space.key(picker.pick()), values.next(), LeaseId(0));
                }
                drop(txn.end());
                Ok(())
            },
            &window,
        )
    }

    fn delete(&mut self, figures: &mut Figures) -> Result<()> {
        let mut picker = self.args.keys.picker(self.args.seed);
        let window = Window::new();
        self.timed(
            "delete",
            figures,
            |bench, ops| {
                let mut txn = bench.store.write(ops);
                for _ in 0..bench.args.txn_ops {
                    let key = bench.space.key(picker.pick());
                    txn.delete_range(&KeyRange::new(key, Bytes::new()));
                }
                drop(txn.end());
                Ok(())
            },
            &window,
        )
    }

    fn range(&mut self, figures: &mut Figures) -> Result<()> {
        let mut picker = self.args.keys.picker(self.args.seed);
        let window = Window::new();
        self.timed(
            "range",
            figures,
            |bench, _ops| {
                for _ in 0..bench.args.txn_ops {
                    let key = bench.space.key(picker.pick());
                    bench.store.range(&RangeQuery::new(KeyRange::new(key, Bytes::new())))?;
                }
                Ok(())
            },
            &window,
        )
    }

    /// Runs `step` until all operations are done, commits as often as asked, adds the figures.
    fn timed(
        &mut self,
        name: &str,
        figures: &mut Figures,
        mut step: impl FnMut(&mut Self, &mut Vec<storage::Op>) -> Result<()>,
        window: &Window,
    ) -> Result<()> {
        let pid = std::process::id();
        let cpu = procfs::cpu_time(pid).context("read the processor time of this process")?;
        let begun = Instant::now();
        let mut recorder = Recorder::new(begun);
        for _ in 0..self.args.total.div_ceil(self.args.txn_ops) {
            let start = Instant::now();
            let mut ops = Vec::new();
            step(self, &mut ops)?;
            if !ops.is_empty() {
                self.at += 1;
                window.append(ops, (RaftIndex(self.at), Term(1)), self.store.revision());
                self.dirty += self.args.txn_ops;
                if self.dirty >= self.args.batch_limit {
                    self.commit(window)?;
                }
            }
            recorder.done(start, Instant::now(), 0);
        }
        self.commit(window)?;
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = procfs::cpu_time(pid).map_or(0.0, |now| now.since(cpu).as_secs_f64());
        let latency = recorder.latencies().summary();
        let total = self.args.total as f64;
        figures.push(&format!("{name}, ops/s"), total / seconds, Better::Higher);
        figures.push(&format!("{name} p50 of a transaction, us"), latency.p50_us, Better::Lower);
        figures.push(&format!("{name} p99 of a transaction, us"), latency.p99_us, Better::Lower);
        figures.push(&format!("{name}, CPU ms/1000 ops"), cpu * 1e6 / total, Better::Lower);
        Ok(())
    }

    fn commit(&mut self, window: &Window) -> Result<()> {
        if let Some(flushed) = window.flush(&*self.backend)? {
            self.store.committed(flushed.revision);
        }
        self.dirty = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn every_operation_runs_to_its_end() {
        let folder = tempfile::TempDir::new().expect("a folder");
        for what in ["put", "delete", "range"] {
            let dir = folder.path().to_str().expect("UTF-8");
            let json = folder.path().join("out.json");
            let out = json.to_str().expect("UTF-8");
            let words = ["bench", "mvcc", what, "--total", "50", "--batch-limit", "20"];
            let more = ["--key-space-size", "10", "--dir", dir, "--json", out];
            let cli = Cli::try_parse_from(words.iter().chain(&more)).expect("parses");
            let Command::Mvcc(command) = cli.command else { panic!("the store") };
            run(&command).expect("runs");
            let figures = std::fs::read_to_string(&json).expect("written");
            let figures: Figures = serde_json::from_str(&figures).expect("JSON");
            let rate = figures.get(&format!("{what}, ops/s")).expect("a rate");
            assert!(rate.value > 0.0);
        }
    }
}
