//! The past of keys: `history`, `diff`, and `get --at-rev`.

pub(crate) mod get;
