//! Which certificates are accepted, and who is seen.

use rcgen::ExtendedKeyUsagePurpose as Usage;

use super::{
    authority::{Authority, Leaf, authority_params},
    pair::{client, connect, connect_to, server, strict_server},
};
use crate::{Allowed, ClientOptions, Policy, ServerOptions};

const FAILED: &str = "tls: failed to verify certificate: x509: ";

#[tokio::test]
async fn a_certificate_is_required_where_there_is_an_authority() {
    let authority = Authority::new("ca");
    let outcome = connect(strict_server(&authority), client(&authority, None)).await;
    assert_eq!(outcome.refusal(), "tls: client didn't provide a certificate");
    // The client is told why, although it has sent more by then.
    let told = outcome.opened.unwrap_err();
    assert!(told.contains("CertificateRequired"), "{told}");
    // The file alone is enough.
    let options = ServerOptions { client_cert_auth: false, ..strict_server(&authority) };
    let refusal = connect(options, client(&authority, None)).await.refusal();
    assert_eq!(refusal, "tls: client didn't provide a certificate");
}

#[tokio::test]
async fn the_server_sees_who_connects() {
    let authority = Authority::new("ca");
    let leaf = Leaf { common_name: "alice", names: &["a.example", "10.0.0.1"], ..Leaf::default() };
    let pair = authority.issue(&leaf);
    let identity =
        connect(strict_server(&authority), client(&authority, Some(&pair))).await.identity();
    assert_eq!(identity.common_name(), Some("alice"));
    assert!(identity.is_tls);
    assert!(identity.remote.unwrap().ip().is_loopback());
    let certificate = identity.certificate.unwrap();
    assert_eq!(certificate.dns_names, ["a.example"]);
    assert_eq!(certificate.ip_addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(certificate.serial, [7]);
}

#[tokio::test]
async fn a_certificate_that_nobody_asked_for_says_nothing() {
    let authority = Authority::new("ca");
    let own = authority.issue(&Leaf::default());
    let pair = authority.issue(&Leaf::named("alice"));
    let identity = connect(server(&own), client(&authority, Some(&pair))).await.identity();
    assert!(identity.is_tls);
    assert_eq!(identity.certificate, None);
    assert_eq!(identity.common_name(), None);
}

#[tokio::test]
async fn certificates_that_do_not_hold_are_refused() {
    let authority = Authority::new("ca");
    let namesake = Authority::new("ca");
    let outdated = |years| Leaf { years, ..Leaf::named("late") };
    let only = |usage| Leaf { usages: vec![usage], ..Leaf::named("other use") };
    let cases = [
        (namesake.issue(&Leaf::named("alice")), "certificate signed by unknown authority"),
        (
            namesake.issue_with(authority_params("another"), ""),
            "certificate signed by unknown authority",
        ),
        (
            authority.issue(&outdated((2000, 2001))),
            "certificate has expired or is not yet valid: current time 20",
        ),
        (
            authority.issue(&outdated((2100, 2101))),
            "certificate has expired or is not yet valid: current time 20",
        ),
        (
            authority.issue(&only(Usage::ServerAuth)),
            "certificate specifies an incompatible key usage",
        ),
    ];
    for (pair, reason) in cases {
        let refusal =
            connect(strict_server(&authority), client(&authority, Some(&pair))).await.refusal();
        assert!(refusal.starts_with(&format!("{FAILED}{reason}")), "{refusal}");
    }
    for usage in [Usage::ClientAuth, Usage::Any] {
        let pair = authority.issue(&only(usage));
        connect(strict_server(&authority), client(&authority, Some(&pair))).await.identity();
    }
}

#[tokio::test]
async fn chains_lead_to_the_authority() {
    let root = Authority::new("root");
    let middle = root.below("middle");
    let alone = middle.issue(&Leaf::named("alone"));
    let refusal = connect(strict_server(&root), client(&root, Some(&alone))).await.refusal();
    assert_eq!(refusal, format!("{FAILED}certificate signed by unknown authority"));

    let chained = middle.issue_chain(&Leaf::named("chained"));
    let identity = connect(strict_server(&root), client(&root, Some(&chained))).await.identity();
    assert_eq!(identity.common_name(), Some("chained"));

    // Neither an expired root nor one without a right to sign vouches for anybody.
    let expired = Authority::valid_in("expired", (2000, 2001));
    let pair = expired.issue(&Leaf::named("orphan"));
    let options = ServerOptions { trusted_ca_file: Some(expired.file()), ..strict_server(&root) };
    let refusal = connect(options, client(&root, Some(&pair))).await.refusal();
    let reason = "certificate has expired or is not yet valid";
    assert_eq!(refusal, format!("{FAILED}{reason}"));
}

#[tokio::test]
async fn revoked_certificates_are_refused_wherever_they_stand() {
    let root = Authority::new("root");
    let middle = root.below("middle");
    let revoking = |serials: &[u64]| ServerOptions {
        crl_file: Some(root.revocations(serials)),
        ..strict_server(&root)
    };
    let good = root.issue(&Leaf { serial: 0x1234, ..Leaf::named("good") });
    let bad = root.issue(&Leaf { serial: 0xff01, ..Leaf::named("bad") });
    connect(revoking(&[0xff01]), client(&root, Some(&good))).await.identity();
    connect(revoking(&[]), client(&root, Some(&bad))).await.identity();
    let refusal = connect(revoking(&[5, 0xff01]), client(&root, Some(&bad))).await.refusal();
    assert_eq!(refusal, "transport: certificate serial ff01 revoked");

    // The one in the middle has serial number 1.
    let chained = middle.issue_chain(&Leaf::named("chained"));
    let refusal = connect(revoking(&[1]), client(&root, Some(&chained))).await.refusal();
    assert_eq!(refusal, "transport: certificate serial 01 revoked");
}

#[tokio::test]
async fn common_names_and_hosts_may_be_restricted() {
    const NOT_ALLOWED: &str = "client certificate authentication failed";
    let authority = Authority::new("ca");
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let allowing = |allowed| ServerOptions { allowed, ..strict_server(&authority) };
    let leaf = Leaf { common_name: "etcd", names: &["*.example", "10.0.0.1"], ..Leaf::default() };
    let pair = authority.issue(&leaf);
    let client = || client(&authority, Some(&pair));
    for allowed in [
        Allowed::CommonNames(names(&["other", "etcd"])),
        Allowed::Hosts(names(&["node1.example"])),
        Allowed::Hosts(names(&["nowhere", "10.0.0.1"])),
    ] {
        connect(allowing(allowed), client()).await.identity();
    }
    for refused in [
        Allowed::CommonNames(names(&["ETCD"])),
        Allowed::CommonNames(names(&[""])),
        Allowed::Hosts(names(&["a.b.example", "10.0.0.2", "etcd"])),
        Allowed::Hosts(names(&[""])),
    ] {
        assert_eq!(connect(allowing(refused), client()).await.refusal(), NOT_ALLOWED);
    }
}

#[tokio::test]
async fn clients_check_who_serves() {
    let authority = Authority::new("ca");
    let other = Authority::new("other");
    let named = |names| server(&authority.issue(&Leaf { names, ..Leaf::default() }));
    let opened = async |server, client| connect(server, client).await.opened;

    let error = opened(named(&["localhost"]), client(&authority, None)).await.unwrap_err();
    assert!(error.starts_with(FAILED), "{error}");
    let by_name = connect_to("localhost", named(&["localhost"]), client(&authority, None));
    by_name.await.identity();
    let server_name = Some("localhost".to_owned());
    let options = ClientOptions { server_name, ..client(&authority, None) };
    opened(named(&["localhost"]), options).await.unwrap();

    // A common name is no name of a server.
    let named_only = Leaf { names: &[], common_name: "localhost", ..Leaf::default() };
    let outcome =
        connect_to("localhost", server(&authority.issue(&named_only)), client(&authority, None));
    assert!(outcome.await.opened.is_err());

    let error = opened(named(&["127.0.0.1"]), client(&other, None)).await.unwrap_err();
    assert_eq!(error, format!("{FAILED}certificate signed by unknown authority"));
    let careless = ClientOptions { insecure_skip_verify: true, ..client(&other, None) };
    opened(named(&["elsewhere"]), careless).await.unwrap();
}

#[tokio::test]
async fn versions_and_protocols_are_agreed_on() {
    let authority = Authority::new("ca");
    let policy = |min, max| Policy::new(&[], min, max).unwrap();
    let (old, new) = (policy("", "TLS1.2"), policy("TLS1.3", ""));
    let own = authority.issue(&Leaf::default());
    let pair = authority.issue(&Leaf::named("alice"));
    for (ours, theirs, agree) in [
        (old.clone(), old.clone(), true),
        (new.clone(), new.clone(), true),
        (Policy::default(), old.clone(), true),
        (new.clone(), old.clone(), false),
    ] {
        let trusted_ca_file = Some(authority.file());
        let server = ServerOptions { policy: ours, trusted_ca_file, ..server(&own) };
        let client = ClientOptions { policy: theirs, ..client(&authority, Some(&pair)) };
        let outcome = connect(server, client).await;
        if agree {
            assert_eq!(outcome.identity().common_name(), Some("alice"));
        } else {
            outcome.refusal();
        }
    }
    let suites = ["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned()];
    let one = Policy::new(&suites, "TLS1.2", "TLS1.2").unwrap();
    connect(ServerOptions { policy: one, ..server(&own) }, client(&authority, None))
        .await
        .identity();
}

#[tokio::test]
async fn a_client_must_come_from_where_its_certificate_says() {
    let authority = Authority::new("ca");
    let checking = || ServerOptions { check_remote_address: true, ..strict_server(&authority) };
    let outcome = async |names| {
        let pair = authority.issue(&Leaf { names, ..Leaf::default() });
        connect(checking(), client(&authority, Some(&pair))).await
    };
    outcome(&[]).await.identity();
    outcome(&["127.0.0.1"]).await.identity();
    outcome(&["localhost"]).await.identity();
    outcome(&["10.0.0.1", "localhost"]).await.identity();
    // The server closes a connection that was good until then.
    let refused = outcome(&["10.0.0.1", "10.0.0.2"]).await.accepted.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "x509: certificate is valid for 10.0.0.1, 10.0.0.2, not 127.0.0.1"
    );
    let refused = outcome(&["etcd.invalid"]).await.accepted.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "tls: \"127.0.0.1\" does not match any of DNSNames [\"etcd.invalid\"]"
    );
}
