//! Users, roles and permissions as a deterministic state machine, and the tokens of who logged in.
//!
//! [`AuthStore`] is changed by committed entries alone and stores what it changed as
//! [`storage::Op`]s; everyone else asks it whether a user may do something. [`SimpleTokens`] maps
//! tokens to users for as long as they are used.
//!
//! **Invariants**
//! - Every change of users or roles, and turning authentication off, raises the auth revision by one.
//!   Turning it on does not.
//! - A refused change leaves everything as it was, the revision too.
//! - The rights of a user are always those that the users and roles say: they are merged anew by the
//!   change that touches them.
//! - No password is kept or compared here but as a bcrypt hash.
//!
//! Source: etcd's auth store (spec `grpc.md` section 9, `storage.md` section 2).

mod change;
mod check;
mod error;
pub mod password;
mod rights;
mod store;
mod tokens;

pub use check::Identity;
pub use error::Error;
pub use store::{AuthStore, User};
pub use tokens::SimpleTokens;

/// The user that authentication cannot be on without.
pub const ROOT_USER: &str = "root";
/// The role that may do everything.
pub const ROOT_ROLE: &str = "root";
