//! The files of listeners and clients as parts that are read again.

use std::path::Path;

use rustls::{
    pki_types::{CertificateDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use crate::{
    chain::Roots, crl::RevocationList, error::Error, key_pair, reload::Part, x509::Certificate,
};

/// Whether these files hold a certificate chain in PEM and its key.
pub fn check_key_pair(cert: &Path, key: &Path) -> Result<(), Error> {
    key_pair::load(cert, key).map(drop)
}

/// The common name of the first certificate in a file.
pub fn common_name(cert: &Path) -> Result<String, Error> {
    let pem = std::fs::read(cert).map_err(|error| Error::reading(cert, &error))?;
    let failed = |text: &str| Error::File(text.to_owned());
    let first = CertificateDer::pem_slice_iter(&pem).find_map(Result::ok);
    let first =
        first.ok_or_else(|| failed("tls: failed to find any PEM data in certificate input"))?;
    let certificate = Certificate::parse(&first);
    let name = certificate.and_then(|certificate| certificate.common_name());
    name.map_err(|_| failed("x509: malformed certificate"))
}

/// A certificate chain and its key.
pub(crate) fn key_pair(cert: &Path, key: &Path) -> Result<Part<CertifiedKey>, Error> {
    let paths = vec![cert.to_path_buf(), key.to_path_buf()];
    Part::open("certificate and key", paths, |paths| key_pair::load(&paths[0], &paths[1]))
}

/// The authorities of this file, or those of the system.
pub(crate) fn roots(file: Option<&Path>) -> Result<Part<Roots>, Error> {
    let paths = file.map(Path::to_path_buf).into_iter().collect();
    let roots = Part::open("trusted authorities", paths, |paths| match paths.first() {
        None => Ok(Roots::of_system()),
        Some(path) => Roots::load(path),
    })?;
    if roots.value().is_empty() {
        tracing::warn!(?file, "there is no authority to trust; every certificate is refused");
    }
    Ok(roots)
}

/// A file that is being replaced may be empty for a moment.
pub(crate) fn some_roots(roots: &Roots) -> Result<(), String> {
    if roots.is_empty() { Err("there is no certificate in it".to_owned()) } else { Ok(()) }
}

/// A list of revoked certificates.
pub(crate) fn revoked(file: &Path) -> Result<Part<RevocationList>, Error> {
    Part::open("revoked certificates", vec![file.to_path_buf()], |paths| {
        let path = &paths[0];
        let bytes = std::fs::read(path).map_err(|error| Error::reading(path, &error))?;
        RevocationList::parse(&bytes)
            .map_err(|_| Error::File(format!("x509: malformed crl in {}", path.display())))
    })
}
