//! Files that change under running connections, and files that are wrong from the start.

use std::fs;

use super::{
    authority::{Authority, Leaf, Pair},
    pair::{client, exchange, listen, server, strict_server},
};
use crate::{Acceptor, ClientOptions, Connector, Scheme, ServerOptions, Stream, self_signed};

async fn open(options: ClientOptions, port: u16) -> Result<Stream, String> {
    let connector = Connector::new(options).unwrap();
    open_with(&connector, port).await
}

async fn open_with(connector: &Connector, port: u16) -> Result<Stream, String> {
    let opened = connector.connect(Scheme::Tls, "127.0.0.1", port).await;
    let mut stream = opened.map_err(|error| error.to_string())?;
    exchange(&mut stream).await.map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Puts the files of `new` in the place of `old`.
fn replace(old: &Pair, new: &Pair) {
    fs::copy(&new.cert, &old.cert).unwrap();
    fs::copy(&new.key, &old.key).unwrap();
}

#[tokio::test]
async fn certificates_change_under_running_connections() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let pair = first.issue(&Leaf::default());
    let listening = listen(Acceptor::tls(server(&pair)).unwrap()).await;
    let port = listening.address.port();
    let mut old = open(client(&first, None), port).await.unwrap();
    assert!(open(client(&second, None), port).await.is_err());

    replace(&pair, &second.issue(&Leaf::default()));
    open(client(&second, None), port).await.unwrap();
    assert!(open(client(&first, None), port).await.is_err());

    // A certificate without its key, or no certificate at all, changes nothing.
    fs::write(&pair.cert, &second.pem).unwrap();
    open(client(&second, None), port).await.unwrap();
    fs::write(&pair.cert, "in the making").unwrap();
    open(client(&second, None), port).await.unwrap();
    fs::remove_file(&pair.cert).unwrap();
    open(client(&second, None), port).await.unwrap();

    replace(&pair, &first.issue(&Leaf::default()));
    open(client(&first, None), port).await.unwrap();
    exchange(&mut old).await.unwrap();
}

#[tokio::test]
async fn authorities_change_under_running_connections() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let options = strict_server(&first);
    let file = options.trusted_ca_file.clone().unwrap();
    let listening = listen(Acceptor::tls(options).unwrap()).await;
    let port = listening.address.port();
    let (one, two) = (first.issue(&Leaf::named("one")), second.issue(&Leaf::named("two")));
    let (one, two) = (client(&first, Some(&one)), client(&first, Some(&two)));
    // The clients' own file of authorities is the first authority's, which is about to change.
    let trusted_ca_file = Some(first.write("of-clients.crt", first.pem.as_bytes()));
    let one = ClientOptions { trusted_ca_file: trusted_ca_file.clone(), ..one };
    let two = ClientOptions { trusted_ca_file, ..two };

    let mut old = open(one.clone(), port).await.unwrap();
    assert!(open(two.clone(), port).await.is_err());
    fs::write(&file, format!("{}{}", first.pem, second.pem)).unwrap();
    open(one.clone(), port).await.unwrap();
    open(two.clone(), port).await.unwrap();
    fs::write(&file, &second.pem).unwrap();
    assert!(open(one.clone(), port).await.is_err());
    open(two.clone(), port).await.unwrap();
    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(&file, broken).unwrap();
        open(two.clone(), port).await.unwrap();
        assert!(open(one.clone(), port).await.is_err());
    }
    exchange(&mut old).await.unwrap();
}

#[tokio::test]
async fn revocations_change_under_running_connections() {
    let authority = Authority::new("ca");
    let crl_file = authority.revocations(&[]);
    let options = ServerOptions { crl_file: Some(crl_file.clone()), ..strict_server(&authority) };
    let listening = listen(Acceptor::tls(options).unwrap()).await;
    let port = listening.address.port();
    let pair = authority.issue(&Leaf { serial: 99, ..Leaf::named("bob") });
    let options = client(&authority, Some(&pair));
    let connector = Connector::new(options).unwrap();
    let mut old = open_with(&connector, port).await.unwrap();
    authority.revocations(&[98, 99]);
    assert!(open_with(&connector, port).await.is_err());
    fs::write(&crl_file, "broken").unwrap();
    assert!(open_with(&connector, port).await.is_err());
    authority.revocations(&[98]);
    open_with(&connector, port).await.unwrap();
    exchange(&mut old).await.unwrap();
}

#[tokio::test]
async fn clients_follow_their_files_too() {
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let listening = listen(Acceptor::tls(strict_server(&first)).unwrap()).await;
    let port = listening.address.port();
    let pair = second.issue(&Leaf::named("alice"));
    let trusted = second.write("trusted.crt", second.pem.as_bytes());
    let trusted_ca_file = Some(trusted.clone());
    let options = ClientOptions { trusted_ca_file, ..client(&second, Some(&pair)) };
    let connector = Connector::new(options).unwrap();
    assert!(open_with(&connector, port).await.is_err());
    fs::write(&trusted, &first.pem).unwrap();
    assert!(open_with(&connector, port).await.is_err());
    replace(&pair, &first.issue(&Leaf::named("alice")));
    open_with(&connector, port).await.unwrap();
}

#[test]
fn wrong_files_are_refused_at_the_start() {
    let authority = Authority::new("ca");
    let (one, two) = (authority.issue(&Leaf::default()), authority.issue(&Leaf::default()));
    let error = |options: ServerOptions| Acceptor::tls(options).err().unwrap().to_string();
    let missing = std::path::PathBuf::from("/nowhere/x");
    assert_eq!(
        error(ServerOptions { cert_file: missing.clone(), ..server(&one) }),
        "open /nowhere/x: no such file or directory"
    );
    let text = authority.write("text", b"no certificate");
    assert_eq!(
        error(ServerOptions { cert_file: text.clone(), ..server(&one) }),
        "tls: failed to find any PEM data in certificate input"
    );
    assert_eq!(
        error(ServerOptions { key_file: text.clone(), ..server(&one) }),
        "tls: failed to find any PEM data in key input"
    );
    assert_eq!(
        error(ServerOptions { key_file: two.key.clone(), ..server(&one) }),
        "tls: private key does not match public key"
    );
    let garbage = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let garbage = authority.write("garbage.key", garbage.as_bytes());
    assert_eq!(
        error(ServerOptions { key_file: garbage, ..server(&one) }),
        "tls: failed to parse private key"
    );
    assert_eq!(
        error(ServerOptions { trusted_ca_file: Some(missing), ..server(&one) }),
        "open /nowhere/x: no such file or directory"
    );
    let expected = format!("x509: malformed crl in {}", text.display());
    assert_eq!(error(ServerOptions { crl_file: Some(text.clone()), ..server(&one) }), expected);
    // As in etcd: nobody can connect, but that is all.
    assert!(Acceptor::tls(ServerOptions { trusted_ca_file: Some(text), ..server(&one) }).is_ok());
}

#[tokio::test]
async fn self_signed_certificates_are_made_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("fixtures/client");
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned(), String::new()];
    let files = self_signed::open(&path, &hosts, 1).unwrap();
    let made = fs::read(&files.cert).unwrap();
    assert_eq!(self_signed::open(&path, &[], 5).unwrap(), files);
    assert_eq!(fs::read(&files.cert).unwrap(), made);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(
        self_signed::open(&path, &hosts, 0).unwrap_err().to_string(),
        "selfSignedCertValidity is invalid,it should be greater than 0"
    );
    // The longest validity there is does not overflow.
    self_signed::open(&folder.path().join("long"), &hosts, u64::MAX).unwrap();

    let pair = Pair { cert: files.cert.clone(), key: files.key };
    let listening = listen(Acceptor::tls(server(&pair)).unwrap()).await;
    let port = listening.address.port();
    let careless = ClientOptions { insecure_skip_verify: true, ..ClientOptions::default() };
    open(careless, port).await.unwrap();
    // It is its own authority, as in etcd.
    let trusting = ClientOptions { trusted_ca_file: Some(files.cert), ..ClientOptions::default() };
    open(trusting, port).await.unwrap();
}
