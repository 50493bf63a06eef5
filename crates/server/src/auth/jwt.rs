//! Signed tokens (`--auth-token jwt,...`): who a user is, for how long, and of which auth revision,
//! signed by the member that checked the password. Nothing is remembered.
//!
//! A token that was signed at an older auth revision still says who its user is; that it is old is
//! found by the check of rights. Source: RFC 7519, RFC 7518 section 3, etcd's `auth/jwt.go`.

mod der;
mod keys;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, io, time::Duration};

use auth::Identity;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use p521::ecdsa::signature::{Signer as _, Verifier as _};
use ring::{
    digest, hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384,
        RSA_PKCS1_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
        UnparsedPublicKey, VerificationAlgorithm,
    },
};
use serde_json::{Map, Value, json};

use keys::{Curve, PublicKey, Signer};

/// How long a token lives when the option `ttl` does not say.
const DEFAULT_TTL: Duration = Duration::from_secs(300);
/// The options that mean something.
const OPTIONS: [&str; 4] = ["sign-method", "pub-key", "priv-key", "ttl"];

/// Why the options do not make a provider of tokens; the texts are etcd's where it has one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OptionsError {
    /// An option is malformed, or names no method of signing.
    #[error("auth: invalid auth options")]
    Options,
    /// There is no key to sign or verify with.
    #[error("auth: missing key data")]
    MissingKey,
    /// The two keys are not of one pair.
    #[error("auth: public and private keys don't match")]
    KeyMismatch,
    /// A file holds no key that the method can use.
    #[error("auth: {file} holds no key for {method} that this release can use")]
    Key {
        /// The option that named the file.
        file: &'static str,
        /// The method of signing.
        method: &'static str,
    },
}

/// A method of signing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Rs(Hash),
    Ps(Hash),
    Es(Curve),
    EdDsa,
    Hs(Hash),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Method {
    fn parse(name: &str) -> Option<(Method, &'static str)> {
        use Hash::{Sha256, Sha384, Sha512};
        let all = [
            (Method::Rs(Sha256), "RS256"),
            (Method::Rs(Sha384), "RS384"),
            (Method::Rs(Sha512), "RS512"),
            (Method::Ps(Sha256), "PS256"),
            (Method::Ps(Sha384), "PS384"),
            (Method::Ps(Sha512), "PS512"),
            (Method::Es(Curve::P256), "ES256"),
            (Method::Es(Curve::P384), "ES384"),
            (Method::Es(Curve::P521), "ES512"),
            (Method::EdDsa, "EdDSA"),
            (Method::Hs(Sha256), "HS256"),
            (Method::Hs(Sha384), "HS384"),
            (Method::Hs(Sha512), "HS512"),
        ];
        all.into_iter().find(|(_, known)| *known == name)
    }
}

/// The keys of a method.
enum Keys {
    /// One secret signs and verifies.
    Secret(hmac::Key),
    /// Without a signer tokens can be verified only.
    Pair { signer: Option<Signer>, public: PublicKey },
}

/// Makes and reads tokens.
pub(crate) struct Jwt {
    method: Method,
    /// Its name in tokens.
    name: &'static str,
    keys: Keys,
    ttl: Duration,
    random: SystemRandom,
}

impl Jwt {
    /// A provider by its options; `read` gives the contents of a file.
    pub(crate) fn new(
        options: &BTreeMap<String, String>,
        parse_ttl: impl Fn(&str) -> Result<Duration, String>,
        read: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Jwt, OptionsError> {
        // Why they cannot be used is in the log alone, as with etcd.
        let unusable = |error: String| {
            tracing::error!(error, "problem loading JWT options");
            OptionsError::Options
        };
        let given = |name: &str| options.get(name).filter(|value| !value.is_empty());
        let ttl = given("ttl").map_or(Ok(DEFAULT_TTL), |text| parse_ttl(text)).map_err(unusable)?;
        let file = |name: &str| {
            let read = |path: &String| {
                read(path).map_err(|error| format!("open {path}: {}", config::os_error(&error)))
            };
            given(name).map_or(Ok(Vec::new()), read).map_err(unusable)
        };
        let (public, private) = (file("pub-key")?, file("priv-key")?);
        let method = options.get("sign-method").map_or("", String::as_str);
        let (method, name) = Method::parse(method)
            .ok_or_else(|| unusable("auth: invalid auth signature method".into()))?;
        let unknown: Vec<_> =
            options.keys().filter(|name| !OPTIONS.contains(&name.as_str())).collect();
        if !unknown.is_empty() {
            tracing::warn!(keys = ?unknown, "unknown JWT options");
        }
        let keys = load_keys(method, name, &public, &private)?;
        Ok(Jwt { method, name, keys, ttl, random: SystemRandom::new() })
    }

    /// Whether tokens cannot be made here, only verified.
    pub(crate) fn is_verify_only(&self) -> bool {
        matches!(self.keys, Keys::Pair { signer: None, .. })
    }

    /// A token for a user; `now` is the time since the Unix epoch.
    ///
    /// # Panics
    /// When the keys verify only; see [`Jwt::is_verify_only`].
    pub(crate) fn sign(&self, who: &Identity, now: Duration) -> String {
        let ends = (now + self.ttl).as_secs();
        let header = json!({ "alg": self.name, "typ": "JWT" });
        let claims = json!({ "username": who.user, "revision": who.revision, "exp": ends });
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The user of a token and the auth revision that it was made at; `None` when the token is not
    /// one of ours, or has ended.
    pub(crate) fn verify(&self, token: &str, now: Duration) -> Option<Identity> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        if claims.contains('.') {
            return None;
        }
        let decode = |part: &str| -> Option<Map<String, Value>> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        if decode(header)?.get("alg")?.as_str()? != self.name {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        if !self.verifies(signed.as_bytes(), &signature) {
            return None;
        }
        let claims = decode(claims)?;
        if !is_current(&claims, now.as_secs_f64()) {
            return None;
        }
        let user = claims.get("username")?.as_str()?.to_owned();
        let revision = claims.get("revision")?.as_f64()? as u64;
        Some(Identity { user, revision })
    }

    fn signature(&self, signed: &[u8]) -> Vec<u8> {
        let signer = match &self.keys {
            Keys::Secret(key) => return hmac::sign(key, signed).as_ref().to_vec(),
            Keys::Pair { signer, .. } => signer.as_ref().expect("the caller asked whether it can"),
        };
        match signer {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(rsa_encoding(self.method), &self.random, signed, &mut signature)
                    .expect("the key was checked, the buffer has its size");
                signature
            }
            Signer::Ec(key) => {
                let signature = key.sign(&self.random, signed);
                signature.expect("the system gives random numbers").as_ref().to_vec()
            }
            Signer::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign(signed);
                signature.to_bytes().to_vec()
            }
            Signer::Ed25519(key) => key.sign(signed).as_ref().to_vec(),
        }
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let public = match &self.keys {
            Keys::Secret(key) => return hmac::verify(key, signed, signature).is_ok(),
            Keys::Pair { public, .. } => public,
        };
        if self.method == Method::Es(Curve::P521) {
            let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(public);
            let signature = p521::ecdsa::Signature::from_slice(signature);
            return key.is_ok_and(|key| {
                signature.is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            });
        }
        let algorithm = verification(self.method);
        UnparsedPublicKey::new(algorithm, public).verify(signed, signature).is_ok()
    }
}

/// Whether the times of a token let it pass. A time of 0 counts as none; one that is no number makes
/// the token bad.
fn is_current(claims: &Map<String, Value>, now: f64) -> bool {
    let time = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(value) => value.as_f64().map(|time| Some(time).filter(|time| *time != 0.0)),
    };
    let (Some(ends), Some(begins)) = (time("exp"), time("nbf")) else { return false };
    ends.is_none_or(|ends| now < ends.trunc()) && begins.is_none_or(|begins| now >= begins.trunc())
}

fn load_keys(
    method: Method,
    name: &'static str,
    public: &[u8],
    private: &[u8],
) -> Result<Keys, OptionsError> {
    if let Method::Hs(hash) = method {
        let algorithm = match hash {
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha384 => hmac::HMAC_SHA384,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        if private.is_empty() {
            return Err(OptionsError::MissingKey);
        }
        return Ok(Keys::Secret(hmac::Key::new(algorithm, private)));
    }
    let unusable = |file: &'static str| OptionsError::Key { file, method: name };
    let given = if public.is_empty() {
        None
    } else {
        let key = match method {
            Method::Es(curve) => keys::ec_public(public, curve),
            Method::EdDsa => keys::ed_public(public),
            _ => keys::rsa_public(public),
        };
        Some(key.ok_or(unusable("pub-key"))?)
    };
    if private.is_empty() {
        let public = given.ok_or(OptionsError::MissingKey)?;
        return Ok(Keys::Pair { signer: None, public });
    }
    let pair = match method {
        Method::Es(curve) => keys::ec_private(private, curve, given.as_ref()),
        Method::EdDsa => keys::ed_private(private),
        _ => keys::rsa_private(private),
    };
    let (signer, public) = pair.ok_or(unusable("priv-key"))?;
    if given.is_some_and(|given| !same_key(&given, &public)) {
        return Err(OptionsError::KeyMismatch);
    }
    Ok(Keys::Pair { signer: Some(signer), public })
}

/// Compared by digest: keys of other lengths are other keys.
fn same_key(one: &[u8], other: &[u8]) -> bool {
    let of = |key| digest::digest(&digest::SHA256, key);
    of(one).as_ref() == of(other).as_ref()
}

fn rsa_encoding(method: Method) -> &'static dyn RsaEncoding {
    match method {
        Method::Rs(Hash::Sha256) => &RSA_PKCS1_SHA256,
        Method::Rs(Hash::Sha384) => &RSA_PKCS1_SHA384,
        Method::Rs(Hash::Sha512) => &RSA_PKCS1_SHA512,
        Method::Ps(Hash::Sha256) => &RSA_PSS_SHA256,
        Method::Ps(Hash::Sha384) => &RSA_PSS_SHA384,
        Method::Ps(Hash::Sha512) => &RSA_PSS_SHA512,
        other => unreachable!("{other:?} does not sign with an RSA key"),
    }
}

fn verification(method: Method) -> &'static dyn VerificationAlgorithm {
    match method {
        Method::Rs(Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
        Method::Rs(Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        Method::Rs(Hash::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
        Method::Ps(Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
        Method::Ps(Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
        Method::Ps(Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
        Method::Es(Curve::P256) => &ECDSA_P256_SHA256_FIXED,
        Method::Es(Curve::P384) => &ECDSA_P384_SHA384_FIXED,
        Method::EdDsa => &ED25519,
        Method::Es(Curve::P521) | Method::Hs(_) => {
            unreachable!("{method:?} is verified by other means")
        }
    }
}
