//! The store of etcd's v2 API: a tree of directories and files with an index of its own, times to
//! live, a history of its last thousand events, and watchers.
//!
//! Everything that changes the tree comes through raft and is applied in order, so that members agree
//! on every index. Time is passed in: as nanoseconds since 1970. A node whose time is up stays until
//! [`Store::expire`] is told a time, which etcd's leader proposes.
//!
//! **Invariants**
//! - [`Store::index`] grows by one with every event, and each event is in the history: the history
//!   has no gaps.
//! - The nodes of `/0`, the members, are kept by the `membership` crate; here their changes count and
//!   are events ([`Store::outside`]), no more.
//! - What changed since the last [`Store::take_ops`] is what that returns: rows that go into the
//!   backend together with the index of the entry that they came of. No row is written twice in one
//!   call, and a change of one node does not write others.
//! - Nothing here recurses along a path: a path may be as long as an entry.
//!
//! Source: etcd 3.4, behaviour of its v2 keys API (spec `http.md` section 5).

mod error;
mod event;
mod history;
mod hub;
mod path;
mod rows;
mod save;
mod stats;
mod store;
pub mod text;
mod tree;

pub use error::{Code, Error};
pub use event::{Action, Event, NodeView};
pub use history::HISTORY_MAX;
pub use hub::{Sink, WatcherId};
pub use path::{clean, join};
pub use rows::LoadError;
pub use save::RecoverError;
pub use stats::{Counts, Stats};
pub use store::{Compare, Store, Ttl};
