//! Threads that do slow work, one piece after another, off those that serve connections.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// They end when this is dropped.
pub(crate) struct Workers {
    jobs: mpsc::Sender<Job>,
}

impl Workers {
    /// Starts threads of this name and a number, each of which begins with `begin`.
    pub(crate) fn start(name: &str, count: usize, begin: fn()) -> io::Result<Workers> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..count {
            let jobs = jobs.clone();
            thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                begin();
                loop {
                    let job = jobs.lock().recv();
                    let Ok(job) = job else { return };
                    job();
                }
            })?;
        }
        Ok(Workers { jobs: sender })
    }

    /// Does work when it is its turn; `None` when the threads have ended.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, done) = oneshot::channel();
        // Whoever wanted the answer may be gone.
        let job = move || drop(sender.send(work()));
        self.jobs.send(Box::new(job)).ok()?;
        done.await.ok()
    }
}
