//! Certificates made at start (`--auto-tls`, `--peer-auto-tls`): self-signed, kept in a folder and
//! used again at the next start.
//!
//! As in etcd, but for the key: P-256 instead of P-521. A pair that an etcd left is used as it is.

use std::{
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rand::RngCore as _;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};

use crate::error::Error;

/// The files of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The pair in `folder`, made for these hosts (names or addresses) if it is not there, and valid
/// for so many years of 365 days.
pub fn open(folder: &Path, hosts: &[String], years: u64) -> Result<Files, Error> {
    if years == 0 {
        let text = "selfSignedCertValidity is invalid,it should be greater than 0";
        return Err(Error::Options(text.to_owned()));
    }
    let failed = |path: &Path, error: &std::io::Error| Error::reading(path, error);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| failed(folder, &error))?;
    let folder = std::path::absolute(folder).map_err(|error| failed(folder, &error))?;
    let files = Files { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    if files.cert.exists() && files.key.exists() {
        return Ok(files);
    }
    let (cert, key) = make(hosts, years).map_err(|error| Error::File(error.to_string()))?;
    write(&files.cert, cert.as_bytes(), 0o666).map_err(|error| failed(&files.cert, &error))?;
    tracing::info!(path = %files.cert.display(), "created cert file");
    write(&files.key, key.as_bytes(), 0o600).map_err(|error| failed(&files.key, &error))?;
    tracing::info!(path = %files.key.display(), "created key file");
    Ok(files)
}

fn make(hosts: &[String], years: u64) -> Result<(String, String), rcgen::Error> {
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let not_before = SystemTime::now();
    let validity = u32::try_from(years).ok().and_then(|years| year.checked_mul(years));
    let not_after = validity.and_then(|validity| not_before.checked_add(validity));
    let latest = rcgen::date_time_ymd(9999, 12, 31);
    let mut params = CertificateParams::default();
    params.not_before = not_before.into();
    params.not_after = not_after.map_or(latest, |time| latest.min(time.into()));
    let mut serial = [0; 16];
    rand::rng().fill_bytes(&mut serial);
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "etcd");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::CrlSign,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for host in hosts.iter().filter(|host| !host.is_empty()) {
        params.subject_alt_names.push(match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.as_str().try_into()?),
        });
    }
    tracing::warn!(
        "certificate-validity-years" = years,
        ?hosts,
        "automatically generate certificates"
    );
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
