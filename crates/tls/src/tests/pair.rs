//! A listener and a client in one process.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};

use super::authority::{Authority, Leaf, Pair};
use crate::{
    Acceptor, ClientOptions, Connector, Error, PeerIdentity, Scheme, ServerOptions, Stream,
};

/// Options for a server with this certificate that looks at its files at every connection.
pub(crate) fn server(pair: &Pair) -> ServerOptions {
    ServerOptions { reload_interval: Duration::ZERO, ..ServerOptions::new(&pair.cert, &pair.key) }
}

/// Options for a server that asks for certificates of `authority`.
pub(crate) fn strict_server(authority: &Authority) -> ServerOptions {
    let trusted_ca_file = Some(authority.file());
    let pair = authority.issue(&Leaf::default());
    ServerOptions { trusted_ca_file, client_cert_auth: true, ..server(&pair) }
}

/// Options for a client that trusts `authority` and shows a certificate.
pub(crate) fn client(authority: &Authority, pair: Option<&Pair>) -> ClientOptions {
    ClientOptions {
        trusted_ca_file: Some(authority.file()),
        key_pair: pair.map(|pair| (pair.cert.clone(), pair.key.clone())),
        reload_interval: Duration::ZERO,
        ..ClientOptions::default()
    }
}

/// A listener that accepts connections one after another and sends back what it is sent.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Listens with `acceptor`; a connection that it refuses is closed.
pub(crate) async fn listen(acceptor: Acceptor) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok((stream, _)) = acceptor.accept(socket).await {
                    echo(stream).await;
                }
            });
        }
    });
    Listening { address, task }
}

async fn echo(stream: Stream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let _until_the_client_leaves = tokio::io::copy(&mut reader, &mut writer).await;
}

/// Sends a few bytes and reads them back.
pub(crate) async fn exchange(stream: &mut Stream) -> std::io::Result<()> {
    stream.write_all(b"hello").await?;
    stream.flush().await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"hello");
    Ok(())
}

/// What one connection came to on each side.
pub(crate) struct Outcome {
    pub(crate) accepted: Result<PeerIdentity, Error>,
    pub(crate) opened: Result<(), String>,
}

impl Outcome {
    /// Why the server refused.
    #[track_caller]
    pub(crate) fn refusal(&self) -> String {
        assert!(self.opened.is_err(), "the client was served");
        self.accepted.as_ref().expect_err("the server accepts").to_string()
    }

    /// Who the server saw.
    #[track_caller]
    pub(crate) fn identity(self) -> PeerIdentity {
        self.opened.expect("the client is served");
        self.accepted.expect("the server accepts")
    }
}

/// Connects once, to `host`, and exchanges a few bytes.
pub(crate) async fn connect_to(
    host: &str,
    server: ServerOptions,
    client: ClientOptions,
) -> Outcome {
    let acceptor = Acceptor::tls(server).unwrap();
    let connector = Connector::new(client).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accept = async {
        let (socket, _) = listener.accept().await.unwrap();
        let (stream, identity) = acceptor.accept(socket).await?;
        tokio::spawn(echo(stream));
        Ok(identity)
    };
    let open = async {
        let opened = connector.connect(Scheme::Tls, host, port).await;
        let mut stream = opened.map_err(|error| error.to_string())?;
        exchange(&mut stream).await.map_err(|error| error.to_string())
    };
    let (accepted, opened) = tokio::join!(accept, open);
    Outcome { accepted, opened }
}

/// Connects once to this machine.
pub(crate) async fn connect(server: ServerOptions, client: ClientOptions) -> Outcome {
    connect_to("127.0.0.1", server, client).await
}
