//! Keys of signed tokens, read from PEM files in every form that etcd takes: private keys as PKCS #1
//! (RSA), SEC 1 (EC) or PKCS #8, public keys as SubjectPublicKeyInfo, certificate, or PKCS #1.

use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
    },
};

use super::der::{
    BIT_STRING, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, context, first_pem, sequence,
    whole_bytes,
};

const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x2b\x65\x70";

/// A curve of ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    fn oid(self) -> &'static [u8] {
        match self {
            Curve::P256 => b"\x2a\x86\x48\xce\x3d\x03\x01\x07",
            Curve::P384 => b"\x2b\x81\x04\x00\x22",
            Curve::P521 => b"\x2b\x81\x04\x00\x23",
        }
    }
}

/// What can sign. Boxed: keys are large, and one process has one.
pub(super) enum Signer {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    P521(Box<p521::ecdsa::SigningKey>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// What can verify: the public key as its algorithm wants it.
pub(super) type PublicKey = Vec<u8>;

/// The private key of a file and its public part; `None` when it is no such key.
pub(super) fn rsa_private(file: &[u8]) -> Option<(Signer, PublicKey)> {
    let der = first_pem(file)?;
    let key = RsaKeyPair::from_der(&der).or_else(|_| RsaKeyPair::from_pkcs8(&der)).ok()?;
    let public = key.public().as_ref().to_vec();
    Some((Signer::Rsa(Box::new(key)), public))
}

/// The same for Ed25519.
pub(super) fn ed_private(file: &[u8]) -> Option<(Signer, PublicKey)> {
    let der = first_pem(file)?;
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok()?;
    let public = key.public_key().as_ref().to_vec();
    Some((Signer::Ed25519(Box::new(key)), public))
}

/// The same for an elliptic curve. A file that leaves out the public part, which it may, takes it
/// from `public`.
pub(super) fn ec_private(
    file: &[u8],
    curve: Curve,
    public: Option<&PublicKey>,
) -> Option<(Signer, PublicKey)> {
    let der = first_pem(file)?;
    let parts = sec1(&der, None).or_else(|| {
        let (parameters, key) = pkcs8(&der, EC)?;
        sec1(key, Some(parameters))
    })?;
    if parts.curve != curve.oid() {
        return None;
    }
    let algorithm: &EcdsaSigningAlgorithm = match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => {
            let key = p521::ecdsa::SigningKey::from_slice(parts.private).ok()?;
            let public = p521::ecdsa::VerifyingKey::from(&key);
            let public = public.to_encoded_point(false).as_bytes().to_vec();
            return Some((Signer::P521(Box::new(key)), public));
        }
    };
    let public = parts.public.or(public.map(Vec::as_slice))?;
    let random = SystemRandom::new();
    let key =
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, parts.private, public, &random);
    Some((Signer::Ec(Box::new(key.ok()?)), public.to_vec()))
}

/// The public RSA key of a file.
pub(super) fn rsa_public(file: &[u8]) -> Option<PublicKey> {
    let der = first_pem(file)?;
    if let Some((_, key)) = public_key(&der, RSA) {
        return Some(key.to_vec());
    }
    // PKCS #1: two integers.
    let mut key = sequence(&der)?;
    key.expect(INTEGER)?;
    key.expect(INTEGER)?;
    Some(der)
}

/// The public key of a file, a point of the curve.
pub(super) fn ec_public(file: &[u8], curve: Curve) -> Option<PublicKey> {
    let der = first_pem(file)?;
    let (mut parameters, key) = public_key(&der, EC)?;
    (parameters.expect(OID)? == curve.oid()).then(|| key.to_vec())
}

/// The public Ed25519 key of a file.
pub(super) fn ed_public(file: &[u8]) -> Option<PublicKey> {
    let der = first_pem(file)?;
    public_key(&der, ED25519).map(|(_, key)| key.to_vec())
}

/// The parts of an EC private key.
struct Sec1<'a> {
    curve: &'a [u8],
    private: &'a [u8],
    public: Option<&'a [u8]>,
}

/// RFC 5915. Within PKCS #8 the curve stands outside.
fn sec1<'a>(der: &'a [u8], outside: Option<Reader<'a>>) -> Option<Sec1<'a>> {
    let mut key = sequence(der)?;
    key.expect(INTEGER)?;
    let private = key.expect(OCTET_STRING)?;
    let mut parameters = key.optional(context(0)).map(Reader::new).or(outside)?;
    let curve = parameters.expect(OID)?;
    let public = match key.optional(context(1)) {
        Some(bits) => Some(whole_bytes(Reader::new(bits).expect(BIT_STRING)?)?),
        None => None,
    };
    Some(Sec1 { curve, private, public })
}

/// RFC 5208: the parameters of the algorithm, and the key in its own form.
fn pkcs8<'a>(der: &'a [u8], algorithm: &[u8]) -> Option<(Reader<'a>, &'a [u8])> {
    let mut info = sequence(der)?;
    info.expect(INTEGER)?;
    let mut identifier = Reader::new(info.expect(SEQUENCE)?);
    if identifier.expect(OID)? != algorithm {
        return None;
    }
    Some((identifier, info.expect(OCTET_STRING)?))
}

/// The key of a SubjectPublicKeyInfo, or of a certificate, with the algorithm's parameters.
fn public_key<'a>(der: &'a [u8], algorithm: &[u8]) -> Option<(Reader<'a>, &'a [u8])> {
    let info = |mut info: Reader<'a>| {
        let mut identifier = Reader::new(info.expect(SEQUENCE)?);
        if identifier.expect(OID)? != algorithm {
            return None;
        }
        Some((identifier, whole_bytes(info.expect(BIT_STRING)?)?))
    };
    info(sequence(der)?).or_else(|| info(certified(der)?))
}

/// The SubjectPublicKeyInfo within a certificate (RFC 5280, section 4.1).
fn certified(der: &[u8]) -> Option<Reader<'_>> {
    let mut certificate = Reader::new(sequence(der)?.expect(SEQUENCE)?);
    certificate.optional(context(0)); // version
    certificate.expect(INTEGER)?; // serial number
    for _ in ["algorithm", "issuer", "validity", "subject"] {
        certificate.expect(SEQUENCE)?;
    }
    certificate.expect(SEQUENCE).map(Reader::new)
}
