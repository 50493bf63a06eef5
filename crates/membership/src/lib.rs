//! Who belongs to the cluster: members, learners, those removed for ever, and the cluster version.
//!
//! Pure data and rules. Changes come as applied raft entries; what must be stored leaves as
//! [`storage::Op`]s. Identifiers and JSON forms are etcd's (spec `storage.md` sections 2 and 8).
//!
//! **Invariants**
//! - A removed id never belongs to a member again.
//! - No peer URL belongs to two members.
//! - What is in memory is what the backend holds once all ops so far are committed.

mod change;
mod id;
mod initial;
mod json;
mod load;
mod member;
mod membership;
pub mod urls;
mod v2store;
mod version;

pub use change::{Change, Invalid};
pub use id::{cluster_id, member_id};
pub use initial::{BootstrapError, InitialCluster};
pub use json::{
    change_context, conf_state, member_from_json, member_to_json, members_from_json,
    members_to_json,
};
pub use load::LoadError;
pub use member::Member;
pub use membership::{AttributesOutcome, Downgrade, Membership};
pub use v2store::V2Put;
pub use version::Version;
