//! Whether a certificate leads to an authority that is trusted.
//!
//! `webpki` decides. A few things are added so that what etcd accepts is accepted, and what it
//! refuses is refused:
//!
//! - **Authorities are looked at.** webpki takes a root's word whatever its certificate says, and
//!   does not read what keys are for. Go, hence etcd, refuses a root that is expired, made for
//!   another purpose or too far away, and any authority whose key is not for signing certificates.
//! - **Purposes.** "Any" is one, as in Go.
//! - **Direct signatures.** webpki does not take certificates of version 1 (which `openssl x509
//!   -req` makes) and authorities in the place of a server or client (`--auto-tls`). Such a
//!   certificate is accepted if it is itself one of the trusted ones, or one of them signed it
//!   directly; its dates, its purposes and its critical extensions are checked here, and an
//!   authority that constrains names is left to webpki alone.

use std::path::Path;

use rustls::{
    CertificateError, DistinguishedName, OtherError,
    pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject},
};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, anchor_from_trusted_cert,
};

use crate::{
    algorithms::ALGORITHMS,
    error::{Error, Refusal},
    x509::{ANY_PURPOSE, Certificate, Purpose},
};

/// The authorities that are trusted.
#[derive(Debug, Default)]
pub(crate) struct Roots {
    /// Their certificates, each at the place of its anchor.
    certificates: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
    subjects: Vec<DistinguishedName>,
}

impl Roots {
    /// Reads a bundle of certificates in PEM. A bundle without any is no error, as in etcd.
    pub(crate) fn load(path: &Path) -> Result<Roots, Error> {
        let pem = std::fs::read(path).map_err(|error| Error::reading(path, &error))?;
        let mut roots = Roots::default();
        for certificate in CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok) {
            roots.add(certificate).map_err(|why| {
                Error::File(format!("x509: malformed certificate in {}: {why}", path.display()))
            })?;
        }
        Ok(roots)
    }

    /// The authorities that the operating system trusts.
    pub(crate) fn of_system() -> Roots {
        let mut roots = Roots::default();
        for certificate in rustls_native_certs::load_native_certs().certs {
            // What this machine has and nobody can use is no reason to fail.
            let _unusable = roots.add(certificate);
        }
        // The list would fill the handshake.
        roots.subjects.clear();
        roots
    }

    fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), String> {
        let anchor =
            anchor_from_trusted_cert(&certificate).map_err(|error| error.to_string())?.to_owned();
        Certificate::parse(&certificate).map_err(|_| "bad encoding".to_owned())?;
        self.subjects.push(DistinguishedName::in_sequence(&anchor.subject));
        self.anchors.push(anchor);
        self.certificates.push(certificate);
        Ok(())
    }

    /// Whether there is no authority at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Their names, for a client that has several certificates to choose from.
    pub(crate) fn subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    /// Whether `leaf`, with the help of the other certificates that were sent, leads to one of
    /// these.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), CertificateError> {
        let Err(error) = self.verify_path(leaf, intermediates, now, purpose) else {
            return Ok(());
        };
        if self.verify_direct(leaf, now, purpose) { Ok(()) } else { Err(error) }
    }

    fn verify_path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), CertificateError> {
        let parsed = EndEntityCert::try_from(leaf).map_err(certificate_error)?;
        let check_path = |path: &webpki::VerifiedPath<'_>| self.check_path(path, now, purpose);
        parsed
            .verify_for_usage(
                ALGORITHMS.all,
                &self.anchors,
                intermediates,
                now,
                purpose,
                None,
                Some(&check_path),
            )
            .map(|_| ())
            .map_err(certificate_error)
    }

    /// Checks what webpki leaves out of a path that it found.
    fn check_path(
        &self,
        path: &webpki::VerifiedPath<'_>,
        now: UnixTime,
        purpose: Purpose,
    ) -> Result<(), webpki::Error> {
        let mut authorities = 0;
        for authority in path.intermediate_certificates() {
            let der = authority.der();
            let authority = Certificate::parse(&der).map_err(|_| webpki::Error::BadDer)?;
            if !authority.may_issue() {
                return Err(webpki::Error::EndEntityUsedAsCa);
            }
            authorities += 1;
        }
        let at = self.anchors.iter().position(|anchor| anchor == path.anchor());
        let root = &self.certificates[at.expect("a path ends at one of the anchors given")];
        let root = Certificate::parse(root).map_err(|_| webpki::Error::BadDer)?;
        if !root.is_valid_at(seconds(now)) {
            return Err(webpki::Error::InvalidCertValidity);
        }
        if !root.may_issue() {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
        if !root.allows_below(authorities) {
            return Err(webpki::Error::PathLenConstraintViolated);
        }
        if root.serves(purpose) { Ok(()) } else { Err(webpki::Error::UnknownIssuer) }
    }

    fn verify_direct(&self, leaf: &CertificateDer<'_>, now: UnixTime, purpose: Purpose) -> bool {
        let Ok(parsed) = Certificate::parse(leaf) else { return false };
        let now = seconds(now);
        if !parsed.is_valid_at(now) || !parsed.serves(purpose) || parsed.has_unknown_critical {
            return false;
        }
        self.certificates.iter().any(|root| {
            if root.as_ref() == leaf.as_ref() {
                return true;
            }
            Certificate::parse(root).is_ok_and(|root| {
                root.subject == parsed.issuer
                    && root.is_valid_at(now)
                    && root.may_issue()
                    && root.serves(purpose)
                    && !root.constrains_names
                    && !root.has_unknown_critical
                    && parsed.is_signed_by(&root, ALGORITHMS.all)
            })
        })
    }
}

/// Without any stated purpose a certificate serves all.
impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, stated: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let (any, own) = (KeyPurposeId::new(ANY_PURPOSE), KeyPurposeId::new(self.oid()));
        let mut present = Vec::new();
        for purpose in stated {
            let purpose = purpose?;
            if purpose == any || purpose == own {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = KeyUsage::required_if_present(self.oid());
        let context = RequiredEkuNotFoundContext { required, present };
        Err(webpki::Error::RequiredEkuNotFoundContext(context))
    }
}

/// The time as certificates give it.
pub(crate) fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// webpki's reason in rustls' terms, which decide the alert that the other side gets.
fn certificate_error(error: webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time, not_before }
        }
        E::InvalidCertValidity => CertificateError::Expired,
        E::EndEntityUsedAsCa => {
            let text = "certificate is not authorized to sign other certificates";
            other(Refusal::Chain(text.to_owned()))
        }
        E::PathLenConstraintViolated => {
            other(Refusal::Chain("too many intermediates for path length constraint".to_owned()))
        }
        // A namesake of the authority signed it, or it is an authority that nobody here knows: Go
        // takes these for an unknown authority too.
        E::UnknownIssuer | E::InvalidSignatureForPublicKey | E::CaUsedAsEndEntity => {
            CertificateError::UnknownIssuer
        }
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::CertNotValidForName(_) => CertificateError::NotValidForName,
        E::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        error => other(Refusal::Chain(error.to_string())),
    }
}

/// A reason that rustls has no word for.
pub(crate) fn other(refusal: Refusal) -> CertificateError {
    CertificateError::Other(OtherError(std::sync::Arc::new(refusal)))
}

#[cfg(test)]
mod tests;
