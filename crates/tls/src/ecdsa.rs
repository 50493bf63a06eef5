//! Signatures over curves and with hashes that ring does not verify: P-521 with any hash, P-256 and
//! P-384 with SHA-512. Authorities of etcd clusters use them, and Go takes them.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// id-ecPublicKey with curve secp256r1, as the contents of an AlgorithmIdentifier.
const P256_KEY: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];
/// The same with secp384r1.
const P384_KEY: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22,
];
/// The same with secp521r1.
pub(crate) const P521_KEY: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23,
];

/// Bytes of a scalar of P-521, the longest there is.
const SCALAR_BYTES_MAX: usize = 66;

/// A curve and a hash.
#[derive(Debug)]
pub(crate) struct Verification {
    curve: Curve,
    hash: Hash,
}

#[derive(Clone, Copy, Debug)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

macro_rules! verifications {
    ($($name:ident: $curve:ident, $hash:ident;)*) => {
        $(pub(crate) static $name: &dyn SignatureVerificationAlgorithm =
            &Verification { curve: Curve::$curve, hash: Hash::$hash };)*
    };
}

verifications! {
    P256_SHA512: P256, Sha512;
    P384_SHA512: P384, Sha512;
    P521_SHA256: P521, Sha256;
    P521_SHA384: P521, Sha384;
    P521_SHA512: P521, Sha512;
}

/// Verifies with the types of one curve's crate.
macro_rules! verify {
    ($curve:ident, $public_key:expr, $hash:expr, $signature:expr) => {{
        use $curve::ecdsa::{Signature, VerifyingKey};
        let key = VerifyingKey::from_sec1_bytes($public_key).map_err(|_| InvalidSignature)?;
        let signature = Signature::from_der($signature).map_err(|_| InvalidSignature)?;
        key.verify_prehash($hash, &signature).map_err(|_| InvalidSignature)
    }};
}

impl SignatureVerificationAlgorithm for Verification {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let hash: &[u8] = match self.hash {
            Hash::Sha256 => &Sha256::digest(message),
            Hash::Sha384 => &Sha384::digest(message),
            Hash::Sha512 => &Sha512::digest(message),
        };
        match self.curve {
            Curve::P256 => verify!(p256, public_key, hash, signature),
            Curve::P384 => verify!(p384, public_key, hash, signature),
            Curve::P521 => {
                // A hash shorter than the curve's order is a number with zeros in front.
                let mut padded = [0; SCALAR_BYTES_MAX];
                padded[SCALAR_BYTES_MAX - hash.len()..].copy_from_slice(hash);
                verify!(p521, public_key, &padded, signature)
            }
        }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(match self.curve {
            Curve::P256 => P256_KEY,
            Curve::P384 => P384_KEY,
            Curve::P521 => P521_KEY,
        })
    }

    /// ecdsa-with-SHA256, -SHA384 and -SHA512 (1.2.840.10045.4.3.2 to .4).
    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        macro_rules! ecdsa_with {
            ($last:literal) => {
                &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, $last]
            };
        }
        AlgorithmIdentifier::from_slice(match self.hash {
            Hash::Sha256 => ecdsa_with!(0x02),
            Hash::Sha384 => ecdsa_with!(0x03),
            Hash::Sha512 => ecdsa_with!(0x04),
        })
    }
}
