//! A server for tests: speaks gRPC, does what a script says for each message, counts connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::HeaderMap;
use parking_lot::Mutex;
use prost::Message;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Time for sent messages to leave before a connection is broken.
const FLUSH: Duration = Duration::from_millis(20);

/// What the server does about a message, one step after the other.
pub(crate) enum Step {
    /// Sends a message.
    Send(Vec<u8>),
    /// Ends the call with a status.
    Status(i32, &'static str),
    /// Closes the whole connection.
    Break,
    /// Refuses the stream before doing anything.
    Refuse,
}

/// Sends this message.
pub(crate) fn send(message: &impl Message) -> Step {
    Step::Send(message.encode_to_vec())
}

/// Answers a unary call.
pub(crate) fn answer(message: &impl Message) -> Vec<Step> {
    vec![send(message), Step::Status(0, "")]
}

/// Fails a call with an error of etcd's.
pub(crate) fn fail(error: api::error::Error) -> Vec<Step> {
    vec![Step::Status(error.code() as i32, error.message())]
}

/// A message that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The method, as in `KV/Put`.
    pub(crate) method: String,
    /// Headers of the call.
    pub(crate) headers: HeaderMap,
    /// The message.
    pub(crate) message: Bytes,
    /// How many messages of this method came before, on all connections.
    pub(crate) before: usize,
}

impl Received {
    /// The message, decoded.
    pub(crate) fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).unwrap()
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

type Script = Arc<dyn Fn(&Received) -> Vec<Step> + Send + Sync>;

/// The server; ends when dropped.
pub(crate) struct Fake {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    script: Script,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
}

impl Fake {
    /// Serves on a free port.
    pub(crate) async fn start(
        script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static,
    ) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Fake::serve(listener, script)
    }

    /// Serves on this listener.
    pub(crate) fn serve(
        listener: TcpListener,
        script: impl Fn(&Received) -> Vec<Step> + Send + Sync + 'static,
    ) -> Fake {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Arc::new(script),
            received: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                serving.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(serving.clone(), socket));
            }
        });
        Fake { address, shared, task }
    }

    /// Messages of this method.
    pub(crate) fn received(&self, method: &str) -> Vec<Received> {
        let received = self.shared.received.lock();
        received.iter().filter(|message| message.method == method).cloned().collect()
    }

    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connection(shared: Arc<Shared>, socket: TcpStream) {
    let broken = Arc::new(Notify::new());
    let serve = async {
        let Ok(mut connection) = h2::server::handshake(socket).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(call(shared.clone(), request, respond, broken.clone()));
        }
    };
    tokio::select! {
        () = serve => {}
        () = broken.notified() => {}
    }
}

async fn call(
    shared: Arc<Shared>,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    broken: Arc<Notify>,
) {
    let path = request.uri().path().to_owned();
    let method = path.trim_start_matches("/etcdserverpb.").to_owned();
    let headers = request.headers().clone();
    let mut body = request.into_body();
    let mut buffer = BytesMut::new();
    let mut stream: Option<SendStream<Bytes>> = None;
    while let Some(message) = next_message(&mut body, &mut buffer).await {
        let received = {
            let mut all = shared.received.lock();
            let before = all.iter().filter(|other| other.method == method).count();
            let (method, headers) = (method.clone(), headers.clone());
            let received = Received { method, headers, message, before };
            all.push(received.clone());
            received
        };
        for step in (shared.script)(&received) {
            match step {
                Step::Break => {
                    // What was sent before has to leave first.
                    tokio::time::sleep(FLUSH).await;
                    broken.notify_one();
                    // Handles that are dropped earlier would reset the stream.
                    return std::future::pending().await;
                }
                Step::Refuse => return respond.send_reset(h2::Reason::REFUSED_STREAM),
                Step::Send(message) => {
                    let stream = stream.get_or_insert_with(|| open(&mut respond));
                    let mut frame = BytesMut::new();
                    frame.put_u8(0);
                    frame.put_u32(message.len() as u32);
                    frame.put_slice(&message);
                    let _ = stream.send_data(frame.freeze(), false);
                }
                Step::Status(code, text) => {
                    let stream = stream.get_or_insert_with(|| open(&mut respond));
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", code.into());
                    trailers.insert("grpc-message", text.replace(' ', "%20").parse().unwrap());
                    let _ = stream.send_trailers(trailers);
                    return;
                }
            }
        }
    }
    // Hold the stream open until the client is done with it.
    if let Some(mut stream) = stream {
        let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
    } else {
        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    }
}

fn open(respond: &mut SendResponse<Bytes>) -> SendStream<Bytes> {
    let response = http::Response::builder().header("content-type", "application/grpc");
    respond.send_response(response.body(()).unwrap(), false).unwrap()
}

async fn next_message(body: &mut RecvStream, buffer: &mut BytesMut) -> Option<Bytes> {
    loop {
        if buffer.len() >= 5 {
            let length = u32::from_be_bytes(buffer[1..5].try_into().unwrap()) as usize;
            if buffer.len() >= 5 + length {
                let mut frame = buffer.split_to(5 + length);
                return Some(frame.split_off(5).freeze());
            }
        }
        let data = body.data().await?.ok()?;
        let _ = body.flow_control().release_capacity(data.len());
        buffer.extend_from_slice(&data);
    }
}
