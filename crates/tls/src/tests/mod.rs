//! Connections between an [`crate::Acceptor`] and a [`crate::Connector`], with certificates made
//! for the purpose or by other programs.

pub(crate) mod authority;
mod files;
mod handshake;
mod limits;
mod other_makers;
mod pair;
