//! Watching: the hub that carries every change to the watchers of its key, in order, once each.
//!
//! A watcher is a cursor over the history of the store: the next revision that it has not been
//! sent. Synced watchers stand where the hub stands and are fed from the batches of the apply path
//! (`hub/live.rs`); all others read history until they have caught up (`hub/catch_up.rs`). A
//! watcher whose client reads too slowly goes back to its cursor, costs nothing but that number,
//! and delays nobody.
//!
//! The crate does no I/O: history is a trait that mvcc fulfils, the queue to a client is a trait
//! that the server fulfils. Behaviour follows etcd's Watch service (its `mvcc/watchable_store.go`
//! and `v3rpc/watch.go` were read for facts).
//!
//! **Architecture invariants:** knows only `api`. For each watcher, what was delivered is exactly
//! the matching, unfiltered events of its range with a revision in `[start, cursor)`. No revision
//! is split over two deliveries. No progress revision passes an event that is still undelivered.

mod chunk;
pub mod delivery;
mod group;
pub mod history;
pub mod hub;
mod interval_map;
mod lineup;
pub mod request;
pub mod response;
pub mod watcher;
