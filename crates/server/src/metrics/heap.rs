//! Memory of the process's own: what is allocated, and what the kernel has in memory for it.
//!
//! The program's allocator counts what the program asks it for; parts in C (LMDB) have the C library's.
//! What either keeps of the kernel cannot be asked for: mimalloc does not subtract what it gave back.
//! So the kernel is asked.

use std::{fs, sync::OnceLock};

/// Counts the bytes that the program's allocator has given out.
static COUNT: OnceLock<fn() -> u64> = OnceLock::new();

/// Memory at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heap {
    /// Bytes of all allocations, in memory or not.
    pub(crate) in_use: u64,
    /// Bytes in memory that are the process's own, not of files: allocations, what allocators keep for
    /// the next ones, stacks.
    pub(crate) private: u64,
}

impl Heap {
    /// Private memory that is no allocation's.
    pub(crate) fn idle(self) -> u64 {
        self.private.saturating_sub(self.in_use)
    }
}

/// Has [`heap`] count by `in_use` what is not the C library's.
pub(crate) fn count_by(in_use: fn() -> u64) {
    // Whoever came first has the same allocator.
    let _already = COUNT.set(in_use);
}

/// Memory now.
pub(crate) fn heap() -> Heap {
    let counted = COUNT.get().map_or(0, |count| count());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let private = status_bytes(&status, "RssAnon").unwrap_or_default();
    Heap { in_use: counted + of_the_c_library(), private }
}

/// A line of `/proc/self/status` in bytes.
pub(crate) fn status_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(target_env = "gnu")]
fn of_the_c_library() -> u64 {
    // SAFETY: the call has no arguments and returns plain numbers.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks as u64 + info.hblkhd as u64
}

#[cfg(not(target_env = "gnu"))]
fn of_the_c_library() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_from_the_status_of_a_process() {
        let status = "VmPeak:\t 1 kB\nRssFile:\t      1200 kB\nThreads:\t3\n";
        assert_eq!(status_bytes(status, "RssFile"), Some(1200 * 1024));
        assert_eq!(status_bytes(status, "Threads"), None);
        assert_eq!(status_bytes(status, "Rss"), None);
    }

    #[test]
    fn memory_beyond_what_is_allocated_is_idle() {
        assert_eq!(Heap { in_use: 3, private: 10 }.idle(), 7);
        assert_eq!(Heap { in_use: 10, private: 3 }.idle(), 0);
    }

    #[test]
    fn what_is_counted_for_the_program_is_added_to_what_c_has() {
        const COUNTED: u64 = 1 << 50;
        count_by(|| COUNTED);
        assert!((COUNTED..2 * COUNTED).contains(&heap().in_use));
        assert!(heap().private > 0);
    }
}
