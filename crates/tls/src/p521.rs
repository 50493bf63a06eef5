//! ECDSA over P-521, which ring does not have: real etcd makes such keys for `--auto-tls` and
//! `--peer-auto-tls`, and authorities may use them.
//!
//! Verification stands beside ring's algorithms in `algorithms`; signing serves keys that an etcd
//! left behind. New keys are never of this kind.

use p521::ecdsa::{
    Signature, SigningKey, VerifyingKey,
    signature::{Signer as _, hazmat::PrehashVerifier},
};
use rustls::{
    Error, SignatureAlgorithm, SignatureScheme,
    pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm},
    sign::{self, Signer},
};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::der::{INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, constructed};

/// id-ecPublicKey with curve secp521r1, as the contents of an AlgorithmIdentifier.
const KEY_ALGORITHM: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23,
];
/// secp521r1 (1.3.132.0.35).
const CURVE: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
/// Bytes of a scalar of this curve.
const SCALAR_BYTES: usize = 66;

/// One hash with which such signatures are made.
#[derive(Debug)]
pub(crate) struct Verification {
    signature_algorithm: &'static [u8],
    hash: Hash,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// ecdsa-with-SHA256, -SHA384 and -SHA512 (1.2.840.10045.4.3.2 to .4).
macro_rules! ecdsa_with {
    ($last:literal) => {
        &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, $last]
    };
}

pub(crate) static P521_SHA256: &dyn SignatureVerificationAlgorithm =
    &Verification { signature_algorithm: ecdsa_with!(0x02), hash: Hash::Sha256 };
pub(crate) static P521_SHA384: &dyn SignatureVerificationAlgorithm =
    &Verification { signature_algorithm: ecdsa_with!(0x03), hash: Hash::Sha384 };
pub(crate) static P521_SHA512: &dyn SignatureVerificationAlgorithm =
    &Verification { signature_algorithm: ecdsa_with!(0x04), hash: Hash::Sha512 };

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let key = VerifyingKey::from_sec1_bytes(public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        // A hash shorter than the curve's order is a number with zeros in front.
        let mut padded = [0; SCALAR_BYTES];
        let hash: &[u8] = match self.hash {
            Hash::Sha256 => &Sha256::digest(message),
            Hash::Sha384 => &Sha384::digest(message),
            Hash::Sha512 => &Sha512::digest(message),
        };
        padded[SCALAR_BYTES - hash.len()..].copy_from_slice(hash);
        key.verify_prehash(&padded, &signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(KEY_ALGORITHM)
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(self.signature_algorithm)
    }
}

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
