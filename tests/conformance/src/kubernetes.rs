//! The traffic of a Kubernetes API server, replayed: its storage layer in small, and a scenario
//! that checks every answer that a real API server relies on.
//!
//! Source: the calls of `k8s.io/apiserver/pkg/storage/etcd3`, as seen from the server.

mod replay;
mod store;

pub use self::{
    replay::{Scale, replay},
    store::{Object, Page, Store, Write},
};
