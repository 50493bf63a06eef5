//! Profiles of this process in pprof's format, for `/debug/pprof/` (`--enable-pprof`): what Go's
//! tools ask of an etcd, answered with what there is of it here.

mod cpu;
mod format;
mod memory;
mod symbol;
mod threads;

pub(crate) use cpu::sample;
pub(crate) use format::Profile;
pub(crate) use memory::heap;
pub(crate) use symbol::name_of;
pub(crate) use threads::{list, threads};

/// The profile of a kind that nothing is recorded for: of locks, and of what waits for them.
pub(crate) fn empty() -> Vec<u8> {
    Profile::new(&[("contentions", "count"), ("delay", "nanoseconds")]).gzipped()
}
