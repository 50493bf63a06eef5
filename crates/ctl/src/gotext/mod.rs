//! Values as Go's standard library writes and reads them. Scripts parse what etcdctl prints, so
//! the exact forms belong to its interface.

pub(crate) mod duration;
pub(crate) mod json;
pub(crate) mod number;
pub(crate) mod quote;
pub(crate) mod scan;
pub(crate) mod size;
pub(crate) mod words;
