//! The simulator: the deterministic layers driven from one seed, checked against the model.
//!
//! [`against_model`] runs one member's state machine on random requests and compares everything that
//! can be seen of it with [`model::Model`]: answers, history, events, leases, what a crash leaves.

//!
//! [`cluster`] runs whole clusters on a simulated network, disk and clock.

pub mod against_model;
pub mod cluster;
pub mod requests;
