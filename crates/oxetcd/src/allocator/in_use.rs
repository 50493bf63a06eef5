//! How many bytes are allocated. The allocator itself knows how much it has of the kernel alone, and
//! on Linux it does not subtract what it has given back.
//!
//! Each thread counts for itself, and adds to the sum of all when it has counted much, and when it
//! ends: the sum is right but for [`UNSUMMED_MAX`] a thread.
//!
//! A block that is taken and let go of at once costs about a nanosecond more for it: 9.3 ns instead of
//! 8.2, the best of nine rounds each.
//!
//! Invariant: counting takes no memory of the allocator but where a thread counts for the first time,
//! and by then it counts already.

use std::{
    cell::Cell,
    sync::atomic::{AtomicIsize, Ordering},
};

/// What a thread has counted and not added to the sum is at most this much, either way.
const UNSUMMED_MAX: isize = 32 * 1024;
/// A count that no block can bring within the bounds.
const NOT_COUNTING: isize = isize::MIN / 2;

/// The sum.
static SUM: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static UNSUMMED: Cell<isize> = const { Cell::new(NOT_COUNTING) };
    static HAS_ENDED: Cell<bool> = const { Cell::new(false) };
    static END: End = const { End };
}

/// Adds to the sum what is left when its thread ends.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        HAS_ENDED.set(true);
        SUM.fetch_add(UNSUMMED.replace(NOT_COUNTING), Ordering::Relaxed);
    }
}

/// Bytes of all blocks as they were asked for.
pub(crate) fn bytes() -> u64 {
    u64::try_from(SUM.load(Ordering::Relaxed)).unwrap_or(0)
}

/// Counts bytes that are taken, or, below zero, let go of.
#[inline]
pub(super) fn count(change: isize) {
    let unsummed = UNSUMMED.get() + change;
    if (-UNSUMMED_MAX..=UNSUMMED_MAX).contains(&unsummed) {
        UNSUMMED.set(unsummed);
    } else {
        add(change);
    }
}

#[cold]
fn add(change: isize) {
    if HAS_ENDED.get() {
        // What other parts of the thread let go of as it ends.
        SUM.fetch_add(change, Ordering::Relaxed);
        return;
    }
    let unsummed = UNSUMMED.replace(0);
    if unsummed == NOT_COUNTING {
        SUM.fetch_add(change, Ordering::Relaxed);
        END.with(|_| ());
    } else {
        SUM.fetch_add(unsummed + change, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{hint::black_box, sync::Mutex, thread};

    const MIB: u64 = 1 << 20;
    /// Held by tests that have much.
    static MUCH: Mutex<()> = Mutex::new(());
    /// More than other tests have at a time.
    const OTHERS: u64 = 8 * MIB;

    #[test]
    fn what_is_taken_is_counted_until_it_is_let_go_of() {
        let _much = MUCH.lock().unwrap();
        let before = bytes();
        let block = black_box(vec![1_u8; 64 << 20]);
        let during = bytes();
        let block = black_box([block, vec![2; 32 << 20]].concat());
        let grown = bytes();
        drop(block);
        let after = bytes();
        assert!(during.abs_diff(before + 64 * MIB) < OTHERS, "{before} {during}");
        assert!(grown.abs_diff(before + 96 * MIB) < OTHERS, "{before} {grown}");
        assert!(after.abs_diff(before) < OTHERS, "{before} {after}");
    }

    #[test]
    fn what_threads_leave_behind_is_counted() {
        const THREADS: u64 = 1000;
        let _much = MUCH.lock().unwrap();
        let before = bytes();
        // Too little for a thread to add to the sum before it ends.
        let left = |_| thread::spawn(|| black_box(vec![1_u8; 30 << 10])).join().unwrap();
        let left: Vec<Vec<u8>> = (0..THREADS).map(left).collect();
        let all = THREADS * (30 << 10);
        let during = bytes();
        drop(left);
        let after = bytes();
        assert!(during.abs_diff(before + all) < OTHERS, "{before} {during}");
        assert!(after.abs_diff(before) < OTHERS, "{before} {after}");
    }
}
