//! Connections that say nothing, say something else, or come through other sockets.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener},
};

use super::{
    authority::{Authority, Leaf},
    pair::{client, exchange, listen, server},
};
use crate::{Acceptor, ClientOptions, Connector, Error, Scheme, ServerOptions};

#[tokio::test]
async fn connections_that_say_nothing_hold_nobody_up() {
    let authority = Authority::new("ca");
    let pair = authority.issue(&Leaf::default());
    let options = ServerOptions { handshakes_max: 8, ..server(&pair) };
    let listening = listen(Acceptor::tls(options).unwrap()).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(listening.address).await.unwrap());
    }
    let connector = Connector::new(client(&authority, None)).unwrap();
    for _ in 0..3 {
        let opened = connector.connect(Scheme::Tls, "localhost", listening.address.port());
        exchange(&mut opened.await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_handshake_has_a_deadline() {
    let authority = Authority::new("ca");
    let pair = authority.issue(&Leaf::default());
    let handshake_timeout = Duration::from_millis(20);
    let acceptor = Acceptor::tls(ServerOptions { handshake_timeout, ..server(&pair) }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    assert!(matches!(acceptor.accept(socket).await, Err(Error::HandshakeTimeout)));
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_wrong_protocol_is_told_apart() {
    let authority = Authority::new("ca");
    let pair = authority.issue(&Leaf::default());
    let tls = Acceptor::tls(server(&pair)).unwrap();
    let connector = Connector::new(client(&authority, None)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();

    // Plain HTTP to a listener with TLS.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    plain.shutdown().await.unwrap();
    let error = tls.accept(socket).await.err().unwrap().to_string();
    assert_eq!(error, "tls: first record does not look like a TLS handshake");
    assert_eq!(plain.read(&mut [0; 1]).await.unwrap(), 0);

    // TLS to a listener without.
    let opening = tokio::spawn({
        let connector = connector.clone();
        async move { connector.connect(Scheme::Tls, "localhost", port).await.err().unwrap() }
    });
    let (socket, _) = listener.accept().await.unwrap();
    let refused = Acceptor::plain().accept(socket).await;
    assert!(matches!(refused, Err(Error::TlsWithoutConfig)));
    drop(refused);
    opening.await.unwrap();

    // A client that goes away is not worth a warning.
    drop(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let (socket, _) = listener.accept().await.unwrap();
    assert!(tls.accept(socket).await.err().unwrap().is_closed());

    // Both on one port.
    let listening = listen(tls.or_plain()).await;
    let port = listening.address.port();
    for scheme in [Scheme::Tls, Scheme::Plain] {
        let mut stream = connector.connect(scheme, "localhost", port).await.unwrap();
        assert_eq!(stream.is_tls(), scheme == Scheme::Tls);
        exchange(&mut stream).await.unwrap();
    }
}

#[tokio::test]
async fn protocols_are_negotiated() {
    let authority = Authority::new("ca");
    let pair = authority.issue(&Leaf::default());
    let listening = listen(Acceptor::tls(server(&pair)).unwrap()).await;
    let port = listening.address.port();
    for (asked, agreed) in [
        (vec![crate::HTTP2], Some(&b"h2"[..])),
        (vec![crate::HTTP1], Some(b"http/1.1")),
        (vec![], None),
    ] {
        let options = ClientOptions { protocols: asked, ..client(&authority, None) };
        let connector = Connector::new(options).unwrap();
        let stream = connector.connect(Scheme::Tls, "localhost", port).await.unwrap();
        assert_eq!(stream.protocol(), agreed);
    }
}

#[tokio::test]
async fn unix_sockets_work_with_and_without_tls() {
    let authority = Authority::new("ca");
    let pair = authority.issue(&Leaf::default());
    let acceptor = Acceptor::tls(server(&pair)).unwrap().or_plain();
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let connector = Connector::new(client(&authority, None)).unwrap();
    for scheme in [Scheme::Plain, Scheme::Tls] {
        let accept = async {
            let (socket, _) = listener.accept().await.unwrap();
            let (mut stream, identity) = acceptor.accept(socket).await.unwrap();
            assert_eq!((identity.remote, identity.is_tls), (None, scheme == Scheme::Tls));
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            stream.flush().await.unwrap();
        };
        let open = async {
            let mut stream = connector.connect_unix(scheme, &path).await.unwrap();
            exchange(&mut stream).await.unwrap();
        };
        tokio::join!(accept, open);
    }
}

#[tokio::test]
async fn a_connection_that_nobody_accepts_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let connector = Connector::plain(&ClientOptions::default());
    let error = connector.connect(Scheme::Plain, "127.0.0.1", port).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("dial tcp 127.0.0.1:{port}: connect: connection refused")
    );
    let error = connector.connect(Scheme::Plain, "etcd.invalid", port).await.unwrap_err();
    assert!(error.to_string().starts_with("dial tcp etcd.invalid:"), "{error}");
}
