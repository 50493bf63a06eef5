//! Waking at a point in time to some ten microseconds.
//!
//! tokio's own timer counts milliseconds, too coarse for an open loop of more than a thousand
//! requests a second. This one is a `timerfd` that serves waiters in the order they came.
//!
//! Invariant: waiters come in the order of their times, so the first in the queue is always next.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::{
    io::unix::AsyncFd,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A queue of waiters and the task that wakes them, which ends with the timer.
#[derive(Debug)]
pub(crate) struct Timer {
    shared: Rc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    queue: RefCell<VecDeque<(Instant, oneshot::Sender<()>)>>,
    filled: Notify,
}

impl Timer {
    /// Starts the timer's task. Must be called within a `LocalSet`.
    pub(crate) fn start() -> io::Result<Self> {
        let fd = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        // SAFETY: the owned descriptor stays open, unchanged, until the `AsyncFd` that owns it is
        // dropped.
        let fd = unsafe { AsyncFd::register(fd) }?;
        let shared = Rc::new(Shared { queue: RefCell::default(), filled: Notify::new() });
        let served = Rc::clone(&shared);
        let task = tokio::task::spawn_local(async move {
            let error = serve(&served, &fd).await;
            panic!("a timerfd of our own can be set and read: {error}");
        });
        Ok(Self { shared, task })
    }

    /// Returns at `at`, or at once when that has passed.
    pub(crate) async fn wait_until(&self, at: Instant) {
        if at <= Instant::now() {
            return;
        }
        let (sender, receiver) = oneshot::channel();
        {
            let mut queue = self.shared.queue.borrow_mut();
            debug_assert!(queue.back().is_none_or(|(last, _)| *last <= at), "times in order");
            queue.push_back((at, sender));
        }
        self.shared.filled.notify_one();
        // The task holds the sender until it is due; it ends only with the timer.
        let _ = receiver.await;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Wakes waiters as they come due. Ends by an error alone.
async fn serve(shared: &Shared, fd: &AsyncFd<OwnedFd>) -> io::Error {
    loop {
        let next = shared.queue.borrow().front().map(|(at, _)| *at);
        let Some(at) = next else {
            shared.filled.notified().await;
            continue;
        };
        let now = Instant::now();
        if at <= now {
            let due = shared.queue.borrow_mut().pop_front();
            if let Some((_, waiter)) = due {
                // A waiter that went away needs no waking.
                let _ = waiter.send(());
            }
            continue;
        }
        if let Err(error) = sleep(fd, at - now).await {
            return error;
        }
    }
}

/// Sleeps for `delay` by the kernel's high resolution timer.
async fn sleep(fd: &AsyncFd<OwnedFd>, delay: Duration) -> io::Result<()> {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let value = Timespec {
        tv_sec: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(delay.subsec_nanos()).max(1),
    };
    timerfd_settime(
        fd,
        TimerfdTimerFlags::empty(),
        &Itimerspec { it_interval: zero, it_value: value },
    )?;
    loop {
        let mut guard = fd.readable().await?;
        let mut expirations = [0u8; 8];
        match rustix::io::read(fd, &mut expirations) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::AGAIN) => guard.clear_ready(),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::block_on;

    #[test]
    fn wakes_in_order_and_not_early() {
        block_on(async {
            let timer = Rc::new(Timer::start().expect("timerfd"));
            let base = Instant::now();
            let woken = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..20u32)
                .map(|i| {
                    let (timer, woken) = (Rc::clone(&timer), Rc::clone(&woken));
                    tokio::task::spawn_local(async move {
                        let at = base + Duration::from_micros(300) * i;
                        timer.wait_until(at).await;
                        assert!(Instant::now() >= at);
                        woken.borrow_mut().push(i);
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("no panic");
            }
            assert_eq!(*woken.borrow(), (0..20).collect::<Vec<_>>());
        })
        .expect("runtime");
    }
}
