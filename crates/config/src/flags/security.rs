//! Flags of TLS, of who may connect, and of authentication.

use super::{Flag, Group, Kind, rows};
use crate::compat::Status;

const TLS: Status = Status::Built("");
const CRL: Status = Status::Built("DER, and PEM too");
const MADE: Status =
    Status::Built("new keys are P-256, not P-521; a pair that etcd made is used as it is");
const OWN_CLIENT: Status =
    Status::Built("read at the start; this server needs no connection to itself");

pub(super) const CLIENT: &[Flag] = rows! { Group::Security;
    "cert-file", Kind::Text(|c| &mut c.client_tls.cert_file), TLS,
    "The server's certificate for clients.";
    "key-file", Kind::Text(|c| &mut c.client_tls.key_file), TLS,
    "Key of --cert-file.";
    "client-cert-auth", Kind::Bool(|c| &mut c.client_tls.client_cert_auth), TLS,
    "Ask clients for a certificate.";
    "client-cert-file", Kind::Text(|c| &mut c.client_tls.client_cert_file), OWN_CLIENT,
    "Certificate for connections to the own client listener.";
    "client-key-file", Kind::Text(|c| &mut c.client_tls.client_key_file), OWN_CLIENT,
    "Key of --client-cert-file.";
    "client-crl-file", Kind::Text(|c| &mut c.client_tls.crl_file), CRL,
    "List of revoked client certificates.";
    "client-cert-allowed-hostname", Kind::Words(|c| &mut c.client_tls.allowed_hostname), TLS,
    "Host names allowed in client certificates, separated by commas.";
    "trusted-ca-file", Kind::Text(|c| &mut c.client_tls.trusted_ca_file), TLS,
    "Authority that signs client certificates.";
    "auto-tls", Kind::Bool(|c| &mut c.client_tls.auto_tls), MADE,
    "TLS for clients with a certificate made at start.";
};

pub(super) const PEER: &[Flag] = rows! { Group::Security;
    "peer-cert-file", Kind::Text(|c| &mut c.peer_tls.cert_file), TLS,
    "The server's certificate for other members.";
    "peer-key-file", Kind::Text(|c| &mut c.peer_tls.key_file), TLS,
    "Key of --peer-cert-file.";
    "peer-client-cert-auth", Kind::Bool(|c| &mut c.peer_tls.client_cert_auth), TLS,
    "Ask other members for a certificate.";
    "peer-client-cert-file", Kind::Text(|c| &mut c.peer_tls.client_cert_file), TLS,
    "Certificate for connections to other members.";
    "peer-client-key-file", Kind::Text(|c| &mut c.peer_tls.client_key_file), TLS,
    "Key of --peer-client-cert-file.";
    "peer-trusted-ca-file", Kind::Text(|c| &mut c.peer_tls.trusted_ca_file), TLS,
    "Authority that signs the members' certificates.";
    "peer-cert-allowed-cn", Kind::Words(|c| &mut c.peer_tls.allowed_cn), TLS,
    "Common names allowed in members' certificates, separated by commas.";
    "peer-cert-allowed-hostname", Kind::Words(|c| &mut c.peer_tls.allowed_hostname), TLS,
    "Host names allowed in members' certificates, separated by commas.";
    "peer-auto-tls", Kind::Bool(|c| &mut c.peer_tls.auto_tls), MADE,
    "TLS between members with certificates made at start.";
    "peer-crl-file", Kind::Text(|c| &mut c.peer_tls.crl_file), CRL,
    "List of revoked members' certificates.";
    "peer-skip-client-san-verification",
    Kind::Bool(|c| &mut c.peer_tls.skip_client_san_verification), TLS,
    "Accept a member's certificate from an address that it does not name.";
};

pub(super) const SHARED: &[Flag] = rows! { Group::Security;
    "self-signed-cert-validity", Kind::Uint("uint", |c| &mut c.self_signed_cert_validity),
    Status::Built(""),
    "Years that a certificate made at start is valid.";
    "cipher-suites", Kind::Words(|c| &mut c.cipher_suites),
    Status::Built("those with ECDHE and AES-GCM or ChaCha20; Go's others are left out, with a warning"),
    "TLS cipher suites, separated by commas.";
    "cors", Kind::Urls(|c| &mut c.cors, "*"), Status::Built(""),
    "Origins that browsers may use, separated by commas; * allows all.";
    "host-whitelist", Kind::UniqueWords(|c| &mut c.host_whitelist),
    Status::Built(""),
    "Host names that HTTP requests may use without TLS, separated by commas; * allows all.";
    "tls-min-version", Kind::Text(|c| &mut c.tls_min_version), TLS,
    "Lowest TLS version: TLS1.2 or TLS1.3.";
    "tls-max-version", Kind::Text(|c| &mut c.tls_max_version), TLS,
    "Highest TLS version: TLS1.2, TLS1.3, or nothing for the highest there is.";
};

pub(super) const AUTH: &[Flag] = rows! { Group::Auth;
    "auth-token", Kind::Text(|c| &mut c.auth_token),
    Status::Built("RSA keys below 2048 bits are refused"),
    "Kind of tokens: simple, or jwt with its options.";
    "bcrypt-cost", Kind::Uint("uint", |c| &mut c.bcrypt_cost),
    Status::Built(""),
    "Cost of hashing passwords, 4 to 31.";
    "auth-token-ttl", Kind::Uint("uint", |c| &mut c.auth_token_ttl),
    Status::Built(""),
    "Seconds that an unused simple token lives.";
};
