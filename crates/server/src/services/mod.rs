//! The gRPC services, one file each: validate, call the handle, fill the header.

mod auth;
mod cluster;
mod election;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod range_stream;
mod session;
mod snapshot;
mod watch;

pub(crate) use snapshot::human_bytes;

use crate::handle::Handle;

pub(crate) use health::Health;

/// The implementation behind every service: a handle of the member.
#[derive(Clone)]
pub(crate) struct Services(pub(crate) Handle);
