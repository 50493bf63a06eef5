//! Memory by who has it. Allocations are not sampled, so there are no call stacks: the parts that
//! the allocator, the kernel and the member itself can count.

use std::fs;

use super::format::Profile;
use crate::handle::Handle;

/// A line of `/proc/self/status` in bytes.
fn status_bytes(status: &str, name: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: i64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The parts: name, allocations, bytes.
fn parts(handle: &Handle) -> Vec<(&'static str, i64, i64)> {
    let (in_use, free) = crate::metrics::heap().unwrap_or_default();
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let unflushed = handle.window.pending_bytes() as u64;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name| status_bytes(&status, name).unwrap_or(0);
    vec![
        ("heap.unflushed_changes", handle.window.pending_ops() as i64, bytes(unflushed)),
        ("heap.other_allocations", 1, bytes(in_use.saturating_sub(unflushed))),
        ("heap.free", 0, bytes(free)),
        ("mapped_files.resident", 0, of("RssFile")),
        ("stacks", 0, of("VmStk")),
    ]
}

/// The profile.
pub(crate) fn heap(handle: &Handle) -> Vec<u8> {
    let mut profile = Profile::new(&[
        ("alloc_objects", "count"),
        ("alloc_space", "bytes"),
        ("inuse_objects", "count"),
        ("inuse_space", "bytes"),
    ]);
    profile.comment("allocations are not sampled: these are parts of the process, not call stacks");
    for (name, objects, bytes) in parts(handle) {
        profile.add_named(name, vec![objects, bytes, objects, bytes]);
    }
    profile.gzipped()
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
}
