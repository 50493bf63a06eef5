//! rustls' questions about certificates, answered by etcd's rules.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use crate::{
    algorithms::ALGORITHMS,
    chain::{Roots, other},
    crl::RevocationList,
    error::Refusal,
    host_name::names_host,
    x509::{Certificate, Purpose},
};

/// Which certificates are accepted of those that an authority vouches for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// All of them.
    #[default]
    All,
    /// Those with one of these common names (`--peer-cert-allowed-cn`).
    CommonNames(Vec<String>),
    /// Those made out to one of these hosts (`--client-cert-allowed-hostname`).
    Hosts(Vec<String>),
}

impl Allowed {
    fn allows(&self, certificate: &Certificate<'_>) -> bool {
        match self {
            Allowed::All => true,
            Allowed::CommonNames(names) => {
                certificate.common_name().is_ok_and(|name| names.contains(&name))
            }
            Allowed::Hosts(hosts) => hosts.iter().any(|host| names_host(certificate, host)),
        }
    }
}

/// What a chain is checked against, for one state of the files.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) roots: Arc<Roots>,
    pub(crate) revoked: Option<Arc<RevocationList>>,
    pub(crate) allowed: Allowed,
}

impl Checks {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), CertificateError> {
        let parsed = Certificate::parse(leaf).map_err(|_| CertificateError::BadEncoding)?;
        self.roots.verify(leaf, intermediates, now, purpose)?;
        if !self.allowed.allows(&parsed) {
            return Err(other(Refusal::NotAllowed));
        }
        let Some(revoked) = &self.revoked else { return Ok(()) };
        for certificate in std::iter::once(leaf).chain(intermediates) {
            let certificate =
                Certificate::parse(certificate).map_err(|_| CertificateError::BadEncoding)?;
            if revoked.contains(certificate.serial) {
                let serial = certificate.serial.iter().map(|byte| format!("{byte:02x}")).collect();
                return Err(other(Refusal::Revoked(serial)));
            }
        }
        Ok(())
    }
}

/// A server's view of client certificates. A client must show one.
#[derive(Debug)]
pub(crate) struct OfClients(pub(crate) Checks);

/// A client's view of server certificates.
#[derive(Debug)]
pub(crate) enum OfServers {
    /// They are verified, and must name the server.
    Verified(Checks),
    /// They are not (`--insecure-skip-tls-verify`, or a certificate made at start).
    Unverified,
}

impl ClientCertVerifier for OfClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.roots.subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify(end_entity, intermediates, now, Purpose::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

impl ServerCertVerifier for OfServers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let OfServers::Verified(checks) = self {
            checks.verify(end_entity, intermediates, now, Purpose::Server)?;
            let parsed =
                Certificate::parse(end_entity).map_err(|_| CertificateError::BadEncoding)?;
            if !names_host(&parsed, &server_name.to_str()) {
                return Err(CertificateError::NotValidForName.into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

/// In TLS 1.2 a scheme may stand for keys of several kinds.
fn verify_tls12(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_signature(message, cert, dss, usize::MAX)
}

/// In TLS 1.3 a scheme stands for one kind of key, and PKCS #1 signatures are gone.
fn verify_tls13(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    use SignatureScheme as S;
    if matches!(dss.scheme, S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    verify_signature(message, cert, dss, 1)
}

/// rustls' own functions do not take certificates of version 1.
fn verify_signature(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
    algorithms_max: usize,
) -> Result<HandshakeSignatureValid, Error> {
    let scheme = ALGORITHMS.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
    let (_, algorithms) = scheme.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    let algorithms = &algorithms[..algorithms.len().min(algorithms_max)];
    let parsed = Certificate::parse(cert).map_err(|_| CertificateError::BadEncoding)?;
    if parsed.made_signature(message, dss.signature(), algorithms) {
        Ok(HandshakeSignatureValid::assertion())
    } else {
        Err(CertificateError::BadSignature.into())
    }
}
