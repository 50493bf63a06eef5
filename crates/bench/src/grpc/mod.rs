//! A gRPC client of the smallest cost: HTTP/2 frames by `h2`, on one thread, without a stub.
//!
//! Invariants: nothing here is `Send` or needs a lock of its own; a connection is one task; a call
//! copies its message once, into the write buffer of its connection.

pub(crate) mod channel;
pub(crate) mod frame;
pub(crate) mod method;
pub(crate) mod socket;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod target;

#[cfg(test)]
mod tests;
