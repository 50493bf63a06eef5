//! mvcc.
