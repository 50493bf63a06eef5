//! An answer sent by the thread that has it.
//!
//! A thread with a single answer would wake the thread of the connection to send it, and on a machine
//! with little to do that takes longer than sending. So it may visit the connection: it polls it
//! itself, once, with everything of the connection's own thread around it.
//!
//! Invariants: a connection is polled by one thread at a time; one that is being polled, or that has
//! long answers under way, is not visited but woken; what wakes a connection during a visit, other
//! than the visit itself, wakes its own thread.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use parking_lot::Mutex;

use super::{
    HOME, Task,
    roaming::{Place, counting},
};

/// How often a connection is polled in a visit: giving its library an answer wakes it once more.
const POLLS_MAX: usize = 2;

/// A connection while it is on one thread.
pub(super) struct Seat {
    /// `None` when it has ended, or moved.
    work: Mutex<Option<Task>>,
    /// Wakes the task that polls it on its thread; known once that has polled it.
    task: OnceLock<Waker>,
    /// Long answers that it has under way.
    answers: Arc<AtomicUsize>,
    /// The thread.
    place: Place,
    /// Whether others may visit it here.
    is_open: bool,
}

/// What this thread makes of a wake-up of a connection.
enum Manner {
    /// Its own thread is woken.
    Wake,
    /// An answer is being given: the connection is put here to be visited.
    Note(Option<Arc<Seat>>),
    /// This connection is being visited; whether it has been woken by that.
    Visit(*const Seat, bool),
}

thread_local! {
    static MANNER: RefCell<Manner> = const { RefCell::new(Manner::Wake) };
    /// Whether this thread is to visit whom it answers; whom it has answered.
    static ATTENDED: RefCell<Option<Option<Arc<Seat>>>> = const { RefCell::new(None) };
}

/// Does `work`. The connection that waits for the first answer that is given in it with [`note`] is
/// polled by this thread afterwards. For threads with nothing else to do, and where no lock is held.
pub(crate) fn attend<T>(work: impl FnOnce() -> T) -> T {
    ATTENDED.set(Some(None));
    let done = work();
    if let Some(Some(seat)) = ATTENDED.take() {
        seat.visit();
    }
    done
}

/// Whether a connection is being visited: it sends its answers and begins nothing new.
pub(crate) fn is_visit() -> bool {
    MANNER.with_borrow(|manner| matches!(manner, Manner::Visit(..)))
}

/// Gives an answer. The connection that this wakes is noted, if this thread attends ([`attend`]).
pub(crate) fn note(answer: impl FnOnce()) {
    if ATTENDED.with_borrow(|attended| !matches!(attended, Some(None))) {
        return answer();
    }
    let before = MANNER.replace(Manner::Note(None));
    answer();
    if let Manner::Note(Some(seat)) = MANNER.replace(before) {
        ATTENDED.set(Some(Some(seat)));
    }
}

impl Seat {
    /// A seat for a connection in this place.
    pub(super) fn new(
        work: Task,
        answers: Arc<AtomicUsize>,
        place: Place,
        is_open: bool,
    ) -> Arc<Seat> {
        let (work, task) = (Mutex::new(Some(work)), OnceLock::new());
        Arc::new(Seat { work, task, answers, place, is_open })
    }

    /// Whether long answers are under way.
    pub(super) fn has_long(&self) -> bool {
        self.answers.load(Ordering::Relaxed) > 0
    }

    /// Takes the connection away, for good.
    pub(super) fn take(&self) -> Option<Task> {
        self.work.lock().take()
    }

    /// Polls the connection on its own thread. Ready when it is over.
    pub(super) fn poll(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.task.get_or_init(|| cx.waker().clone());
        assert!(task.will_wake(cx.waker()), "a connection has one task");
        let mut work = self.work.lock();
        self.poll_work(&mut work)
    }

    fn poll_work(self: &Arc<Self>, slot: &mut Option<Task>) -> Poll<()> {
        let Some(work) = slot else { return Poll::Ready(()) };
        let waker = Waker::from(self.clone());
        let polled =
            counting(&self.answers, || Pin::new(work).poll(&mut Context::from_waker(&waker)));
        if polled.is_ready() {
            *slot = None;
        }
        polled
    }

    /// Polls the connection on a thread that is not its own.
    fn visit(self: Arc<Self>) {
        let Some(mut work) = self.work.try_lock() else { return self.wake_task() };
        if self.has_long() {
            drop(work);
            return self.wake_task();
        }
        let inside = self.place.runtime.enter();
        let home = HOME.replace(Some(self.place.mailbox.clone()));
        let mut to_do = true;
        for _ in 0..POLLS_MAX {
            let before = MANNER.replace(Manner::Visit(Arc::as_ptr(&self), false));
            let polled = self.poll_work(&mut work);
            let woken = matches!(MANNER.replace(before), Manner::Visit(_, true));
            // The task ends with the connection, and it moves it.
            to_do = woken || polled.is_ready() || self.has_long();
            if !woken || polled.is_ready() {
                break;
            }
        }
        HOME.set(home);
        drop(inside);
        drop(work);
        if to_do {
            self.wake_task();
        }
    }

    fn wake_task(&self) {
        if let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
    }
}

impl Wake for Seat {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let taken = MANNER.with_borrow_mut(|manner| match manner {
            Manner::Note(noted @ None) if self.is_open => {
                *noted = Some(self.clone());
                true
            }
            Manner::Note(Some(noted)) => Arc::ptr_eq(noted, self),
            Manner::Visit(visited, woken) if std::ptr::eq(*visited, Arc::as_ptr(self)) => {
                *woken = true;
                true
            }
            _ => false,
        });
        if !taken {
            self.wake_task();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::{
        super::{Cores, Long, Mailbox, home},
        *,
    };

    fn name() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    /// What a connection says.
    enum Word {
        /// It waits for the next answer; the mailbox of its thread.
        Waits(Arc<Mailbox>),
        /// On which thread it has the answer.
        Has(String),
    }

    /// A connection that waits for answers. It begins a long one before it waits for those with `true`.
    fn connection(
        cores: &Cores,
        answers: Vec<(oneshot::Receiver<()>, bool)>,
    ) -> mpsc::Receiver<Word> {
        let (told, heard) = mpsc::channel();
        cores.spawn(move || async move {
            for (answer, is_long) in answers {
                let long = is_long.then(Long::begin);
                told.send(Word::Waits(home().expect("its own thread is around it"))).unwrap();
                answer.await.unwrap();
                drop(long);
                // A timer needs its runtime.
                drop(tokio::time::sleep(std::time::Duration::from_secs(1)));
                told.send(Word::Has(name())).unwrap();
            }
        });
        heard
    }

    /// Waits until the connection does, and is polled by nobody.
    fn until_it_waits(told: &mpsc::Receiver<Word>) {
        let Word::Waits(mailbox) = told.recv().unwrap() else { panic!("it has an answer") };
        let (opened, wait) = mpsc::channel();
        mailbox.post(Box::new(move || opened.send(()).unwrap()));
        wait.recv().unwrap();
    }

    /// On which thread it has the answer.
    fn answered(told: &mpsc::Receiver<Word>) -> String {
        let Word::Has(thread) = told.recv().unwrap() else { panic!("it has no answer") };
        thread
    }

    #[test]
    fn who_attends_sends_a_noted_answer_itself() {
        let cores = Cores::start().unwrap();
        let (senders, answers): (Vec<_>, Vec<_>) = (0..5).map(|_| oneshot::channel()).unzip();
        let long = [false, false, false, true, false];
        let told = connection(&cores, answers.into_iter().zip(long).collect());
        let here = name();
        let mut senders = senders.into_iter();
        let mut answer = move || senders.next().unwrap().send(()).unwrap();
        until_it_waits(&told);
        attend(|| note(&mut answer));
        assert!(matches!(told.try_recv(), Ok(Word::Has(thread)) if thread == here));
        assert!(matches!(told.try_recv(), Ok(Word::Waits(_))), "it is polled to its end");
        attend(&mut answer);
        assert!(answered(&told).starts_with("client-"), "nothing is noted");
        until_it_waits(&told);
        note(&mut answer);
        assert!(answered(&told).starts_with("client-"), "nobody attends");
        until_it_waits(&told);
        attend(|| note(&mut answer));
        assert!(answered(&told).starts_with("long-"), "it has a long answer to send");
        until_it_waits(&told);
        attend(|| note(&mut answer));
        assert!(!answered(&told).starts_with("long-"));
        assert!(told.recv().is_err());
    }

    #[test]
    fn a_connection_that_is_being_polled_is_woken() {
        let cores = Cores::start().unwrap();
        let (sender, answer) = oneshot::channel();
        let (other_sender, other) = oneshot::channel();
        let (told, heard) = mpsc::channel();
        let (go, wait) = mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        cores.spawn(move || async move {
            let mut answer = answer;
            let first = std::future::poll_fn(|cx| {
                let polled = Pin::new(&mut answer).poll(cx);
                if polled.is_pending() {
                    told.send("polling".to_owned()).unwrap();
                    wait.lock().recv().unwrap();
                }
                polled
            });
            first.await.unwrap();
            told.send(name()).unwrap();
            // Woken by another in a visit: that is not the visitor's affair.
            other.await.unwrap();
            told.send(name()).unwrap();
        });
        assert_eq!(heard.recv().unwrap(), "polling");
        attend(|| note(|| sender.send(()).unwrap()));
        assert!(heard.try_recv().is_err());
        go.send(()).unwrap();
        assert!(heard.recv().unwrap().starts_with("client-"));
        other_sender.send(()).unwrap();
        assert!(heard.recv().unwrap().starts_with("client-"));
    }

    #[test]
    fn the_second_answer_wakes_its_connection() {
        let cores = Cores::start().unwrap();
        let (senders, told): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| {
                let (sender, answer) = oneshot::channel();
                let told = connection(&cores, vec![(answer, false)]);
                until_it_waits(&told);
                (sender, told)
            })
            .unzip();
        attend(|| senders.into_iter().for_each(|sender| note(|| sender.send(()).unwrap())));
        assert_eq!(answered(&told[0]), name());
        assert!(answered(&told[1]).starts_with("client-"));
    }
}
