//! What leads to a trusted authority, at given times.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose as Usage,
    GeneralSubtree, IsCa, KeyUsagePurpose, NameConstraints,
};

use super::*;
use crate::tests::authority::{Authority, Leaf, authority_params, testdata, testdata_pair};

/// 2030-01-01.
const NOW: u64 = 1_893_456_000;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn certificate(path: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(path).unwrap()
}

fn roots(path: &Path) -> Roots {
    Roots::load(path).unwrap()
}

fn is_client(roots: &Roots, leaf: &CertificateDer<'_>) -> bool {
    roots.verify(leaf, &[], at(NOW), Purpose::Client).is_ok()
}

#[test]
fn a_trusted_certificate_vouches_for_itself_while_it_is_valid() {
    let pair = testdata_pair("etcd-auto");
    let (own, roots) = (certificate(&pair.cert), roots(&pair.cert));
    assert!(roots.verify(&own, &[], at(NOW), Purpose::Server).is_ok());
    assert!(roots.verify(&own, &[], at(NOW), Purpose::Client).is_err());
    assert!(roots.verify(&own, &[], at(1_000), Purpose::Server).is_err());
    assert!(roots.verify(&own, &[], at(NOW * 4), Purpose::Server).is_err());
}

#[test]
fn version_1_is_taken_from_the_authority_itself_only() {
    let leaf = certificate(&testdata_pair("v1-client").cert);
    assert!(is_client(&roots(&testdata("ca-rsa.crt")), &leaf));
    assert!(!is_client(&roots(&testdata("ca-ec.crt")), &leaf));
    assert!(is_client(&roots(&testdata("bundle.crt")), &leaf));
    let late = roots(&testdata("ca-rsa.crt")).verify(&leaf, &[], at(NOW * 3), Purpose::Client);
    assert!(late.is_err());
}

#[test]
fn an_authority_may_be_a_client() {
    let root = Authority::new("root");
    let middle = root.issue(&Leaf { is_ca: true, ..Leaf::named("middle") });
    let middle = certificate(&middle.cert);
    assert!(is_client(&roots(&root.file()), &middle));
    let stranger = Authority::new("root");
    assert!(!is_client(&roots(&stranger.file()), &middle));
}

#[test]
fn a_leaf_signs_nobody() {
    let root = Authority::new("root");
    let usages = vec![Usage::ServerAuth];
    let leaf = root.issue(&Leaf { usages, ..Leaf::named("leaf") });
    // A file of authorities with a leaf in it trusts that leaf, and nothing that it might sign.
    let trusting = roots(&leaf.cert);
    assert!(trusting.verify(&certificate(&leaf.cert), &[], at(NOW), Purpose::Server).is_ok());
    let sibling = certificate(&root.issue(&Leaf::named("sibling")).cert);
    assert!(!is_client(&trusting, &sibling));
}

#[test]
fn authorities_must_be_meant_to_sign() {
    let root = Authority::new("root");
    let way = |params: CertificateParams| {
        let middle = root.below_with(params);
        let leaf = certificate(&middle.issue(&Leaf::named("leaf")).cert);
        let middle = CertificateDer::from_pem_slice(middle.pem.as_bytes()).unwrap();
        roots(&root.file()).verify(&leaf, &[middle], at(NOW), Purpose::Client).is_ok()
    };
    assert!(way(authority_params("middle")));
    let mut keyless = authority_params("middle");
    keyless.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    assert!(!way(keyless));
    let mut any = authority_params("middle");
    any.extended_key_usages = vec![Usage::Any];
    assert!(way(any));
    let mut other = authority_params("middle");
    other.extended_key_usages = vec![Usage::ServerAuth];
    assert!(!way(other));
}

#[test]
fn a_root_may_be_too_far_away() {
    let mut params = authority_params("root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = Authority::new("above").below_with(params);
    let direct = certificate(&root.issue(&Leaf::named("direct")).cert);
    assert!(is_client(&roots(&root.file()), &direct));
    let middle = root.below("middle");
    let leaf = certificate(&middle.issue(&Leaf::named("leaf")).cert);
    let middle = CertificateDer::from_pem_slice(middle.pem.as_bytes()).unwrap();
    let verified = roots(&root.file()).verify(&leaf, &[middle], at(NOW), Purpose::Client);
    assert!(verified.is_err());
}

#[test]
fn what_is_critical_must_be_understood() {
    let root = Authority::new("root");
    let with = |critical| {
        let mut params = Authority::params(&Leaf::named("strange"));
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(critical);
        params.custom_extensions.push(extension);
        certificate(&root.issue_with(params, "").cert)
    };
    let roots = roots(&root.file());
    assert!(is_client(&roots, &with(false)));
    assert!(!is_client(&roots, &with(true)));
}

#[test]
fn an_authority_that_constrains_names_is_held_to_that() {
    let root = Authority::new("root");
    let mut params = Authority::params(&Leaf { is_ca: true, ..Leaf::named("constrained") });
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("good.example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    params.extended_key_usages.clear();
    let constrained = root.below_with(params);
    let roots = roots(&constrained.file());
    let leaf = |names, usage| {
        let leaf = Leaf { names, usages: vec![usage], ..Leaf::default() };
        certificate(&constrained.issue(&leaf).cert)
    };
    assert!(is_client(&roots, &leaf(&["a.good.example"], Usage::ClientAuth)));
    assert!(!is_client(&roots, &leaf(&["a.bad.example"], Usage::ClientAuth)));
    assert!(is_client(&roots, &leaf(&["a.good.example"], Usage::Any)));
    assert!(!is_client(&roots, &leaf(&["a.bad.example"], Usage::Any)));
    // A certificate that only the direct way would take is refused.
    let leaf = Leaf { is_ca: true, ..Leaf::named("authority") };
    assert!(!is_client(&roots, &certificate(&constrained.issue(&leaf).cert)));
}

#[test]
fn a_bundle_has_every_certificate_of_its_file() {
    assert_eq!(roots(&testdata("bundle.crt")).anchors.len(), 3);
    assert!(roots(&testdata("README.md")).is_empty());
}
