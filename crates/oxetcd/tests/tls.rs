//! A member with TLS as its operator and its clients meet it. Certificates are those of
//! `crates/tls/testdata`.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tls::{ClientOptions, Connector, Scheme, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn testdata(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tls/testdata").join(name);
    path.display().to_string()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A member on free ports. `{0}`, `{1}` and `{2}` in its arguments stand for three of them.
struct Member {
    child: Child,
    ports: [u16; 3],
    dir: tempfile::TempDir,
}

impl Member {
    /// Starts without waiting.
    fn spawn(arguments: &[&str]) -> Member {
        let ports = [free_port(), free_port(), free_port()];
        let dir = tempfile::tempdir().unwrap();
        let peer = format!("http://127.0.0.1:{}", free_port());
        let mut command = Command::new(env!("CARGO_BIN_EXE_oxetcd"));
        command.arg("server").arg("--data-dir").arg(dir.path().join("data"));
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        let folder = dir.path().display().to_string();
        for argument in arguments {
            let mut argument = argument.replace("{dir}", &folder);
            for (at, port) in ports.iter().enumerate() {
                argument = argument.replace(&format!("{{{at}}}"), &port.to_string());
            }
            command.arg(argument);
        }
        let log = File::create(dir.path().join("log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Member { child, ports, dir }
    }

    /// Starts and waits until it serves.
    fn start(arguments: &[&str]) -> Member {
        let member = Member::spawn(arguments);
        member.wait_for("ready to serve client requests");
        member
    }

    fn wait_for(&self, line: &str) {
        let until = Instant::now() + Duration::from_secs(20);
        while !self.log().contains(line) {
            assert!(Instant::now() < until, "no {line:?} in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A client that trusts the authorities and shows this certificate.
fn client(name: Option<&str>) -> Connector {
    let file = |end: &str| name.map(|name| testdata(&format!("{name}.{end}")).into());
    let options = ClientOptions {
        trusted_ca_file: Some(testdata("bundle.crt").into()),
        key_pair: file("crt").zip(file("key")),
        ..ClientOptions::default()
    };
    Connector::new(options).unwrap()
}

/// Asks for a path on a connection and leaves it open; the status and the body.
async fn ask(stream: &mut Stream, path: &str) -> std::io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await?;
        answer.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).expect("a length");
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if body.len() >= length {
                let code = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Ok((code, body.to_owned()));
            }
        }
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Opens a connection and asks once.
async fn get(
    connector: &Connector,
    scheme: Scheme,
    port: u16,
    path: &str,
) -> Result<(u16, String), String> {
    let opened = connector.connect(scheme, "127.0.0.1", port).await;
    let mut stream = opened.map_err(|error| error.to_string())?;
    ask(&mut stream, path).await.map_err(|error| error.to_string())
}

const HEALTHY: &str = r#"{"health":"true","reason":""}"#;

#[tokio::test]
async fn clients_need_a_certificate_that_is_not_revoked() {
    let crl = tempfile::NamedTempFile::new().unwrap();
    // A list that has nobody on it yet.
    fs::copy(testdata("nobody.crl"), crl.path()).unwrap();
    let member = Member::start(&[
        "--listen-client-urls=https://127.0.0.1:{0}",
        "--advertise-client-urls=https://127.0.0.1:{0}",
        "--listen-metrics-urls=https://127.0.0.1:{1}",
        &format!("--cert-file={}", testdata("kubeadm-server.crt")),
        &format!("--key-file={}", testdata("kubeadm-server.key")),
        &format!("--trusted-ca-file={}", testdata("bundle.crt")),
        "--client-cert-auth",
        &format!("--client-crl-file={}", crl.path().display()),
    ]);
    let (good, other) = (client(Some("kubeadm-client")), client(Some("v1-client")));
    for port in [member.ports[0], member.ports[1]] {
        for connector in [&good, &other] {
            let answer = get(connector, Scheme::Tls, port, "/health").await;
            assert_eq!(answer, Ok((200, HEALTHY.to_owned())));
        }
        let refused = get(&client(None), Scheme::Tls, port, "/health").await.unwrap_err();
        assert!(refused.contains("CertificateRequired"), "{refused}");
        assert!(get(&good, Scheme::Plain, port, "/health").await.is_err());
    }
    let lines = ["serving client traffic securely", "tls: client didn't provide a certificate"];
    for line in lines {
        member.wait_for(line);
    }
    assert!(!member.log().contains("serving client traffic insecurely"));

    // The list changes while the member runs: new connections are refused, old ones go on.
    let mut old = good.connect(Scheme::Tls, "127.0.0.1", member.ports[0]).await.unwrap();
    assert_eq!(ask(&mut old, "/health").await.unwrap().0, 200);
    fs::copy(testdata("revoked.crl"), crl.path()).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while get(&good, Scheme::Tls, member.ports[0], "/health").await.is_ok() {
        assert!(Instant::now() < until, "the list is not read again:\n{}", member.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    member.wait_for("transport: certificate serial 1005 revoked");
    assert!(get(&other, Scheme::Tls, member.ports[0], "/health").await.is_ok());
    assert_eq!(ask(&mut old, "/health").await.unwrap().0, 200);
}

/// GHSA-3wh4-j44w-pg92: HTTP on a listener of its own did not ask the list.
#[tokio::test]
async fn ghsa_3wh4_j44w_pg92_revocation_holds_where_http_has_its_own_listener() {
    let member = Member::start(&[
        "--listen-client-urls=https://127.0.0.1:{0}",
        "--advertise-client-urls=https://127.0.0.1:{0}",
        "--listen-client-http-urls=https://127.0.0.1:{1}",
        &format!("--cert-file={}", testdata("kubeadm-server.crt")),
        &format!("--key-file={}", testdata("kubeadm-server.key")),
        &format!("--trusted-ca-file={}", testdata("bundle.crt")),
        "--client-cert-auth",
        &format!("--client-crl-file={}", testdata("revoked.crl")),
    ]);
    let [grpc, http, _] = member.ports;
    let (revoked, other) = (client(Some("kubeadm-client")), client(Some("v1-client")));
    let answer = get(&other, Scheme::Tls, http, "/health").await;
    assert_eq!(answer, Ok((200, HEALTHY.to_owned())));
    assert!(get(&revoked, Scheme::Tls, http, "/health").await.is_err());
    assert!(settings_of(&other, Scheme::Tls, grpc).await.is_ok());
    assert!(settings_of(&revoked, Scheme::Tls, grpc).await.is_err());
}

/// The kind of the first frame that a server of gRPC sends: SETTINGS is 4.
async fn settings_of(connector: &Connector, scheme: Scheme, port: u16) -> std::io::Result<u8> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
    let opened = connector.connect(scheme, "127.0.0.1", port).await;
    let mut stream = opened.map_err(std::io::Error::other)?;
    stream.write_all(PREFACE).await?;
    stream.flush().await?;
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await?;
    Ok(frame[3])
}

#[tokio::test]
async fn one_port_serves_both_and_http_may_have_its_own() {
    let member = Member::start(&[
        "--listen-client-urls=https://127.0.0.1:{0},http://127.0.0.1:{0}",
        "--advertise-client-urls=https://127.0.0.1:{0}",
        "--listen-client-http-urls=http://127.0.0.1:{1},unix://{dir}/socket",
        &format!("--cert-file={}", testdata("ec-server.crt")),
        &format!("--key-file={}", testdata("ec-server.key")),
    ]);
    let connector = client(None);
    let [both, http, _] = member.ports;
    let answer = get(&connector, Scheme::Plain, http, "/health").await;
    assert_eq!(answer, Ok((200, HEALTHY.to_owned())));
    let answer = get(&connector, Scheme::Plain, http, "/version").await.unwrap();
    assert!(answer.1.contains("3.7.1"), "{}", answer.1);
    let mut socket = connector.connect_unix(Scheme::Plain, &member.path("socket")).await.unwrap();
    assert_eq!(ask(&mut socket, "/health").await.unwrap(), (200, HEALTHY.to_owned()));
    // What is left on the client URLs is gRPC, which is HTTP/2, with TLS and without.
    for scheme in [Scheme::Plain, Scheme::Tls] {
        assert!(get(&connector, scheme, both, "/health").await.is_err());
        assert_eq!(settings_of(&connector, scheme, both).await.unwrap(), 4);
    }
    for line in ["\"traffic\":\"grpc\"", "\"traffic\":\"http\""] {
        member.wait_for(line);
    }
}

/// Sends so many pings at once; the number of answers, and the last that was said: before the end,
/// where they are limited.
async fn pings(stream: &mut Stream, count: usize, is_limited: bool) -> (usize, Vec<u8>) {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend(b"\0\0\x08\x06\0\0\0\0\0payload.".repeat(count));
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    let (mut answers, mut last) = (0, Vec::new());
    while answers < count || is_limited {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            break;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        last = vec![0; length as usize];
        stream.read_exact(&mut last).await.unwrap();
        answers += usize::from(head[3] == 6);
    }
    (answers, last)
}

/// etcd's gRPC server limits pings; behind TLS and beside other paths Go's HTTP server is in its place.
#[tokio::test]
async fn pings_are_limited_but_where_https_has_other_paths_too() {
    let certificate = format!("--cert-file={}", testdata("ec-server.crt"));
    let key = format!("--key-file={}", testdata("ec-server.key"));
    let listen = [
        "--listen-client-urls=https://127.0.0.1:{0},http://127.0.0.1:{0}",
        "--advertise-client-urls=https://127.0.0.1:{0}",
        &certificate,
        &key,
    ];
    let alone = [&listen[..], &["--listen-client-http-urls=http://127.0.0.1:{1}"]].concat();
    for (arguments, scheme, limited) in [
        (&listen[..], Scheme::Plain, true),
        (&listen, Scheme::Tls, false),
        (&alone, Scheme::Plain, true),
        (&alone, Scheme::Tls, true),
    ] {
        let member = Member::start(arguments);
        let opened = client(None).connect(scheme, "127.0.0.1", member.ports[0]).await;
        let (answers, last) = pings(&mut opened.unwrap(), 8, limited).await;
        if limited {
            assert_eq!(last, b"\0\0\0\0\0\0\0\x0btoo_many_pings", "{answers} {scheme:?}");
        } else {
            assert_eq!((answers, &last[..]), (8, &b"payload."[..]));
        }
    }
}

#[tokio::test]
async fn certificates_are_made_at_start() {
    let member = Member::start(&[
        "--listen-client-urls=https://127.0.0.1:{0}",
        "--advertise-client-urls=https://127.0.0.1:{0}",
        "--auto-tls",
    ]);
    let cert = member.path("data/fixtures/client/cert.pem");
    let options = ClientOptions { trusted_ca_file: Some(cert), ..ClientOptions::default() };
    let trusting = Connector::new(options).unwrap();
    let answer = get(&trusting, Scheme::Tls, member.ports[0], "/health").await;
    assert_eq!(answer, Ok((200, HEALTHY.to_owned())));
    assert!(get(&client(None), Scheme::Tls, member.ports[0], "/health").await.is_err());
}

#[test]
fn wrong_certificates_stop_the_start() {
    let ends = |arguments: &[&str]| {
        let mut member = Member::spawn(arguments);
        let status = member.child.wait().unwrap();
        assert_eq!(status.code(), Some(1), "{}", member.log());
        member.log()
    };
    let secure = [
        "--listen-client-urls=https://127.0.0.1:{0}",
        "--advertise-client-urls=https://127.0.0.1:{0}",
    ];
    let log = ends(&secure);
    assert!(log.contains("TLS key/cert (--cert-file, --key-file) must be provided"), "{log}");
    let (cert, key) = (testdata("ec-server.crt"), testdata("pkcs8-client.key"));
    let (cert, key) = (format!("--cert-file={cert}"), format!("--key-file={key}"));
    let log = ends(&[secure[0], secure[1], &cert, &key]);
    assert!(log.contains("tls: private key does not match public key"), "{log}");
    let log = ends(&["--tls-min-version=TLS1.3", "--cipher-suites=TLS_AES_128_GCM_SHA256"]);
    assert!(log.contains("cipher suites cannot be configured when only TLS1.3 is enabled"));
}

/// A client of the API that shows this certificate, and perhaps logs in.
async fn user(port: u16, certificate: &str, password: Option<&str>) -> client::client::Client {
    let options = ClientOptions {
        trusted_ca_file: Some(testdata("bundle.crt").into()),
        key_pair: Some(testdata(&format!("{certificate}.crt")).into())
            .zip(Some(testdata(&format!("{certificate}.key")).into())),
        ..ClientOptions::default()
    };
    let endpoint = client::endpoint::Endpoint::parse(&format!("https://127.0.0.1:{port}"));
    let credentials = password.map(|password| client::config::Credentials::Password {
        name: "root".to_owned(),
        password: password.to_owned(),
    });
    let tls = Some(client::config::connector(options).unwrap());
    let config =
        client::config::Config { tls, credentials, ..client::config::Config::new(vec![endpoint]) };
    client::client::Client::new(config).await.unwrap()
}

/// With `--client-cert-auth` the common name of a certificate is the user, unless a token says
/// otherwise.
#[tokio::test]
async fn certificates_name_users() {
    use api::{
        authpb::{Permission, UserAddOptions},
        etcdserverpb as pb,
    };
    let member = Member::start(&[
        "--listen-client-urls=https://127.0.0.1:{0}",
        "--advertise-client-urls=https://127.0.0.1:{0}",
        &format!("--cert-file={}", testdata("kubeadm-server.crt")),
        &format!("--key-file={}", testdata("kubeadm-server.key")),
        &format!("--trusted-ca-file={}", testdata("bundle.crt")),
        "--client-cert-auth",
        "--bcrypt-cost=4",
    ]);
    // The names in the two certificates.
    let (known, unknown) = ("v1-client", "kubeadm-client");
    let port = member.ports[0];
    let admin = user(port, unknown, None).await;
    for (name, password) in [("root", "secret"), ("old", "")] {
        let request = pb::AuthUserAddRequest {
            name: name.into(),
            password: password.into(),
            options: Some(UserAddOptions { no_password: password.is_empty() }),
            ..Default::default()
        };
        admin.user_add(request).await.unwrap();
    }
    let role = || "some".to_owned();
    admin.role_add(pb::AuthRoleAddRequest { name: role() }).await.unwrap();
    let perm = Some(Permission { perm_type: 2, key: "a".into(), ..Default::default() });
    let grant = pb::AuthRoleGrantPermissionRequest { name: role(), perm };
    admin.role_grant_permission(grant).await.unwrap();
    for (user, role) in [("root", "root".to_owned()), ("old", role())] {
        let grant = pb::AuthUserGrantRoleRequest { user: user.to_owned(), role };
        admin.user_grant_role(grant).await.unwrap();
    }
    admin.auth_enable(pb::AuthEnableRequest {}).await.unwrap();

    let put = async |user: &client::client::Client, key: &str| {
        let put = pb::PutRequest { key: key.to_owned().into(), ..Default::default() };
        user.put(put).await.map(drop).map_err(|error| error.to_string())
    };
    let denied = Err("etcdserver: permission denied".to_owned());
    let old = user(port, known, None).await;
    assert_eq!(put(&old, "a").await, Ok(()));
    assert_eq!(put(&old, "b").await, denied);
    assert_eq!(put(&admin, "a").await, denied, "a name that is no user");
    let root = user(port, known, Some("secret")).await;
    assert_eq!(put(&root, "b").await, Ok(()));
    let list = admin.member_list(pb::MemberListRequest { linearizable: true }).await;
    assert!(list.is_ok(), "any name will do: {list:?}");
}
