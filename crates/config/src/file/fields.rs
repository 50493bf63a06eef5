//! The keys of the file: which flags are keys by their own name, and the keys that are no flags.

use crate::flags::{self, Kind};

/// One key.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    /// The path of keys, with dots.
    pub(crate) path: &'static str,
    /// The Go struct that Go's decoder names in an error, before the path.
    pub(crate) structure: &'static str,
    /// What fills it; `None` for a section.
    pub(crate) kind: Option<Kind>,
    /// The Go type of a section.
    pub(crate) go_type: &'static str,
    /// Whether a list is given as one text.
    pub(crate) one_text: bool,
}

/// Flags that the file has no key for, or has below a section under another name.
const NO_KEY: [&str; 7] = [
    "config-file",
    "version",
    "raft-read-timeout",
    "raft-write-timeout",
    "socket-reuse-port",
    "socket-reuse-address",
    "discovery-fallback",
];

/// Keys that stand for texts in Go and are turned into lists and gates afterwards.
const TEXT_KEYS: [&str; 8] = [
    "listen-peer-urls",
    "listen-client-urls",
    "listen-client-http-urls",
    "initial-advertise-peer-urls",
    "advertise-client-urls",
    "cors",
    "host-whitelist",
    "feature-gates",
];

/// The key of a flag's own name.
pub(crate) fn flat(name: &str) -> Option<Field> {
    let flag = flags::find(name)?;
    let older = matches!(flag.kind, Kind::Ignored | Kind::OlderName(_) | Kind::OlderGate(_));
    let discovery = name.starts_with("discovery-") && !name.starts_with("discovery-srv");
    if older || discovery || NO_KEY.contains(&name) || flags::is_certificate(flag) {
        return None;
    }
    let as_text = TEXT_KEYS.contains(&name);
    let structure = if as_text { "configYAML.configJSON" } else { "configYAML.Config" };
    let (path, kind) = (flag.name, Some(flag.kind));
    Some(Field { path, structure, kind, go_type: "", one_text: as_text })
}

/// Makes the rows: path, struct, kind or section's type.
macro_rules! fields {
    ($($path:literal, $structure:literal, $what:expr;)*) => {
        &[$(field($path, $structure, $what)),*]
    };
}

enum What {
    Value(Kind),
    Section(&'static str),
}

const fn field(path: &'static str, structure: &'static str, what: What) -> Field {
    let (kind, go_type) = match what {
        What::Value(kind) => (Some(kind), ""),
        What::Section(go_type) => (None, go_type),
    };
    Field { path, structure, kind, go_type, one_text: false }
}

use What::{Section, Value};

/// The keys below sections, and the sections.
pub(crate) const FIELDS: &[Field] = fields! {
    "client-transport-security", "configYAML.configJSON", Section("embed.securityConfig");
    "client-transport-security.cert-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.client_tls.cert_file));
    "client-transport-security.key-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.client_tls.key_file));
    "client-transport-security.client-cert-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.client_tls.client_cert_file));
    "client-transport-security.client-key-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.client_tls.client_key_file));
    "client-transport-security.client-cert-auth", "securityConfig.configJSON",
    Value(Kind::Bool(|c| &mut c.client_tls.client_cert_auth));
    "client-transport-security.trusted-ca-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.client_tls.trusted_ca_file));
    "client-transport-security.auto-tls", "securityConfig.configJSON",
    Value(Kind::Bool(|c| &mut c.client_tls.auto_tls));
    "client-transport-security.allowed-cn", "securityConfig.configJSON",
    Value(Kind::Words(|c| &mut c.client_tls.allowed_cn));
    "client-transport-security.allowed-hostname", "securityConfig.configJSON",
    Value(Kind::Words(|c| &mut c.client_tls.allowed_hostname));
    "client-transport-security.skip-client-san-verification", "securityConfig.configJSON",
    Value(Kind::Bool(|c| &mut c.client_tls.skip_client_san_verification));
    "peer-transport-security", "configYAML.configJSON", Section("embed.securityConfig");
    "peer-transport-security.cert-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.peer_tls.cert_file));
    "peer-transport-security.key-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.peer_tls.key_file));
    "peer-transport-security.client-cert-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.peer_tls.client_cert_file));
    "peer-transport-security.client-key-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.peer_tls.client_key_file));
    "peer-transport-security.client-cert-auth", "securityConfig.configJSON",
    Value(Kind::Bool(|c| &mut c.peer_tls.client_cert_auth));
    "peer-transport-security.trusted-ca-file", "securityConfig.configJSON",
    Value(Kind::Text(|c| &mut c.peer_tls.trusted_ca_file));
    "peer-transport-security.auto-tls", "securityConfig.configJSON",
    Value(Kind::Bool(|c| &mut c.peer_tls.auto_tls));
    "peer-transport-security.allowed-cn", "securityConfig.configJSON",
    Value(Kind::Words(|c| &mut c.peer_tls.allowed_cn));
    "peer-transport-security.allowed-hostname", "securityConfig.configJSON",
    Value(Kind::Words(|c| &mut c.peer_tls.allowed_hostname));
    "peer-transport-security.skip-client-san-verification", "securityConfig.configJSON",
    Value(Kind::Bool(|c| &mut c.peer_tls.skip_client_san_verification));
    "socket-options", "configYAML.Config", Section("transport.SocketOpts");
    "socket-options.reuse-port", "SocketOpts.Config",
    Value(Kind::Bool(|c| &mut c.socket_reuse_port));
    "socket-options.reuse-address", "SocketOpts.Config",
    Value(Kind::Bool(|c| &mut c.socket_reuse_address));
    "discovery-config", "configYAML.Config", Section("v3discovery.DiscoveryConfig");
    "discovery-config.token", "DiscoveryConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.token));
    "discovery-config.client", "DiscoveryConfig.Config", Section("clientv3.ConfigSpec");
    "discovery-config.client.endpoints", "ConfigSpec.Config",
    Value(Kind::Words(|c| &mut c.discovery.endpoints));
    "discovery-config.client.request-timeout", "ConfigSpec.Config",
    Value(Kind::Duration(|c| &mut c.discovery.request_timeout));
    "discovery-config.client.dial-timeout", "ConfigSpec.Config",
    Value(Kind::Duration(|c| &mut c.discovery.dial_timeout));
    "discovery-config.client.keepalive-time", "ConfigSpec.Config",
    Value(Kind::Duration(|c| &mut c.discovery.keepalive_time));
    "discovery-config.client.keepalive-timeout", "ConfigSpec.Config",
    Value(Kind::Duration(|c| &mut c.discovery.keepalive_timeout));
    "discovery-config.client.max-request-bytes", "ConfigSpec.Config",
    Value(Kind::Int("int", |c| &mut c.discovery.max_request_bytes));
    "discovery-config.client.max-recv-bytes", "ConfigSpec.Config",
    Value(Kind::Int("int", |c| &mut c.discovery.max_recv_bytes));
    "discovery-config.client.secure", "ConfigSpec.Config", Section("clientv3.SecureConfig");
    "discovery-config.client.secure.cert", "SecureConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.cert));
    "discovery-config.client.secure.key", "SecureConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.key));
    "discovery-config.client.secure.cacert", "SecureConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.cacert));
    "discovery-config.client.secure.server-name", "SecureConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.server_name));
    "discovery-config.client.secure.insecure-transport", "SecureConfig.Config",
    Value(Kind::Bool(|c| &mut c.discovery.insecure_transport));
    "discovery-config.client.secure.insecure-skip-tls-verify", "SecureConfig.Config",
    Value(Kind::Bool(|c| &mut c.discovery.insecure_skip_tls_verify));
    "discovery-config.client.auth", "ConfigSpec.Config", Section("clientv3.AuthConfig");
    "discovery-config.client.auth.username", "AuthConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.user));
    "discovery-config.client.auth.password", "AuthConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.password));
    "discovery-config.client.auth.token", "AuthConfig.Config",
    Value(Kind::Text(|c| &mut c.discovery.auth_token));
};
