//! What flags of TLS are refused with.

use super::*;

fn config(args: &[&str]) -> Config {
    let mut args: Vec<std::ffi::OsString> = args.iter().map(Into::into).collect();
    args.insert(0, "etcd".into());
    args.push("--name=t".into());
    match config::parse(args, [], || Err("no host".to_owned())) {
        Ok(parsed) => parsed.config,
        Err(_) => panic!("bad flags"),
    }
}

fn refusal(args: &[&str]) -> String {
    format!("{:#}", Security::open(&config(args)).err().expect("a refusal"))
}

#[test]
fn refusals_are_etcds() {
    const CLIENT: &str = "--listen-client-urls=https://127.0.0.1:1";
    const ADVERTISE: &str = "--advertise-client-urls=https://127.0.0.1:1";
    let cases: [(&[&str], &str); 9] = [
        (
            &[CLIENT, ADVERTISE],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            &["--listen-client-http-urls=https://127.0.0.1:2"],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:2 with HTTPS scheme",
        ),
        (
            &["--listen-metrics-urls=https://127.0.0.1:3"],
            "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
        ),
        (
            &["--listen-peer-urls=https://127.0.0.1:4"],
            "cannot listen on TLS for 127.0.0.1:4: KeyFile and CertFile are not presented",
        ),
        (
            &[CLIENT, ADVERTISE, "--cert-file=/c"],
            "KeyFile and CertFile must both be present[key: , cert: /c]",
        ),
        (
            &["--peer-cert-file=/c", "--peer-key-file=/k", "--peer-client-key-file=/x"],
            "ClientKeyFile and ClientCertFile must both be present or both absent: key: /x, cert: ]",
        ),
        (
            &["--peer-cert-file=/nowhere/c", "--peer-key-file=/nowhere/k"],
            "open /nowhere/c: no such file or directory",
        ),
        (&["--cipher-suites=x,y"], "unexpected TLS cipher suite \"x\""),
        (
            &[
                "--peer-cert-file=/c",
                "--peer-key-file=/k",
                "--peer-cert-allowed-cn=a,b",
                "--peer-cert-allowed-hostname=c",
            ],
            "AllowedCNs and AllowedHostnames are mutually exclusive (cns=[\"a\" \"b\"], \
             hostnames=[\"c\"])",
        ),
    ];
    for (args, text) in cases {
        assert_eq!(refusal(args), text);
    }
}

#[test]
fn certificates_are_made_where_asked_for() {
    let folder = tempfile::TempDir::new().unwrap();
    let data_dir = format!("--data-dir={}", folder.path().display());
    let args = [
        &data_dir,
        "--auto-tls",
        "--peer-auto-tls",
        "--client-cert-auth",
        "--listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:2",
        "--advertise-client-urls=https://127.0.0.1:1",
        "--listen-metrics-urls=https://127.0.0.1:3",
        "--listen-peer-urls=https://localhost:4",
    ];
    let config = config(&args);
    let security = Security::open(&config).unwrap();
    for side in ["client", "peer"] {
        assert!(folder.path().join("fixtures").join(side).join("cert.pem").exists());
    }
    let urls = &config.listen_client_urls;
    let is_tls: Vec<bool> = urls.iter().map(|url| security.client_acceptor(url).is_tls()).collect();
    assert_eq!(is_tls, [false, true]);
    assert!(security.metrics_acceptor(&config.listen_metrics_urls[0]).is_tls());
    assert!(security.peer_acceptor(&config.listen_peer_urls[0]).is_tls());
    let validity = refusal(&["--auto-tls", "--self-signed-cert-validity=0"]);
    let text = "selfSignedCertValidity is invalid,it should be greater than 0";
    assert_eq!(validity, format!("failed to get client self-signed certs: {text}"));
}
