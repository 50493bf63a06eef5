//! TLS for listeners and connections, by etcd's rules (`client/pkg/transport`), on rustls and ring.
//!
//! [`Acceptor`] turns accepted sockets into [`Stream`]s and says who is at the other end
//! ([`PeerIdentity`]); [`Connector`] opens connections. Both read certificates, keys, authorities
//! and lists of revoked certificates again when their files change. [`self_signed`] makes the
//! certificates of `--auto-tls`.
//!
//! Invariants: a certificate that is reported as verified was verified on that very connection
//! (sessions are never resumed where certificates matter); a handshake has a deadline and one of a
//! bounded number of places; nothing that a stranger sends can panic.

mod accept;
mod algorithms;
mod chain;
mod connect;
mod crl;
mod der;
mod ecdsa;
mod error;
mod handshakes;
mod host_name;
mod identity;
mod key_pair;
mod p521;
mod parts;
mod policy;
mod reload;
mod remote;
pub mod self_signed;
mod stream;
#[cfg(test)]
mod tests;
mod verifier;
mod x509;

pub use accept::{Acceptor, ServerOptions};
pub use connect::{ClientOptions, Connector, Scheme};
pub use error::Error;
pub use identity::{PeerIdentity, VerifiedCertificate};
pub use parts::{check_key_pair, common_name};
pub use policy::Policy;
pub use stream::{Socket, Stream};
pub use verifier::Allowed;

/// HTTP/2 as a protocol of ALPN.
pub const HTTP2: &str = "h2";
/// HTTP/1.1 as a protocol of ALPN.
pub const HTTP1: &str = "http/1.1";
