//! Files and their errors, the latter as etcd 3.7.1 gave them.

use super::*;

fn load(text: &str) -> Result<Config, FileError> {
    let mut config = Config::default();
    read(text, &mut config).map(|_| config)
}

#[test]
fn the_usual_keys() {
    let config = load(
        "# a comment\n\
         name: 'm1'\n\
         data-dir: /var/lib/etcd\n\
         heartbeat-interval: 200\n\
         election-timeout: 2e3\n\
         quota-backend-bytes: 8589934592\n\
         watch-progress-notify-interval: 5000000000\n\
         listen-client-urls: http://127.0.0.1:2,http://127.0.0.1:1,http://127.0.0.1:1\n\
         advertise-client-urls: http://127.0.0.1:1\n\
         listen-metrics-urls: http://127.0.0.1:3\n\
         cors: '*'\n\
         host-whitelist: b,a\n\
         log-outputs: [stdout, stderr]\n\
         cipher-suites:\n  - B\n  - A\n\
         feature-gates: LeaseCheckpoint=true\n\
         pre-vote: no\n\
         strict-reconfig-check: false\n\
         v2-deprecation: anything\n\
         unknown-key: [1, {a: b}]\n\
         enable-v2: true\n\
         name: m2\n\
         wal-dir:\n",
    )
    .expect("a good file");
    assert_eq!((config.name.as_str(), config.data_dir.as_str()), ("m2", "/var/lib/etcd"));
    assert_eq!((config.heartbeat_interval_ms, config.election_timeout_ms), (200, 2000));
    assert_eq!(config.quota_bytes(), Some(8 << 30));
    assert_eq!(config.watch_progress_notify_interval.to_string(), "5s");
    let urls = ["http://127.0.0.1:1", "http://127.0.0.1:1", "http://127.0.0.1:2"];
    assert_eq!(config.listen_client_urls.texts(), urls);
    assert_eq!(config.listen_metrics_urls.texts(), ["http://127.0.0.1:3"]);
    assert_eq!(config.host_whitelist, ["a", "b"]);
    assert_eq!(config.log.outputs, ["stdout", "stderr"]);
    assert_eq!(config.cipher_suites, ["B", "A"]);
    assert!(config.feature_gates.enabled("LeaseCheckpoint"));
    assert!(!config.pre_vote && !config.strict_reconfig_check);
    assert_eq!(config.wal_dir, "");
}

#[test]
fn sections() {
    let config = load(
        "client-transport-security:\n  cert-file: c\n  client-cert-auth: true\n  allowed-cn: [x]\n\
         peer-transport-security: {auto-tls: true, skip-client-san-verification: true}\n\
         socket-options: {reuse-port: true}\n\
         discovery-config:\n  token: t\n  client:\n    endpoints: [b, a]\n    dial-timeout: 1000\n\
         \x20   secure: {cert: dc, server-name: s}\n    auth: {username: u, token: at}\n",
    )
    .expect("a good file");
    assert_eq!(config.client_tls.cert_file, "c");
    assert!(config.client_tls.client_cert_auth && config.client_tls.allowed_cn == ["x"]);
    assert!(config.peer_tls.auto_tls && config.peer_tls.skip_client_san_verification);
    assert!(config.socket_reuse_port && !config.socket_reuse_address);
    let discovery = &config.discovery;
    assert_eq!((discovery.token.as_str(), discovery.user.as_str()), ("t", "u"));
    assert_eq!(discovery.endpoints, ["b", "a"]);
    assert_eq!(discovery.dial_timeout.nanos(), 1000);
    assert_eq!((discovery.cert.as_str(), discovery.server_name.as_str()), ("dc", "s"));
    assert_eq!(config.initial_cluster, "", "discovery clears the default cluster");
}

#[test]
fn json_and_other_cases_are_fine() {
    let config = load("{\"Name\": \"a\", \"MAX-WALS\": 7, \"data-dir\": null}").expect("JSON");
    assert_eq!((config.name.as_str(), config.max_wals), ("a", 7));
    assert_eq!(load("").expect("an empty file"), Config::default());
    assert_eq!(load("name: a\n---\nname: b\n").expect("the first document").name, "a");
    // Flags without a key in the file.
    let config = load("version: true\nraft-read-timeout: 1\ncert-file: x\ndiscovery-token: y\n");
    assert_eq!(config.expect("passed over"), Config::default());
}

#[test]
fn type_errors_are_those_of_gos_decoder() {
    let field = "into Go struct field configYAML";
    let cases = [
        (
            "heartbeat-interval: abc",
            format!("string {field}.Config.heartbeat-interval of type uint"),
        ),
        (
            "heartbeat-interval: 1.5",
            format!("number 1.5 {field}.Config.heartbeat-interval of type uint"),
        ),
        (
            "heartbeat-interval: -1",
            format!("number -1 {field}.Config.heartbeat-interval of type uint"),
        ),
        ("name: [a]", format!("array {field}.Config.name of type string")),
        ("name: 12", format!("number {field}.Config.name of type string")),
        (
            "watch-progress-notify-interval: 5m",
            format!("string {field}.Config.watch-progress-notify-interval of type time.Duration"),
        ),
        ("pre-vote: \"true\"", format!("string {field}.Config.pre-vote of type bool")),
        (
            "max-concurrent-streams: 5000000000",
            format!("number 5000000000 {field}.Config.max-concurrent-streams of type uint32"),
        ),
        ("log-outputs: stderr", format!("string {field}.Config.log-outputs of type []string")),
        ("log-outputs: [1]", format!("number {field}.Config.log-outputs of type string")),
        (
            "listen-metrics-urls: 1",
            format!("number {field}.Config.listen-metrics-urls of type string"),
        ),
        (
            "feature-gates: {a: b}",
            format!("object {field}.configJSON.feature-gates of type string"),
        ),
        (
            "client-transport-security: x",
            format!(
                "string {field}.configJSON.client-transport-security of type embed.securityConfig"
            ),
        ),
        (
            "client-transport-security: {client-cert-auth: 12}",
            "number into Go struct field securityConfig.configJSON.\
          client-transport-security.client-cert-auth of type bool"
                .to_string(),
        ),
        (
            "discovery-config: {client: {dial-timeout: x}}",
            "string into Go struct field ConfigSpec.Config.\
          discovery-config.client.dial-timeout of type time.Duration"
                .to_string(),
        ),
        (
            "socket-options: {reuse-port: x}",
            "string into Go struct field SocketOpts.Config.socket-options.reuse-port of type bool"
                .to_string(),
        ),
        (
            "max-wals: 99999999999999999999",
            format!("number 100000000000000000000 {field}.Config.max-wals of type uint"),
        ),
        ("max-wals: yes", format!("bool {field}.Config.max-wals of type uint")),
        ("- a", "array into Go value of type embed.configYAML".to_string()),
        ("abc", "string into Go value of type embed.configYAML".to_string()),
        // Keys are taken in the order of their bytes, whatever their order in the file.
        (
            "name: 1\nheartbeat-interval: x",
            format!("string {field}.Config.heartbeat-interval of type uint"),
        ),
    ];
    for (text, error) in cases {
        let want =
            format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {error}");
        assert_eq!(load(text), Err(FileError::Invalid(want)), "{text}");
    }
}

#[test]
fn other_errors_are_etcds() {
    let exit = |code, text: &str| Err(FileError::Exit(code, format!("{text}\n")));
    let scheme = "URL scheme must be http, https, unix, or unixs: foo";
    for (key, said) in URL_KEYS {
        let text = format!("unexpected error setting up {said}: {scheme}");
        assert_eq!(load(&format!("{key}: foo")), exit(1, &text));
    }
    let panic = format!("panic: new UniqueURLs should never fail: {scheme}");
    assert_eq!(load("cors: foo"), exit(2, &panic));
    let invalid = |text: &str| Err(FileError::Invalid(text.to_string()));
    assert_eq!(load("feature-gates: Foo=true"), invalid("unrecognized feature gate: Foo"));
    assert_eq!(load("peer-transport-security:"), invalid("invalid peer-transport-security"));
    assert!(load("client-transport-security:").is_ok());
    match load("a: b: c") {
        Err(FileError::Invalid(text)) => {
            assert!(text.starts_with("error converting YAML to JSON: yaml: "), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
