//! Memory by who has it. Allocations are not sampled, so there are no call stacks: the parts that
//! the allocator, the kernel and the member itself can count.

use std::fs;

use super::format::Profile;
use crate::{
    handle::Handle,
    metrics::{heap as memory, status_bytes},
};

/// The parts: name, allocations, bytes.
fn parts(handle: &Handle) -> Vec<(&'static str, i64, i64)> {
    let memory = memory();
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let unflushed = handle.window.pending_bytes() as u64;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name| bytes(status_bytes(&status, name).unwrap_or(0));
    vec![
        ("heap.unflushed_changes", handle.window.pending_ops() as i64, bytes(unflushed)),
        ("heap.other_allocations", 1, bytes(memory.in_use.saturating_sub(unflushed))),
        ("private.not_allocated", 0, bytes(memory.idle())),
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
