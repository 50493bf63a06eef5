//! Checkers over recorded histories: what clients sent, what they were answered and when, and what
//! watchers saw. They judge any server that speaks etcd's API.
//!
//! | module | question |
//! |---|---|
//! | [`linear`] | is there an order of the operations that explains every answer? |
//! | [`serial`] | is the order that the revisions tell such an order? |
//! | [`watch`] | ordered, unique, atomic, resumable, reliable, bookmarkable: etcd's promises |
//! | [`lease`] | no lease ended early, none was forgotten |
//!
//! [`linear`] trusts nothing but the answers and is exponential at worst, hence its limits;
//! [`serial`] leans on revisions, takes `n log n` and sees across all keys. [`check`] runs all.
//!
//! **Architecture invariant:** pure. No clock, no randomness; time is a number of nanoseconds that
//! the recorder took from one monotonic clock.

pub mod history;
pub mod lease;
pub mod linear;
mod model;
mod partition;
pub mod report;
pub mod serial;
pub mod store;
pub mod verdict;
pub mod watch;

#[cfg(test)]
mod tests;

pub use history::History;
pub use report::{Options, Report, check};
pub use verdict::{Verdict, Violation};
