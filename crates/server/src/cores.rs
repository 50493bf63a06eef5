//! Threads that serve clients: each has a runtime of its own and owns the connections it was given.
//!
//! What a connection's task wakes is on the same thread; nothing is stolen, and a batch of answers is
//! written by one thread in one go. What is long is taken elsewhere by the services themselves.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use tokio::sync::mpsc;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Makes a task; called on the thread that runs it.
type Job = Box<dyn FnOnce() -> Task + Send>;

/// The threads. They end with this.
pub(crate) struct Cores {
    cores: Vec<Core>,
}

struct Core {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    /// Tasks that it has.
    load: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// Counts a task while it is there.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Cores {
    /// Starts one thread per core of the machine.
    pub(crate) fn start() -> Result<Cores> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let cores = (0..count).map(Core::start).collect::<Result<_>>()?;
        Ok(Cores { cores })
    }

    /// Has the thread with the fewest tasks run another, which `make` makes there.
    pub(crate) fn spawn<F>(&self, make: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let core = self.cores.iter().min_by_key(|core| core.load.load(Ordering::Relaxed));
        let core = core.expect("a machine has a core");
        core.load.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(core.load.clone());
        let job: Job = Box::new(move || {
            let work = make();
            Box::pin(async move {
                let _counted = counted;
                work.await;
            })
        });
        let jobs = core.jobs.as_ref().expect("taken only when dropped");
        // A thread that has ended has ended the process with it.
        let _ended = jobs.send(job);
    }
}

impl Core {
    fn start(number: usize) -> Result<Core> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start a runtime for clients")?;
        let (jobs, mut taken) = mpsc::unbounded_channel::<Job>();
        let work = move || {
            runtime.block_on(async {
                while let Some(job) = taken.recv().await {
                    tokio::spawn(job());
                }
            });
            // Work that was handed to other threads is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name(format!("client-{number}"));
        let thread = thread.spawn(work).context("start a thread for clients")?;
        Ok(Core { jobs: Some(jobs), load: Arc::default(), thread: Some(thread) })
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.cores.iter_mut().for_each(|core| drop(core.jobs.take()));
        for thread in self.cores.iter_mut().filter_map(|core| core.thread.take()) {
            // A panic has been reported where it happened.
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_shared_out_and_end_with_the_threads() {
        let cores = Cores::start().unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        for _ in 0..2 * cores.cores.len() {
            let told = told.clone();
            cores.spawn(move || async move {
                told.send(std::thread::current().id()).unwrap();
                std::future::pending::<()>().await;
            });
        }
        drop(told);
        let mut counts = std::collections::HashMap::new();
        for _ in 0..2 * cores.cores.len() {
            *counts.entry(heard.recv().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), cores.cores.len());
        assert!(counts.values().all(|count| *count == 2));
        drop(cores);
        assert!(heard.recv().is_err(), "every task was dropped");
    }
}
