//! The simulator: the deterministic layers driven from one seed, checked against the model.
//!
//! [`against_model`] runs one member's state machine on random requests and compares everything that
//! can be seen of it with [`model::Model`]: answers, history, events, leases, what a crash leaves.

pub mod against_model;
pub mod requests;
