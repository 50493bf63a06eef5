//! One raft member as a pure machine: [`Input`]s go in, [`Output`]s come out, nothing else happens.
//!
//! ```text
//! Propose, Tick, Message, ReadIndex ... -> Node::handle      (changes state)
//!                                          Node::poll_ready  (hands out what is due, one batch)
//!     Commit, Send, Persist, ReadReady ... <-
//! Persisted, Applied, ApplyConfChange  -> Node::handle       (the driver's acknowledgements)
//! ```
//!
//! **Architecture invariant:** no clock, thread, socket, disk or unseeded randomness: the same inputs
//! from the same seed give the same outputs. raft-rs is an implementation detail: its message types
//! are named in `convert` alone and never leave the crate; the boundary speaks `api::raftpb`.

pub mod bootstrap;
pub mod config;
mod convert;
pub mod input;
mod log;
pub mod node;
pub mod output;
mod pace;
pub mod progress;
mod proposals;
mod reads;
mod timeout;

#[cfg(test)]
mod tests;

pub use bootstrap::bootstrap_entries;
pub use config::{Config, Error, Recovered};
pub use input::Input;
pub use node::{Node, PeerProgress, ReplicationState, Status};
pub use output::{Output, Refusal, Role};
