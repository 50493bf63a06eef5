//! Snapshots of a member: what is in one, and a data dir made from one.

mod hash;
pub(crate) use hash::verified;
mod restore;
mod status;
#[cfg(test)]
mod tests;

pub use restore::{Restore, restore};
pub use status::{Status, status};
