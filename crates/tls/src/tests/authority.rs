//! An authority that makes certificates for tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

/// A key and what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
    folder: TempDir,
}

/// A certificate's files.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What a certificate says.
pub(crate) struct Leaf {
    pub(crate) common_name: &'static str,
    pub(crate) names: &'static [&'static str],
    pub(crate) usages: Vec<Usage>,
    pub(crate) serial: u64,
    pub(crate) years: (i32, i32),
    pub(crate) is_ca: bool,
}

/// The parameters of an authority that its name may be set in.
pub(crate) fn authority_params(name: &'static str) -> CertificateParams {
    authority(name, (2020, 2120))
}

impl Default for Leaf {
    /// A certificate for servers on this machine and for clients.
    fn default() -> Leaf {
        Leaf {
            common_name: "leaf",
            names: &["localhost", "127.0.0.1"],
            usages: vec![Usage::ServerAuth, Usage::ClientAuth],
            serial: 7,
            years: (2020, 2120),
            is_ca: false,
        }
    }
}

impl Leaf {
    /// One with a common name and no other name.
    pub(crate) fn named(common_name: &'static str) -> Leaf {
        Leaf { common_name, names: &[], ..Leaf::default() }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(self.years.0, 1, 1);
        params.not_after = date_time_ymd(self.years.1, 1, 1);
        params.serial_number = Some(SerialNumber::from(self.serial));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.common_name);
        params.extended_key_usages = self.usages.clone();
        params.subject_alt_names = self.names.iter().map(|name| alternative(name)).collect();
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        params
    }
}

fn alternative(name: &str) -> SanType {
    match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into().unwrap()),
    }
}

fn authority(name: &'static str, years: (i32, i32)) -> CertificateParams {
    let usages = Vec::new();
    Leaf { common_name: name, names: &[], usages, serial: 1, years, is_ca: true }.params()
}

impl Authority {
    /// One that signs itself.
    pub(crate) fn new(name: &'static str) -> Authority {
        Authority::valid_in(name, (2020, 2120))
    }

    /// One that signs itself and is valid in these years.
    pub(crate) fn valid_in(name: &'static str, years: (i32, i32)) -> Authority {
        let (params, key) = (authority(name, years), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem, folder: TempDir::new().unwrap() }
    }

    /// One below this one.
    pub(crate) fn below(&self, name: &'static str) -> Authority {
        self.below_with(authority(name, (2020, 2120)))
    }

    /// One below this one with these parameters.
    pub(crate) fn below_with(&self, params: CertificateParams) -> Authority {
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem, folder: TempDir::new().unwrap() }
    }

    /// A new certificate in files of its own.
    pub(crate) fn issue(&self, leaf: &Leaf) -> Pair {
        self.issue_with(leaf.params(), "")
    }

    /// A new certificate, and this authority's behind it.
    pub(crate) fn issue_chain(&self, leaf: &Leaf) -> Pair {
        self.issue_with(leaf.params(), &self.pem)
    }

    /// A new certificate with these parameters, and more in its file.
    pub(crate) fn issue_with(&self, params: CertificateParams, more: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem() + more;
        let count = fs::read_dir(self.folder.path()).unwrap().count();
        let path = |end: &str| self.folder.path().join(format!("{count}.{end}"));
        let pair = Pair { cert: path("crt"), key: path("key") };
        fs::write(&pair.cert, pem).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    /// The parameters of a leaf, to be changed.
    pub(crate) fn params(leaf: &Leaf) -> CertificateParams {
        leaf.params()
    }

    /// A file with this authority's certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.write("ca.crt", self.pem.as_bytes())
    }

    /// A file with a list of revoked serial numbers.
    pub(crate) fn revocations(&self, serials: &[u64]) -> PathBuf {
        self.write("revoked.crl", &self.revocation_list(serials))
    }

    /// A list of revoked serial numbers in DER.
    pub(crate) fn revocation_list(&self, serials: &[u64]) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2022, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    /// A file in this authority's folder.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// A file of the folder `testdata`.
pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

/// A pair of the folder `testdata`.
pub(crate) fn testdata_pair(name: &str) -> Pair {
    Pair { cert: testdata(&format!("{name}.crt")), key: testdata(&format!("{name}.key")) }
}
