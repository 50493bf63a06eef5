//! Certificates of a cluster: an authority, what members show each other and clients, and what a
//! client shows them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// Files in PEM, as the flags of members and clients name them.
#[derive(Clone, Debug)]
pub struct Certificates {
    directory: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Certificates {
    /// Makes all files in a directory, for members at these addresses.
    pub fn make(directory: &Path, addresses: &[String]) -> Result<Certificates> {
        std::fs::create_dir_all(directory)?;
        let made = Certificates { directory: directory.to_owned() };
        made.authority("client", &["server", "user"], addresses)?;
        made.authority("peer", &["peer"], addresses)?;
        // One that no member trusts.
        made.authority("stranger", &["stranger"], addresses)?;
        Ok(made)
    }

    fn authority(&self, name: &str, holders: &[&str], addresses: &[String]) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{name}-ca"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        std::fs::write(self.ca(name), issuer.pem())?;
        for holder in holders {
            let mut names = vec!["localhost".to_owned()];
            names.extend_from_slice(addresses);
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name.push(DnType::CommonName, *holder);
            params.extended_key_usages =
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate()?;
            let pair = self.pair(holder);
            std::fs::write(pair.cert, params.signed_by(&key, &issuer)?.pem())?;
            std::fs::write(pair.key, key.serialize_pem())?;
        }
        Ok(())
    }

    /// The certificate of the authority of this name: `client` or `peer`.
    pub fn ca(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}-ca.crt"))
    }

    /// What `server`, `peer`, `user` or `stranger` shows.
    pub fn pair(&self, holder: &str) -> Pair {
        let file = |end: &str| self.directory.join(format!("{holder}.{end}"));
        Pair { cert: file("crt"), key: file("key") }
    }

    /// The flags of a member, as a unit file of systemd has them.
    pub fn flags(&self) -> Vec<String> {
        let (server, peer) = (self.pair("server"), self.pair("peer"));
        vec![
            format!("--cert-file={}", server.cert.display()),
            format!("--key-file={}", server.key.display()),
            format!("--trusted-ca-file={}", self.ca("client").display()),
            "--client-cert-auth=true".into(),
            format!("--peer-cert-file={}", peer.cert.display()),
            format!("--peer-key-file={}", peer.key.display()),
            format!("--peer-trusted-ca-file={}", self.ca("peer").display()),
            "--peer-client-cert-auth=true".into(),
        ]
    }

    /// Opens connections that trust the clients' authority and show what `holder` has, or nothing.
    pub fn connector(&self, holder: Option<&str>) -> Result<tls::Connector> {
        let key_pair = holder.map(|holder| {
            let pair = self.pair(holder);
            (pair.cert, pair.key)
        });
        let options = tls::ClientOptions {
            trusted_ca_file: Some(self.ca("client")),
            key_pair,
            protocols: vec!["h2"],
            ..tls::ClientOptions::default()
        };
        tls::Connector::new(options).context("read certificates")
    }
}
