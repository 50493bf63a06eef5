//! The simulator: the deterministic layers driven from one seed, checked against the model.
//!
//! [`against_model`] runs one member's state machine on random requests and compares everything that
//! can be seen of it with [`model::Model`]: answers, history, events, leases, what a crash leaves.
//!
//! [`cluster`] runs whole clusters on a simulated network, disk and clock. What it can see is shown
//! by the mutants that it catches: `sins`, in builds with the feature `switch`.

pub mod against_model;
pub mod cluster;
pub mod requests;
pub mod runner;
#[cfg(feature = "switch")]
pub mod sins;
pub mod verdict;
