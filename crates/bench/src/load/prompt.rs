//! The measuring thread runs soon after it wakes.
//!
//! On a machine that is busy with what goes on beside a load, an answer that has arrived would
//! otherwise count for as long as this thread waits for a processor. It asks the scheduler for a
//! shorter slice (Linux 6.12 and later), which gives it no more of the processors than before. Where
//! that is not known it is as it was.

use std::mem::size_of;

/// How long the thread runs at a time.
const SLICE_NANOS: u64 = 200_000;

/// While it lives, its thread is prompt. Threads and processes that are started meanwhile are too,
/// unless they call [`as_usual`].
pub(crate) struct Prompt(());

impl Prompt {
    /// Begins.
    pub(crate) fn begin() -> Self {
        set_slice(SLICE_NANOS);
        Self(())
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        as_usual();
    }
}

/// Has this thread run as long as any other.
pub(crate) fn as_usual() {
    set_slice(0);
}

fn set_slice(nanos: u64) {
    let Some(mut own) = attributes() else { return };
    if own.sched_policy == libc::SCHED_OTHER as u32 {
        own.sched_flags = 0;
        own.sched_runtime = nanos;
        // SAFETY: the system reads a live structure of the size that stands in it, and changes this
        // thread, whose number 0 stands for, alone.
        let _as_before = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const own, 0) };
    }
}

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

    #[test]
    fn a_thread_is_prompt_for_a_while() {
        let slice = || attributes().map(|own| own.sched_runtime);
        let before = slice();
        let prompt = Prompt::begin();
        // Systems that know no such time tell the same as before.
        assert!(slice() == Some(SLICE_NANOS) || slice() == before);
        let there = std::thread::spawn(move || {
            as_usual();
            slice()
        });
        assert_eq!(there.join().expect("no panic"), before);
        drop(prompt);
        assert_eq!(slice(), before);
    }
}
