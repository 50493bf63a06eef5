//! A certificate chain and its key from PEM files, as Go's `tls.X509KeyPair` takes them: the first
//! certificate is the own one, the key may be PKCS #1, PKCS #8 or SEC1 whatever its label says, and
//! both may stand in one file among other things.

use std::{path::Path, sync::Arc};

use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{PemObject, SectionKind},
    },
    sign::{CertifiedKey, SigningKey},
};

use crate::{error::Error, p521, x509::Certificate};

/// Reads a pair from its files.
pub(crate) fn load(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, Error> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| Error::reading(path, &error));
    parse(&read(cert_file)?, &read(key_file)?).map_err(Error::File)
}

/// Reads a pair; the errors are Go's.
pub(crate) fn parse(cert_pem: &[u8], key_pem: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(cert_pem).filter_map(Result::ok).collect();
    let Some(first) = chain.first() else {
        return Err("tls: failed to find any PEM data in certificate input".to_owned());
    };
    let leaf = Certificate::parse(first)
        .map_err(|_| "x509: malformed certificate".to_owned())?
        .key_info
        .to_vec();
    let key = parse_key(key_pem)?;
    let matches = key.public_key().is_none_or(|public| public.as_ref() == leaf.as_slice());
    if !matches {
        return Err("tls: private key does not match public key".to_owned());
    }
    Ok(CertifiedKey::new(chain, key))
}

fn parse_key(pem: &[u8]) -> Result<Arc<dyn SigningKey>, String> {
    let is_key = |kind: SectionKind| {
        use SectionKind::{EcPrivateKey, PrivateKey, RsaPrivateKey};
        matches!(kind, EcPrivateKey | PrivateKey | RsaPrivateKey)
    };
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).filter_map(Result::ok);
    let Some((_, der)) = sections.find(|(kind, _)| is_key(*kind)) else {
        return Err("tls: failed to find any PEM data in key input".to_owned());
    };
    if let Some(key) = p521::PrivateKey::parse(&der) {
        return Ok(Arc::new(key));
    }
    let failed = || "tls: failed to parse private key".to_owned();
    let key = PrivateKeyDer::try_from(der).map_err(|_| failed())?;
    any_supported_type(&key).map_err(|_| failed())
}
