//! The files of listeners and clients as parts that are read again.

use std::path::Path;

use rustls::sign::CertifiedKey;

use crate::{chain::Roots, crl::RevocationList, error::Error, key_pair, reload::Part};

/// Whether these files hold a certificate chain in PEM and its key.
pub fn check_key_pair(cert: &Path, key: &Path) -> Result<(), Error> {
    key_pair::load(cert, key).map(drop)
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
