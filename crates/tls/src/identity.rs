//! Who is at the other end of a connection that was accepted.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{der::Malformed, x509::Certificate};

/// What is known of the other side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Where it connects from; none for a unix socket.
    pub remote: Option<SocketAddr>,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
    /// The certificate that it showed, if it was asked for one. It is verified: an authority that
    /// is trusted vouches for it, and it is neither revoked nor outside of those allowed.
    pub certificate: Option<Arc<VerifiedCertificate>>,
}

/// The facts of a verified certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate {
    /// The common name of its subject, which may be empty.
    pub common_name: String,
    /// The names that it is made out to.
    pub dns_names: Vec<String>,
    /// The addresses that it is made out to.
    pub ip_addresses: Vec<IpAddr>,
    /// Its serial number, without leading zeros.
    pub serial: Vec<u8>,
}

impl PeerIdentity {
    /// The common name of the certificate, if it has one that is not empty: the name of the user
    /// when authentication is on.
    pub fn common_name(&self) -> Option<&str> {
        let name = self.certificate.as_ref()?.common_name.as_str();
        (!name.is_empty()).then_some(name)
    }
}

impl VerifiedCertificate {
    /// The facts of a certificate that was verified.
    pub(crate) fn read(der: &[u8]) -> Result<VerifiedCertificate, Malformed> {
        let certificate = Certificate::parse(der)?;
        Ok(VerifiedCertificate {
            common_name: certificate.common_name()?,
            serial: certificate.serial.to_vec(),
            dns_names: certificate.dns_names,
            ip_addresses: certificate.ip_addresses,
        })
    }
}
