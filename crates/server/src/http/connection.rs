//! Connections of a listener: accepted, with TLS or without, told apart by what they may ask, and
//! drained at the end.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tls::{Acceptor, PeerIdentity};
use tokio::sync::{Semaphore, mpsc, watch};

use super::{
    HttpSettings, Router, Surface,
    access::Encrypted,
    authority::AuthorityShim,
    body::Incoming,
    h2,
    preface::{Preface, Rewound},
};
use crate::{
    auth::CommonName, cores::Cores, handle::Handle, listen::Bound, security::log_refusal,
    slow::Ends,
};

/// Window of received bytes per stream and connection: the largest request fits without a stall.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How long connections may finish their requests once the member stops.
const DRAIN: Duration = Duration::from_secs(7);
/// How long a connection may be silent before its first request: the time that etcd gives headers.
const SILENCE: Duration = Duration::from_secs(300);

/// Serves a listener until the member stops, then drains its connections, which live on `cores`.
pub(crate) async fn serve(bound: Bound, handle: Handle, settings: HttpSettings, cores: Arc<Cores>) {
    let Bound { listener, acceptor, surface, address, connections_max } = bound;
    announce(handle.clone(), surface, &acceptor, address);
    let router = Router::new(surface, handle.clone(), settings.access.clone());
    let builder = builder(&settings);
    let settings = Arc::new(settings);
    let free = Arc::new(Semaphore::new(connections_max));
    // Both ends go with the connections: of the first, nothing is ever sent.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let (cut_off, cut) = watch::channel(());
    loop {
        let next = async {
            let place = free.clone().acquire_owned().await.expect("the semaphore stays open");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = handle.progress.wait_stopping() => break,
        };
        let socket = match accepted.and_then(Moving::new) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a client connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (acceptor, builder, router) = (acceptor.clone(), builder.clone(), router.clone());
        let (settings, mut cut, alive) = (settings.clone(), cut.clone(), alive.clone());
        cores.spawn(move || async move {
            let (_place, _alive) = (place, alive);
            let socket = match socket.arrive() {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::warn!(%error, "failed to take over a client connection");
                    return;
                }
            };
            tokio::select! {
                () = serve_connection(socket, acceptor, builder, router, &settings) => {}
                _over = cut.changed() => {}
            }
        });
    }
    drop(listener);
    drop(alive);
    let _cut_off = tokio::time::timeout(DRAIN, all_gone.recv()).await;
    drop(cut_off);
    // Those that were cut off are gone at once.
    all_gone.recv().await;
}

/// A socket on its way to the thread that will own it.
enum Moving {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Moving {
    /// Takes it from the runtime of this thread.
    fn new(socket: tls::Socket) -> io::Result<Moving> {
        match socket {
            tls::Socket::Tcp(stream) => stream.into_std().map(Moving::Tcp),
            tls::Socket::Unix(stream) => stream.into_std().map(Moving::Unix),
        }
    }

    /// Gives it to the runtime of this thread.
    fn arrive(self) -> io::Result<tls::Socket> {
        match self {
            Moving::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(tls::Socket::Tcp),
            Moving::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(tls::Socket::Unix),
        }
    }
}

/// Says in the log, once clients are served, what is served here.
fn announce(handle: Handle, surface: Surface, acceptor: &Acceptor, address: String) {
    let traffic = match surface {
        Surface::Client => "grpc+http",
        Surface::Grpc => "grpc",
        Surface::Http => "http",
        Surface::Metrics => {
            tracing::info!(%address, "serving metrics");
            return;
        }
    };
    let (plain, encrypted) = (acceptor.is_plain(), acceptor.is_tls());
    tokio::spawn(async move {
        tokio::select! {
            () = handle.progress.wait_ready() => {}
            () = handle.progress.wait_stopping() => return,
        }
        tracing::info!("ready to serve client requests");
        if plain {
            tracing::info!(
                traffic,
                address,
                "serving client traffic insecurely; this is strongly discouraged!"
            );
        }
        if encrypted {
            tracing::info!(traffic, address, "serving client traffic securely");
        }
    });
}

fn builder(settings: &HttpSettings) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(SILENCE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.concurrent_streams_max)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(settings.ping_interval)
        .keep_alive_timeout(settings.ping_timeout);
    builder
}

async fn serve_connection(
    socket: tls::Socket,
    acceptor: Acceptor,
    builder: auto::Builder<TokioExecutor>,
    mut router: Router,
    settings: &HttpSettings,
) {
    let handle = router.handle.clone();
    let remote = socket.remote_address();
    router.ends = Ends { remote, local: socket.local_address() };
    let accepted = tokio::select! {
        accepted = tokio::time::timeout(SILENCE, acceptor.accept(socket)) => accepted,
        () = handle.progress.wait_stopping() => return,
    };
    let (mut stream, identity) = match accepted {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(error)) => return log_refusal("client", remote, &error),
        Err(_) => return,
    };
    let surface = router.surface;
    let name = common_name(&identity);
    let encrypted = identity.is_tls;
    let mut preface = Preface::default();
    if matches!(surface, Surface::Client | Surface::Grpc) {
        let read = tokio::select! {
            read = tokio::time::timeout(SILENCE, preface.read(&mut stream)) => read,
            () = handle.progress.wait_stopping() => return,
        };
        if !matches!(read, Ok(Ok(()))) {
            return;
        }
    }
    let is_http2 = preface.is_http2();
    let stream = AuthorityShim::new(Rewound::new(preface, stream));
    if is_http2 {
        let mut known = http::Extensions::new();
        if let Some(name) = name {
            known.insert(name);
        }
        if encrypted {
            known.insert(Encrypted);
        }
        // Behind TLS, and with other paths beside gRPC's, etcd's connections are those of Go's HTTP
        // server, which has no such limit.
        let ping_min = Some(settings.ping_min).filter(|_| !encrypted || surface == Surface::Grpc);
        if let Err(error) = h2::serve(stream, router, known, settings, ping_min).await {
            tracing::debug!(%error, ?remote, "client connection ended");
        }
        return;
    }
    let service =
        TowerToHyperService::new(tower::service_fn(move |mut request: http::Request<_>| {
            if let Some(name) = &name {
                request.extensions_mut().insert(name.clone());
            }
            if encrypted {
                request.extensions_mut().insert(Encrypted);
            }
            let router = router.clone();
            async move { Ok::<_, Infallible>(router.route(request.map(Incoming::Http1)).await) }
        }));
    let io = TokioIo::new(stream);
    let stopping = handle.progress.wait_stopping();
    /// Serves to the end, which a stop brings nearer.
    macro_rules! drive {
        ($connection:expr) => {{
            let connection = $connection;
            tokio::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended.map_err(Into::into),
                () = stopping => {
                    connection.as_mut().graceful_shutdown();
                    connection.await.map_err(Into::into)
                }
            }
        }};
    }
    // Of a builder that tells the versions apart, upgrades take away the choice of one.
    let ended: Result<(), Box<dyn std::error::Error + Send + Sync>> = match surface {
        Surface::Grpc => {
            let builder = builder.http2_only();
            drive!(builder.serve_connection(io, service))
        }
        // Without TLS, HTTP/2 is gRPC's alone.
        Surface::Http if !encrypted => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(SILENCE);
            drive!(builder.serve_connection(io, service).with_upgrades())
        }
        _ => drive!(builder.serve_connection_with_upgrades(io, service)),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, ?remote, "client connection ended");
    }
}

/// Who a verified certificate says that the client is.
fn common_name(identity: &PeerIdentity) -> Option<CommonName> {
    identity.common_name().map(|name| CommonName(name.into()))
}
