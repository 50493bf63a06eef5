//! Which versions and cipher suites are spoken (`--cipher-suites`, `--tls-min-version`,
//! `--tls-max-version`).
//!
//! Suites are given by Go's names. As in Go, those of TLS 1.3 cannot be chosen: all three are
//! always on. Suites that Go has and rustls has not (CBC, RSA key exchange, RC4, 3DES) are names
//! that are known; they are left out with a warning.

use std::sync::Arc;

use rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};

use crate::{algorithms::ALGORITHMS, error::Error};

/// Go's names of suites that there are, with their numbers.
const BUILT: [(&str, CipherSuite); 8] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// Suites of TLS 1.3, which Go knows by name and does not let anybody choose.
const OF_TLS13: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Suites that Go has and this server has not.
const UNBUILT: [&str; 16] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
];

/// Versions and cipher suites.
#[derive(Clone, Debug)]
pub struct Policy {
    provider: Arc<CryptoProvider>,
    versions: Vec<&'static SupportedProtocolVersion>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy::new(&[], "", "").expect("all versions and all suites go together")
    }
}

impl Policy {
    /// What these values of the flags mean: no suites stands for all, no version for the lowest or
    /// highest there is.
    pub fn new(suites: &[String], min_version: &str, max_version: &str) -> Result<Policy, Error> {
        let (min, max) = (version(min_version)?.unwrap_or(12), version(max_version)?.unwrap_or(13));
        if min > max {
            return Err(Error::Options(format!(
                "min version ({min_version}) is greater than max version ({max_version})"
            )));
        }
        if min == 13 && !suites.is_empty() {
            let text = "cipher suites cannot be configured when only TLS1.3 is enabled";
            return Err(Error::Options(text.to_owned()));
        }
        let mut provider = ring::default_provider();
        provider.signature_verification_algorithms = ALGORITHMS;
        if !suites.is_empty() {
            provider.cipher_suites = choose(&provider.cipher_suites, suites)?;
        }
        let mut versions = Vec::new();
        if max == 13 {
            versions.push(&TLS13);
        }
        let any_tls12 = provider.cipher_suites.iter().any(|suite| suite.tls13().is_none());
        if min == 12 && any_tls12 {
            versions.push(&TLS12);
        }
        if versions.is_empty() {
            let text = format!("none of the cipher suites {suites:?} is supported");
            return Err(Error::Options(text));
        }
        Ok(Policy { provider: Arc::new(provider), versions })
    }

    /// The cryptography to build connections with.
    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    /// The versions to speak; never empty.
    pub(crate) fn versions(&self) -> &[&'static SupportedProtocolVersion] {
        &self.versions
    }
}

fn version(name: &str) -> Result<Option<u8>, Error> {
    match name {
        "" => Ok(None),
        "TLS1.2" => Ok(Some(12)),
        "TLS1.3" => Ok(Some(13)),
        other => Err(Error::Options(format!(
            "unexpected TLS version {other:?} (must be one of: TLS1.2, TLS1.3)"
        ))),
    }
}

/// The suites of `all` that are named, and all of TLS 1.3.
fn choose(
    all: &[SupportedCipherSuite],
    names: &[String],
) -> Result<Vec<SupportedCipherSuite>, Error> {
    let mut chosen = Vec::new();
    for name in names {
        match BUILT.iter().find(|(built, _)| built == name) {
            Some((_, suite)) => chosen.push(*suite),
            None if OF_TLS13.contains(&name.as_str()) => {}
            None if UNBUILT.contains(&name.as_str()) => {
                tracing::warn!("cipher-suite" = %name, "leaving out an unsupported cipher suite");
            }
            None => {
                let text = format!("unexpected TLS cipher suite {name:?}");
                return Err(Error::Options(text));
            }
        }
    }
    let kept = all.iter().filter(|s| s.tls13().is_some() || chosen.contains(&s.suite()));
    Ok(kept.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(names: &[&str], min: &str, max: &str) -> Result<Vec<CipherSuite>, String> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let policy = Policy::new(&names, min, max).map_err(|error| error.to_string())?;
        let of_version = |suite: &&SupportedCipherSuite| {
            policy.versions().iter().any(|version| version.version == suite.version().version)
        };
        Ok(policy.provider.cipher_suites.iter().filter(of_version).map(|s| s.suite()).collect())
    }

    #[test]
    fn suites_are_chosen_by_gos_names() {
        assert_eq!(suites(&[], "", "").unwrap().len(), 9);
        assert_eq!(suites(&[], "TLS1.3", "").unwrap().len(), 3);
        assert_eq!(suites(&[], "TLS1.2", "TLS1.2").unwrap().len(), 6);
        let both =
            ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"];
        let one = [CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256];
        assert_eq!(suites(&both, "", "TLS1.2").unwrap(), one);
        // Without a suite of TLS 1.2 that version is off.
        assert_eq!(suites(&["TLS_AES_128_GCM_SHA256"], "TLS1.2", "").unwrap().len(), 3);
        assert_eq!(suites(&["TLS_RSA_WITH_RC4_128_SHA"], "TLS1.2", "").unwrap().len(), 3);
    }

    #[test]
    fn errors_are_etcds() {
        let cases: [(&[&str], &str, &str, &str); 5] = [
            (&["nope"], "", "", "unexpected TLS cipher suite \"nope\""),
            (
                &[],
                "TLS1.1",
                "",
                "unexpected TLS version \"TLS1.1\" (must be one of: TLS1.2, TLS1.3)",
            ),
            (&[], "TLS1.3", "TLS1.2", "min version (TLS1.3) is greater than max version (TLS1.2)"),
            (
                &["TLS_AES_128_GCM_SHA256"],
                "TLS1.3",
                "",
                "cipher suites cannot be configured when only TLS1.3 is enabled",
            ),
            (
                &["TLS_RSA_WITH_RC4_128_SHA"],
                "",
                "TLS1.2",
                "none of the cipher suites [\"TLS_RSA_WITH_RC4_128_SHA\"] is supported",
            ),
        ];
        for (names, min, max, text) in cases {
            assert_eq!(suites(names, min, max), Err(text.to_owned()));
        }
    }
}
