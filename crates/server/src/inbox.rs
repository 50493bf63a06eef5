//! The queue in front of a driver thread: many producers, one consumer that takes all at once.
//!
//! Taking the whole queue in one lock is what makes batches: while a thread works on one batch the
//! next one gathers. Every inbox has a limit; what cannot be refused (an answer of the member's own
//! disk) is pushed past it by name.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A bounded multi-producer queue drained in batches by one thread.
pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    limit: usize,
}

struct State<T> {
    /// Items that may wait for others.
    queue: Vec<T>,
    /// When the first of them came.
    since: Option<Instant>,
    /// The consumer is to be woken when this many are there.
    wake_at: usize,
    /// The first one wakes it, too: from then on it looks at the time.
    wake_first: bool,
    /// Items that cannot wait, and those pushed lazily, in order.
    urgent: Vec<T>,
    /// Whether the consumer has been woken for them.
    woken: bool,
    /// Whether it is to be woken for those pushed lazily.
    eager: bool,
    /// Items that need not wake anybody.
    quiet: Vec<T>,
}

/// How long items that may wait are left for others to join them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gather {
    /// Not at all.
    Nothing,
    /// Until so many are there, or the first has waited for so long.
    For(usize, Duration),
    /// Until so many are there, or something comes that cannot wait, which the consumer expects.
    UntilUrgent(usize),
}

impl Gather {
    /// So many are taken at once.
    fn enough(self) -> usize {
        match self {
            Gather::Nothing => 1,
            Gather::For(enough, _) | Gather::UntilUrgent(enough) => enough.max(1),
        }
    }
}

/// The inbox is at its limit; the item was not taken.
#[derive(Debug)]
pub(crate) struct Full;

impl<T> Inbox<T> {
    /// An empty inbox that refuses items beyond `limit`.
    pub(crate) fn new(limit: usize) -> Inbox<T> {
        let (queue, urgent, quiet) = (Vec::new(), Vec::new(), Vec::new());
        let state = State {
            queue,
            since: None,
            wake_at: 1,
            wake_first: true,
            urgent,
            woken: false,
            eager: true,
            quiet,
        };
        Inbox { state: Mutex::new(state), filled: Condvar::new(), limit }
    }

    /// Adds an item that may be refused, and may wait for others to make a batch.
    pub(crate) fn push(&self, item: T) -> Result<(), Full> {
        let mut state = self.state.lock();
        if state.queue.len() >= self.limit {
            return Err(Full);
        }
        state.queue.push(item);
        let is_first = state.queue.len() == 1;
        if is_first {
            state.since = Some(Instant::now());
        }
        if state.queue.len() == state.wake_at || (is_first && state.wake_first) {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Adds an item that is bounded by its nature, must not be lost and does not wait.
    pub(crate) fn push_always(&self, item: T) {
        let mut state = self.state.lock();
        state.urgent.push(item);
        if !std::mem::replace(&mut state.woken, true) {
            self.filled.notify_one();
        }
    }

    /// Adds an item that must not be lost, in order with those that cannot wait; it wakes nobody while
    /// the consumer is not eager for such.
    pub(crate) fn push_lazily(&self, item: T) {
        let mut state = self.state.lock();
        state.urgent.push(item);
        if state.eager && !std::mem::replace(&mut state.woken, true) {
            self.filled.notify_one();
        }
    }

    /// Whether items pushed lazily are to wake the consumer, which says so before it drains.
    pub(crate) fn set_eager(&self, eager: bool) {
        self.state.lock().eager = eager;
    }

    /// Adds an item that must not be lost and can wait for whatever comes next.
    pub(crate) fn push_quietly(&self, item: T) {
        self.state.lock().quiet.push(item);
    }

    /// Whether the consumer has been woken for items that it has not taken.
    #[cfg(test)]
    pub(crate) fn is_woken(&self) -> bool {
        self.state.lock().woken
    }

    /// Moves everything queued into `batch` (which must be empty), waiting until there is something
    /// or `deadline` has passed; for ever without a deadline.
    pub(crate) fn drain(&self, deadline: Option<Instant>, batch: &mut Vec<T>) {
        self.drain_many(deadline, Gather::Nothing, batch);
    }

    /// The same, but items that may wait are left as `gather` says.
    pub(crate) fn drain_many(&self, deadline: Option<Instant>, gather: Gather, batch: &mut Vec<T>) {
        assert!(batch.is_empty(), "an inbox is drained into an empty batch");
        let mut state = self.state.lock();
        state.wake_at = gather.enough();
        state.wake_first = matches!(gather, Gather::For(..));
        loop {
            let ripe_at = match gather {
                Gather::For(_, linger) => state.since.map(|since| since + linger),
                Gather::Nothing | Gather::UntilUrgent(_) => None,
            };
            let ripe = state.queue.len() >= gather.enough()
                || ripe_at.is_some_and(|at| at <= Instant::now())
                || (matches!(gather, Gather::UntilUrgent(_)) && !state.urgent.is_empty());
            if ripe || !state.urgent.is_empty() {
                state.take(ripe, batch);
                return;
            }
            let until = earliest(deadline, ripe_at);
            let Some(until) = until else {
                self.filled.wait(&mut state);
                continue;
            };
            let late = self.filled.wait_until(&mut state, until).timed_out();
            if late && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                state.take(false, batch);
                return;
            }
        }
    }
}

impl<T> State<T> {
    /// Moves out what is due; items that may wait only when `ripe`.
    fn take(&mut self, ripe: bool, batch: &mut Vec<T>) {
        if ripe {
            std::mem::swap(&mut self.queue, batch);
            self.since = None;
        }
        batch.append(&mut self.urgent);
        self.woken = false;
        batch.append(&mut self.quiet);
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_beyond_its_limit_and_drains_in_order() {
        let inbox = Inbox::new(2);
        inbox.push(1).unwrap();
        inbox.push(2).unwrap();
        assert!(inbox.push(3).is_err());
        inbox.push_always(4);
        let mut batch = Vec::new();
        inbox.drain(None, &mut batch);
        assert_eq!(batch, [1, 2, 4]);
        batch.clear();
        inbox.drain(Some(Instant::now()), &mut batch);
        assert!(batch.is_empty());
    }

    #[test]
    fn what_is_pushed_lazily_keeps_its_place_and_wakes_nobody() {
        let inbox = Inbox::new(0);
        let mut batch = Vec::new();
        inbox.set_eager(false);
        inbox.push_lazily(1);
        assert!(!inbox.is_woken());
        inbox.push_always(2);
        assert!(inbox.is_woken());
        inbox.push_lazily(3);
        inbox.drain(None, &mut batch);
        assert_eq!(batch, [1, 2, 3]);
        inbox.set_eager(true);
        inbox.push_lazily(4);
        assert!(inbox.is_woken());
        batch.clear();
        inbox.drain(None, &mut batch);
        assert_eq!(batch, [4]);
        std::thread::scope(|scope| {
            inbox.set_eager(false);
            let waits = scope.spawn(|| {
                let mut batch = Vec::new();
                inbox.drain(None, &mut batch);
                batch
            });
            inbox.push_lazily(5);
            inbox.push_always(6);
            let batch = waits.join().unwrap();
            assert!(batch == [5, 6] || batch == [5], "{batch:?}");
        });
    }

    #[test]
    fn what_may_wait_is_left_behind_by_what_cannot() {
        let inbox = Inbox::new(100);
        let long = Duration::from_secs(60);
        let mut batch = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..10).for_each(|item| inbox.push(item).unwrap()));
            inbox.drain_many(None, Gather::For(10, long), &mut batch);
        });
        assert_eq!(batch.len(), 10);
        inbox.push(1).unwrap();
        inbox.push_quietly(3);
        inbox.push_always(2);
        batch.clear();
        inbox.drain_many(None, Gather::For(10, long), &mut batch);
        assert_eq!(batch, [2, 3]);
        batch.clear();
        inbox.drain_many(None, Gather::For(10, Duration::from_millis(1)), &mut batch);
        assert_eq!(batch, [1], "it has waited long enough");
    }

    #[test]
    fn what_may_wait_goes_with_the_first_that_cannot() {
        let inbox = Inbox::new(100);
        let mut batch = Vec::new();
        inbox.push(1).unwrap();
        inbox.drain_many(Some(Instant::now()), Gather::UntilUrgent(3), &mut batch);
        assert!(batch.is_empty(), "it waits however long");
        inbox.push_always(2);
        inbox.drain_many(None, Gather::UntilUrgent(3), &mut batch);
        assert_eq!(batch, [1, 2]);
        batch.clear();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|item| inbox.push(item).unwrap()));
            inbox.drain_many(None, Gather::UntilUrgent(3), &mut batch);
        });
        assert_eq!(batch, [0, 1, 2], "so many do not wait");
        inbox.push(4).unwrap();
        batch.clear();
        inbox.drain_many(None, Gather::UntilUrgent(0), &mut batch);
        assert_eq!(batch, [4]);
    }
}
