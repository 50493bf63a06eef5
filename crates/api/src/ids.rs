//! Identifiers as newtypes, so that an index is never taken for a revision.

/// A newtype over an integer, shown as etcd shows it.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

id!(
    /// A member of a cluster; printed in hex.
    MemberId(u64), "{:x}");
id!(
    /// A cluster; printed in hex.
    ClusterId(u64), "{:x}");
id!(
    /// A lease; negative ones are allowed; printed in 16 hex digits.
    LeaseId(i64), "{:016x}");
id!(
    /// A position in the raft log; the first entry is 1, 0 is before all.
    RaftIndex(u64), "{}");
id!(
    /// A raft term (raft paper, section 5.1).
    Term(u64), "{}");

impl RaftIndex {
    /// The index after this one.
    pub fn next(self) -> RaftIndex {
        RaftIndex(self.0 + 1)
    }
}

/// A position in the history of the store: transaction `main`, change `sub` within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision {
    /// The transaction; the empty store is at 1.
    pub main: i64,
    /// The change within the transaction, from 0.
    pub sub: i64,
}
