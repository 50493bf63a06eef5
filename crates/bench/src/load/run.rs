//! One load while it runs: its pace, its record, and the watch over its clients.

use crate::{
    grpc::status::Failure,
    load::{fleet::Fleet, pace::Pacer, record::Recorder},
    progress::Progress,
};
use anyhow::Result;
use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// What the clients of one load share.
#[derive(Debug)]
pub(crate) struct Run {
    /// When requests start.
    pub(crate) pacer: Pacer,
    /// What is kept of them.
    pub(crate) recorder: RefCell<Recorder>,
}

impl Run {
    /// A load that begins now.
    pub(crate) fn new(pacer: Pacer) -> Rc<Self> {
        let recorder = RefCell::new(Recorder::new(pacer.begun()));
        Rc::new(Self { pacer, recorder })
    }

    /// Keeps an operation that was answered just now.
    pub(crate) fn done(&self, start: Instant, answer_bytes: usize) {
        self.recorder.borrow_mut().done(start, Instant::now(), answer_bytes);
    }

    /// Keeps a failure.
    pub(crate) fn failed(&self, failure: Failure) {
        self.recorder.borrow_mut().failed(failure);
    }
}

/// A kind of load.
pub(crate) trait Load {
    /// Does what must be there before requests are measured. Called once. No single step of it may
    /// take longer than `stall`.
    async fn prepare(&mut self, fleet: &Fleet, stall: Duration) -> Result<()>;

    /// Starts the clients of one run. Called for the warm-up and for the measurement.
    fn spawn(&mut self, fleet: &Fleet, run: &Rc<Run>, clients: &mut JoinSet<()>);
}

/// Runs the clients of `load` to their end, or until nothing was finished for `stall`.
pub(crate) async fn drive(
    load: &mut impl Load,
    fleet: &Fleet,
    run: &Rc<Run>,
    stall: Duration,
    mut progress: Progress,
) {
    let mut clients = JoinSet::new();
    load.spawn(fleet, run, &mut clients);
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let mut advanced = (0, Instant::now());
    loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => break,
            },
            _ = tick.tick() => {
                let recorder = run.recorder.borrow();
                progress.line(run.pacer.begun().elapsed(), &recorder);
                if recorder.finished() != advanced.0 {
                    advanced = (recorder.finished(), Instant::now());
                } else if advanced.1.elapsed() >= stall {
                    drop(recorder);
                    run.failed(Failure::Transport(format!("nothing finished for {stall:?}")));
                    break;
                }
            }
        }
    }
    clients.shutdown().await;
}
