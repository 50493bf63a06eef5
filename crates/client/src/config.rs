//! What a client is made from.

use std::time::Duration;

use crate::endpoint::Endpoint;

/// The largest request that etcd's clients send unless told otherwise.
pub const DEFAULT_MAX_REQUEST_BYTES: usize = 2 * 1024 * 1024;
/// The largest response that etcd's clients take unless told otherwise.
pub const DEFAULT_MAX_RECV_BYTES: usize = i32::MAX as usize;
/// Pings closer than this make servers close the connection; gRPC clients never send them.
pub const MIN_KEEPALIVE_TIME: Duration = Duration::from_secs(10);

/// Who the client is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and password, exchanged for a token, again when the token is refused.
    Password {
        /// The user.
        name: String,
        /// The user's password.
        password: String,
    },
    /// A token that was signed elsewhere; never refreshed.
    Token(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credentials::Password { name, .. } => write!(f, "Password({name})"),
            Credentials::Token(_) => f.write_str("Token"),
        }
    }
}

/// Settings of a client.
#[derive(Clone)]
pub struct Config {
    /// The cluster's endpoints; at least one.
    pub endpoints: Vec<Endpoint>,
    /// Bound on fetching the first token, and on one attempt to connect.
    pub dial_timeout: Option<Duration>,
    /// Ping a connection that has calls but was silent for this long; at least
    /// [`MIN_KEEPALIVE_TIME`] is waited.
    pub keepalive_time: Option<Duration>,
    /// Close a connection whose ping was not answered for this long.
    pub keepalive_timeout: Duration,
    /// The largest request in bytes.
    pub max_request_bytes: usize,
    /// The largest response in bytes.
    pub max_recv_bytes: usize,
    /// Who the client is, if anybody.
    pub credentials: Option<Credentials>,
    /// What TLS connections are opened with; made by [`connector`]. Without it, `https` endpoints
    /// must have certificates that the system trusts, and others are spoken to without TLS.
    pub tls: Option<tls::Connector>,
}

/// A connector for gRPC over TLS, with its files read.
pub fn connector(options: tls::ClientOptions) -> Result<tls::Connector, tls::Error> {
    tls::Connector::new(tls::ClientOptions { protocols: vec![tls::HTTP2], ..options })
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("endpoints", &self.endpoints)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The settings of etcd's clients for these endpoints, without credentials.
    pub fn new(endpoints: Vec<Endpoint>) -> Config {
        Config {
            endpoints,
            dial_timeout: None,
            keepalive_time: None,
            keepalive_timeout: Duration::from_secs(20),
            max_request_bytes: DEFAULT_MAX_REQUEST_BYTES,
            max_recv_bytes: DEFAULT_MAX_RECV_BYTES,
            credentials: None,
            tls: None,
        }
    }
}
