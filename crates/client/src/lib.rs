//! A client of the etcd API over gRPC: several endpoints behind one handle, retries that never
//! repeat a write which may have been applied, tokens, watches that resume, leases kept alive, and
//! the lock and election recipes.
//!
//! [`client::Client`] is cheap to clone; a clone may carry a deadline or ask for a leader. Every
//! unary call of the API is a method that takes the request message ([`rpc`]).
//!
//! **Architecture invariant:** knows etcd's API only; nothing of the server's crates.

mod balancer;
mod channel;
pub mod client;
pub mod config;
mod connect;
pub mod discovery;
pub mod dns;
pub mod election;
pub mod endpoint;
pub mod error;
#[cfg(test)]
mod fake;
pub mod kv;
pub mod lease;
pub mod mutex;
mod queue;
mod retry;
pub mod rpc;
pub mod session;
pub mod stream;
pub mod watch;
