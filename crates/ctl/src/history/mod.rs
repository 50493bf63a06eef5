//! The past of keys: `history`, `diff`, and `get --at-rev`.

pub(crate) mod diff;
pub(crate) mod get;
pub(crate) mod lines;
pub(crate) mod log;
mod replay;

#[cfg(test)]
mod tests;
