//! Protocol messages as JSON and back, by the rules of etcd's gateway: proto field names out, either
//! name in, 64-bit numbers as strings, bytes as base64, default values left out, unknown fields and
//! unknown enum names passed over.
//!
//! Works on encoded messages and tables of their fields ([`METHODS`], generated from the `.proto`
//! files), with no type of its own for any message. Pure: no clock, thread or socket. The texts of
//! errors are those that etcd's clients get from Go's JSON libraries (spec http.md section 3.2).
//!
//! Invariants: what [`decode`] gives is a well-formed encoded message; [`encode`] gives one line.

mod decode;
mod encode;
mod schema;
mod splitter;
mod text;
mod token;

pub use decode::decode;
pub use encode::{encode, write_string};
pub use schema::{Enum, Field, Kind, Message, Method};
pub use splitter::Splitter;
pub use tables::METHODS;
pub use text::text;

/// What the messages of the services look like.
#[rustfmt::skip]
#[allow(missing_docs)]
mod tables {
    use super::{Enum, Field, Kind, Message, Method};

    include!("generated/tables.rs");
}

/// The method with this path, `/package.Service/Method`.
pub fn method(path: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.path == path)
}

/// Why something is not what was expected: a text for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(pub(crate) String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests;
