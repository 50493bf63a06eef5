//! Certificates that OpenSSL and etcd made (`testdata/README.md`).

use super::{
    authority::{Authority, Leaf, Pair, testdata, testdata_pair},
    pair::{connect, connect_to, server},
};
use crate::{ClientOptions, Policy, ServerOptions};

fn shown(pair: &Pair) -> ClientOptions {
    ClientOptions {
        trusted_ca_file: Some(testdata("bundle.crt")),
        key_pair: Some((pair.cert.clone(), pair.key.clone())),
        ..ClientOptions::default()
    }
}

fn asking(pair: &Pair) -> ServerOptions {
    ServerOptions { trusted_ca_file: Some(testdata("bundle.crt")), ..server(pair) }
}

#[tokio::test]
async fn every_kind_of_key_serves_and_connects() {
    let clients = [
        ("kubeadm-client", "kube-apiserver-etcd-client"),
        ("kubeadm-server", "node1"),
        ("pkcs8-client", "pkcs8"),
        ("p384-client", "p384"),
        ("sha512-client", "sha512"),
        ("ed25519-client", "ed25519"),
        ("p521-server", "p521-server"),
        ("v1-client", "old"),
    ];
    for version in ["TLS1.2", "TLS1.3"] {
        let policy = Policy::new(&[], "", version).unwrap();
        for own in ["kubeadm-server", "ec-server", "p521-server"] {
            for (name, common_name) in clients {
                let client = shown(&testdata_pair(name));
                let client = ClientOptions { policy: policy.clone(), ..client };
                let outcome = connect(asking(&testdata_pair(own)), client).await;
                let identity = outcome.identity();
                assert_eq!(identity.common_name(), Some(common_name), "{own} {version}");
            }
        }
    }
}

#[tokio::test]
async fn one_file_may_hold_key_and_certificate() {
    let pair = Pair { cert: testdata("combined.pem"), key: testdata("combined.pem") };
    connect(asking(&pair), shown(&testdata_pair("pkcs8-client"))).await.identity();
}

#[tokio::test]
async fn lists_of_openssl_are_read_in_both_forms() {
    for file in ["revoked.crl", "revoked.crl.pem"] {
        let options =
            |name| ServerOptions { crl_file: Some(testdata(file)), ..asking(&testdata_pair(name)) };
        let own = "kubeadm-server";
        let refusal = connect(options(own), shown(&testdata_pair("kubeadm-client"))).await;
        assert_eq!(refusal.refusal(), "transport: certificate serial 1005 revoked");
        connect(options(own), shown(&testdata_pair("v1-client"))).await.identity();
    }
}

#[tokio::test]
async fn a_pair_that_etcd_made_is_used_again() {
    let pair = testdata_pair("etcd-auto");
    let careless = ClientOptions { insecure_skip_verify: true, ..ClientOptions::default() };
    connect(server(&pair), careless).await.identity();
}

#[tokio::test]
async fn a_server_of_version_1_has_no_name_to_check() {
    let outcome = connect_to(
        "localhost",
        server(&testdata_pair("v1-client")),
        shown(&testdata_pair("v1-client")),
    );
    assert!(outcome.await.opened.is_err());
}

#[tokio::test]
async fn a_signature_of_another_authority_does_not_count() {
    // Same names, other keys: neither webpki nor the direct way may take it.
    let impostor = Authority::new("etcd-ca");
    let pair = impostor.issue(&Leaf::named("old"));
    let refusal = connect(asking(&testdata_pair("ec-server")), shown(&pair)).await.refusal();
    assert!(refusal.starts_with("tls: failed to verify certificate: "), "{refusal}");
}
