//! Threads that serve clients: each has a runtime of its own and owns the connections it was given.
//!
//! What a connection's task wakes is on the same thread; nothing is stolen, and a batch of answers is
//! written by one thread in one go. What is long is taken elsewhere by the services themselves.
//!
//! What other threads have for tasks here they put into the thread's mailbox, a batch at a time: the
//! thread is woken once for all of it, and wakes its tasks itself.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

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

/// What is to be done on a thread of this file.
type Letter = Box<dyn FnOnce() + Send>;

/// What other threads have for one of these.
#[derive(Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    told: Notify,
}

thread_local! {
    static HOME: RefCell<Option<Arc<Mailbox>>> = const { RefCell::new(None) };
}

/// The mailbox of the present thread, if it is one of these.
pub(crate) fn home() -> Option<Arc<Mailbox>> {
    HOME.with_borrow(Clone::clone)
}

impl Mailbox {
    fn post(&self, letter: Letter) {
        let mut letters = self.letters.lock();
        letters.push(letter);
        if letters.len() == 1 {
            self.told.notify_one();
        }
    }

    /// Does what is posted, for ever.
    async fn open(&self) {
        loop {
            self.told.notified().await;
            let letters = std::mem::take(&mut *self.letters.lock());
            for letter in letters {
                letter();
            }
        }
    }
}

/// Things that belong to tasks, gathered by the threads that own these.
pub(crate) struct Posts<T>(Vec<(Option<Arc<Mailbox>>, Vec<T>)>);

impl<T: Send + 'static> Posts<T> {
    /// None.
    pub(crate) fn new() -> Posts<T> {
        Posts(Vec::new())
    }

    /// Adds one for the thread with this mailbox; without one, for any thread.
    pub(crate) fn add(&mut self, home: Option<Arc<Mailbox>>, item: T) {
        let of = |home: &Option<Arc<Mailbox>>| home.as_ref().map(Arc::as_ptr);
        match self.0.iter_mut().find(|(known, _)| of(known) == of(&home)) {
            Some((_, items)) => items.push(item),
            None => self.0.push((home, vec![item])),
        }
    }

    /// Has `each` called with every one of them, on the thread that it belongs to. A single one is
    /// handled here: that wakes the thread as a letter would, and its task does not wait for two turns.
    pub(crate) fn deliver(self, each: fn(T)) {
        let here = home();
        for (home, items) in self.0 {
            let is_here =
                |home: &Arc<Mailbox>| here.as_ref().is_some_and(|here| Arc::ptr_eq(here, home));
            let elsewhere = home.filter(|home| items.len() > 1 && !is_here(home));
            let work = move || items.into_iter().for_each(each);
            match elsewhere {
                None => work(),
                Some(home) => home.post(Box::new(work)),
            }
        }
    }
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
            let mailbox = Arc::new(Mailbox::default());
            HOME.set(Some(mailbox.clone()));
            runtime.block_on(async {
                tokio::spawn(async move { mailbox.open().await });
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

    #[test]
    fn what_is_posted_is_done_on_the_thread_it_belongs_to() {
        let cores = Cores::start().unwrap();
        let (told, heard) = std::sync::mpsc::channel();
        let (home_told, homes) = std::sync::mpsc::channel();
        for _ in 0..cores.cores.len() {
            let home_told = home_told.clone();
            cores.spawn(move || async move {
                home_told.send((home(), std::thread::current().id())).unwrap();
                std::future::pending::<()>().await;
            });
        }
        let mut posts = Posts::new();
        posts.add(None, (told.clone(), std::thread::current().id()));
        for _ in 0..cores.cores.len() {
            let (home, thread) = homes.recv().unwrap();
            posts.add(home.clone(), (told.clone(), thread));
            posts.add(home, (told.clone(), thread));
        }
        assert_eq!(posts.0.len(), 1 + cores.cores.len());
        posts.deliver(|(told, thread)| {
            told.send(thread == std::thread::current().id()).unwrap();
        });
        drop(told);
        for _ in 0..1 + 2 * cores.cores.len() {
            assert!(heard.recv().unwrap());
        }
    }
}
