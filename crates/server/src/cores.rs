//! Threads that serve clients: each has a runtime of its own and owns the connections it was given.
//!
//! What a connection's task wakes is on the same thread; nothing is stolen, and a batch of answers is
//! written by one thread in one go. What is long is taken elsewhere by the services themselves, and
//! connections with a long answer are for so long on threads for such ones (`roaming`). A thread with
//! a single answer may send it itself (`visits`).
//!
//! What other threads have for tasks here they put into the thread's mailbox, a batch at a time: the
//! thread is woken once for all of it, and wakes its tasks itself.

mod roaming;
mod visits;

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

pub(crate) use roaming::Long;
use roaming::{Place, Roaming};
pub(crate) use visits::{attend, is_visit, note};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
/// Makes a task; called on the thread that runs it.
type Job = Box<dyn FnOnce() -> Task + Send>;

/// Tasks that have their turn before a thread looks at its sockets and at what other threads have for
/// it. The library's own numbers, 61 and 31, are long waits when each task has much to send.
const TURNS: u32 = 8;

/// The threads. They end with this; connections have ended before.
pub(crate) struct Cores {
    cores: Vec<Core>,
    /// Those for connections with a long answer.
    away: Vec<Core>,
}

struct Core {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    place: Place,
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
    /// Starts one thread per core of the machine, and as many that give way for long answers.
    pub(crate) fn start() -> Result<Cores> {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |number| Core::start(format!("client-{number}"), priority::be_prompt);
        let cores = (0..count).map(start).collect::<Result<_>>()?;
        let start = |number| Core::start(format!("long-{number}"), priority::give_way);
        let away = (0..count).map(start).collect::<Result<_>>()?;
        Ok(Cores { cores, away })
    }

    /// Has the thread with the fewest tasks run another, which `make` makes there.
    pub(crate) fn spawn<F>(&self, make: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let cores = self.cores.iter().enumerate();
        let least = cores.min_by_key(|(_, core)| core.load.load(Ordering::Relaxed));
        let (number, core) = least.expect("a machine has a core");
        core.load.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(core.load.clone());
        let home = core.place.clone();
        let away = self.away[number % self.away.len()].place.clone();
        let job: Job = Box::new(move || {
            let work = make();
            let work = async move {
                let _counted = counted;
                work.await;
            };
            Box::pin(Roaming::new(Box::pin(work), home, away))
        });
        let jobs = core.jobs.as_ref().expect("taken only when dropped");
        // A thread that has ended has ended the process with it.
        let _ended = jobs.send(job);
    }
}

impl Core {
    fn start(name: String, begin: fn()) -> Result<Core> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(TURNS)
            .global_queue_interval(TURNS)
            .build()
            .context("start a runtime for clients")?;
        let mailbox = Arc::new(Mailbox::default());
        let place = Place { runtime: runtime.handle().clone(), mailbox: mailbox.clone() };
        let (jobs, mut taken) = mpsc::unbounded_channel::<Job>();
        let work = move || {
            begin();
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
        let thread = std::thread::Builder::new().name(name).spawn(work);
        let thread = Some(thread.context("start a thread for clients")?);
        Ok(Core { jobs: Some(jobs), place, load: Arc::default(), thread })
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        let mut all = self.cores.iter_mut().chain(&mut self.away).collect::<Vec<_>>();
        all.iter_mut().for_each(|core| drop(core.jobs.take()));
        for thread in all.into_iter().filter_map(|core| core.thread.take()) {
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

    #[tokio::test]
    async fn a_task_with_a_long_answer_is_elsewhere_until_that_is_sent() {
        let cores = Cores::start().unwrap();
        let (told, mut heard) = mpsc::unbounded_channel();
        assert!(Long::begin().is_none());
        cores.spawn(move || async move {
            let name = || std::thread::current().name().unwrap_or_default().to_owned();
            let mut held = Vec::new();
            for (begin, end) in [(0, 0), (2, 0), (0, 1), (0, 1), (1, 1), (1, 0), (0, 1)] {
                (0..begin).for_each(|_| held.push(Long::begin().unwrap()));
                drop(held.drain(..end));
                tokio::task::yield_now().await;
                told.send((name(), held.len())).unwrap();
            }
            // What it waits for while it moves is not missed.
            let (sender, receiver) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                sender.send(()).unwrap();
            });
            let _long = Long::begin();
            receiver.await.unwrap();
            told.send((name(), 1)).unwrap();
        });
        let mut seen = Vec::new();
        while let Some((name, held)) = heard.recv().await {
            assert!(name.starts_with(if held > 0 { "long-" } else { "client-" }), "{name} {held}");
            seen.push(held);
        }
        assert_eq!(seen, [0, 2, 1, 0, 0, 1, 0, 1]);
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
