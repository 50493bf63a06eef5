//! What threads ask of the scheduler: those that serve requests, or measure them, to have their turn
//! soon, those that do slow work to give way to them.
//!
//! To give way is for work that takes long and holds no lock that a request waits for, or for moments
//! alone: a thread that has lost its processor while it holds one would keep the request waiting all
//! the longer.
//!
//! A thread begins with what the thread that starts it has asked for. What the system does not know
//! or does not allow is left as it is.

use std::mem::size_of;

/// How much a thread that gives way does so to all others: to an eighth of a share and less.
pub const NICENESS: libc::c_int = 10;
/// How long a prompt thread runs before others have their turn. A shorter time means an earlier one:
/// since Linux 6.12 a thread that wakes goes before one that asks for longer.
const PROMPT_NANOS: u64 = 200_000;

/// Has this thread give way, and run as long as any other. It never goes before a process that gives
/// way itself.
pub fn give_way() {
    // SAFETY: it reads and changes the priority of this thread, whose number 0 stands for, alone.
    // Where that is not allowed it goes on as it is.
    let _same_as_before = unsafe {
        let own = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS.max(own))
    };
    as_usual();
}

/// Lets those have the processor now that wait for it and may have it. For work that gives way, every
/// tenth of a millisecond or so: a thread that wakes up with its share used up is not let in at once,
/// and who has the processor then keeps it until something happens there, or until the next tick of
/// the clock, up to 4 ms later.
pub fn let_others() {
    std::thread::yield_now();
}

/// Has this thread run soon after it wakes, for a short time. It gets no more of the processors than
/// before.
pub fn be_prompt() {
    set_slice(PROMPT_NANOS);
}

/// Has this thread run as long as any other.
pub fn as_usual() {
    set_slice(0);
}

/// While it lives, its thread is prompt.
#[derive(Debug)]
pub struct Prompt(());

impl Prompt {
    /// Begins.
    pub fn begin() -> Self {
        be_prompt();
        Self(())
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        as_usual();
    }
}

/// Sets how long this thread runs at a time; 0 for as long as usual.
fn set_slice(nanos: u64) {
    let Some(mut own) = attributes() else { return };
    if own.sched_policy != libc::SCHED_OTHER as u32 {
        return;
    }
    own.sched_flags = 0;
    own.sched_runtime = nanos;
    // SAFETY: the system reads a live structure of the size that stands in it, and changes this
    // thread, whose number 0 stands for, alone.
    let _same_as_before = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const own, 0) };
}

/// What this thread has asked of the scheduler.
fn attributes() -> Option<libc::sched_attr> {
    let mut own = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the system writes at most as many bytes as it is told that the structure has.
    let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut own, own.size, 0) };
    (got == 0).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn own() -> libc::c_int {
        // SAFETY: it reads the priority of this thread.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    }

    fn slice() -> Option<u64> {
        attributes().map(|own| own.sched_runtime)
    }

    /// What a thread that is started here has after `work`.
    fn there(work: fn()) -> Option<u64> {
        let thread = thread::spawn(move || {
            work();
            slice()
        });
        thread.join().unwrap()
    }

    #[test]
    fn only_the_thread_that_asks_gives_way() {
        let before = own();
        let there = thread::spawn(|| {
            give_way();
            own()
        });
        assert_eq!(there.join().unwrap(), NICENESS.max(before));
        assert_eq!(own(), before);
    }

    #[test]
    fn a_prompt_thread_has_the_priority_that_it_had() {
        let here = slice();
        let thread = thread::spawn(|| {
            let before = own();
            be_prompt();
            (before == own(), slice(), there(give_way))
        });
        let (same, prompt, giving) = thread.join().unwrap();
        assert!(same);
        // Systems that know no such time tell 0, or always the same.
        assert!(prompt == Some(PROMPT_NANOS) || prompt == here);
        assert_eq!(giving, here);
        assert_eq!(slice(), here);
    }

    #[test]
    fn a_thread_is_prompt_for_a_while() {
        let before = slice();
        let prompt = Prompt::begin();
        assert!(slice() == Some(PROMPT_NANOS) || slice() == before);
        assert_eq!(there(as_usual), before);
        drop(prompt);
        assert_eq!(slice(), before);
    }
}
