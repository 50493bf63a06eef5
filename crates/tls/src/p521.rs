//! Private keys over P-521, which ring does not have: real etcd makes such keys for `--auto-tls` and
//! `--peer-auto-tls`, and a server that finds one goes on with it. New keys are never of this kind.

use p521::ecdsa::{Signature, SigningKey, VerifyingKey, signature::Signer as _};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    pki_types::AlgorithmIdentifier,
    sign::{self, Signer},
};

use crate::{
    der::{INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, constructed},
    ecdsa::P521_KEY as KEY_ALGORITHM,
};

/// secp521r1 (1.3.132.0.35).
const CURVE: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// Bytes of a scalar of this curve.
const SCALAR_BYTES: usize = 66;

/// A private key of this curve.
#[derive(Clone)]
pub(crate) struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Reads a key in SEC1 or PKCS #8 form; `None` if it is of another kind.
    pub(crate) fn parse(der: &[u8]) -> Option<PrivateKey> {
        let sec1 = inside_pkcs8(der).unwrap_or(der);
        let mut fields = Reader::new(sec1).inside(SEQUENCE).ok()?;
        fields.expect(INTEGER).ok().filter(|version| version.contents == [1])?;
        let scalar = fields.expect(OCTET_STRING).ok()?.contents;
        if let Ok(Some(parameters)) = fields.optional(constructed(0)) {
            let curve = Reader::new(parameters.contents).expect(OID).ok()?.contents;
            if curve != CURVE {
                return None;
            }
        }
        let missing = SCALAR_BYTES.checked_sub(scalar.len())?;
        let mut padded = [0; SCALAR_BYTES];
        padded[missing..].copy_from_slice(scalar);
        SigningKey::from_slice(&padded).ok().map(PrivateKey)
    }
}

/// The SEC1 key in a PKCS #8 one of this curve.
fn inside_pkcs8(der: &[u8]) -> Option<&[u8]> {
    let mut fields = Reader::new(der).inside(SEQUENCE).ok()?;
    fields.expect(INTEGER).ok()?;
    let algorithm = fields.expect(SEQUENCE).ok()?;
    if algorithm.contents != KEY_ALGORITHM {
        return None;
    }
    Some(fields.expect(OCTET_STRING).ok()?.contents)
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("P-521 private key")
    }
}

impl sign::SigningKey for PrivateKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let offers = offered.contains(&SignatureScheme::ECDSA_NISTP521_SHA512);
        offers.then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<rustls::pki_types::SubjectPublicKeyInfoDer<'_>> {
        let point = VerifyingKey::from(&self.0).to_encoded_point(false);
        let algorithm = AlgorithmIdentifier::from_slice(KEY_ALGORITHM);
        Some(sign::public_key_to_spki(&algorithm, point.as_bytes()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: Signature =
            self.0.try_sign(message).map_err(|_| Error::General("signing failed".to_owned()))?;
        Ok(signature.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}
