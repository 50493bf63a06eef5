//! A watch stream from the client's side.

use std::{pin::Pin, time::Duration};

use anyhow::{Context, Result, bail};
use api::etcdserverpb::{self as pb, watch_request::RequestUnion};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Status, Streaming};

use crate::client::Client;

/// How long an expected message may take.
pub const MESSAGE_LIMIT: Duration = Duration::from_secs(10);
/// How long silence must last to count as "nothing is sent".
pub const SILENCE: Duration = Duration::from_millis(300);

/// One bidirectional stream of the watch service.
pub struct WatchStream {
    requests: Option<mpsc::UnboundedSender<pb::WatchRequest>>,
    responses: Responses,
}

/// The receiving side. A server sends the headers of a stream together with its first message, so
/// the call itself is still under way until then.
enum Responses {
    Pending(Pin<Box<dyn Future<Output = Result<Streaming<pb::WatchResponse>, Status>> + Send>>),
    Open(Box<Streaming<pb::WatchResponse>>),
}

impl Responses {
    async fn message(&mut self) -> Result<Option<pb::WatchResponse>, Status> {
        loop {
            match self {
                Responses::Pending(call) => *self = Responses::Open(Box::new(call.await?)),
                Responses::Open(streaming) => return streaming.message().await,
            }
        }
    }
}

impl WatchStream {
    /// Begins a stream with this request; nothing is waited for.
    pub fn open(client: &Client, first: RequestUnion) -> Result<WatchStream> {
        WatchStream::open_with(client, first, |_| ())
    }

    /// As [`WatchStream::open`], with a chance to add metadata to the call.
    pub fn open_with(
        client: &Client,
        first: RequestUnion,
        prepare: impl FnOnce(&mut Request<UnboundedReceiverStream<pb::WatchRequest>>),
    ) -> Result<WatchStream> {
        let (requests, receiver) = mpsc::unbounded_channel();
        requests.send(pb::WatchRequest { request_union: Some(first) })?;
        let mut request = Request::new(UnboundedReceiverStream::new(receiver));
        prepare(&mut request);
        let mut watch = client.watch.clone();
        let call = async move { Ok(watch.watch(request).await?.into_inner()) };
        let responses = Responses::Pending(Box::pin(call));
        Ok(WatchStream { requests: Some(requests), responses })
    }

    /// Opens a stream and creates its first watcher; answers the created message too.
    pub async fn create(
        client: &Client,
        request: pb::WatchCreateRequest,
    ) -> Result<(WatchStream, pb::WatchResponse)> {
        let mut stream = WatchStream::open(client, RequestUnion::CreateRequest(request))?;
        let created = stream.next().await?;
        if !created.created {
            bail!("the first message on a stream is not `created`: {created:?}");
        }
        Ok((stream, created))
    }

    /// Sends any request.
    pub fn send(&self, request: RequestUnion) -> Result<()> {
        let requests = self.requests.as_ref().context("this side of the stream is closed")?;
        requests.send(pb::WatchRequest { request_union: Some(request) })?;
        Ok(())
    }

    /// Asks for a further watcher.
    pub fn send_create(&self, request: pb::WatchCreateRequest) -> Result<()> {
        self.send(RequestUnion::CreateRequest(request))
    }

    /// Asks to cancel a watcher.
    pub fn send_cancel(&self, watch_id: i64) -> Result<()> {
        self.send(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id }))
    }

    /// Asks for a progress message.
    pub fn send_progress(&self) -> Result<()> {
        self.send(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}))
    }

    /// Ends this side of the stream; the server may go on.
    pub fn half_close(&mut self) {
        self.requests = None;
    }

    /// The next message; an error when none arrives in time or the stream ends.
    pub async fn next(&mut self) -> Result<pb::WatchResponse> {
        match self.next_within(MESSAGE_LIMIT).await? {
            Some(response) => Ok(response),
            None => bail!("no message on the watch stream within {MESSAGE_LIMIT:?}"),
        }
    }

    /// The next message, or `None` when there is none for so long.
    pub async fn next_within(&mut self, limit: Duration) -> Result<Option<pb::WatchResponse>> {
        match tokio::time::timeout(limit, self.responses.message()).await {
            Err(_) => Ok(None),
            Ok(Ok(Some(response))) => Ok(Some(response)),
            Ok(Ok(None)) => bail!("the server ended the watch stream"),
            Ok(Err(status)) => Err(status).context("the watch stream failed"),
        }
    }

    /// Fails when the server sends anything for a while.
    pub async fn expect_silence(&mut self) -> Result<()> {
        match self.next_within(SILENCE).await? {
            None => Ok(()),
            Some(response) => bail!("expected nothing on the watch stream, got {response:?}"),
        }
    }

    /// Collects messages until one with an event at or after `revision` arrived.
    pub async fn until_event(&mut self, revision: i64) -> Result<Vec<pb::WatchResponse>> {
        let mut collected = Vec::new();
        loop {
            let response = self.next().await?;
            let last = response.events.last().map_or(0, mod_revision);
            collected.push(response);
            if last >= revision {
                return Ok(collected);
            }
        }
    }

    /// Collects messages until the server says that everything up to `revision` was sent; the
    /// progress messages themselves are left out. Also ends when every one of `watchers` watchers
    /// was cancelled, as there is nothing left that could progress.
    pub async fn until_progress(
        &mut self,
        revision: i64,
        watchers: usize,
    ) -> Result<Vec<pb::WatchResponse>> {
        let mut collected = Vec::new();
        let mut cancelled = 0;
        self.send_progress()?;
        let mut waited = Duration::ZERO;
        while cancelled < watchers {
            let Some(response) = self.next_within(PROGRESS_RETRY).await? else {
                // A watcher that still catches up has no progress to tell: ask again.
                waited += PROGRESS_RETRY;
                if waited > MESSAGE_LIMIT {
                    bail!("no progress up to revision {revision} within {MESSAGE_LIMIT:?}");
                }
                self.send_progress()?;
                continue;
            };
            waited = Duration::ZERO;
            if response.watch_id == -1 && !response.canceled && response.events.is_empty() {
                if crate::client::revision(&response.header) >= revision {
                    return Ok(collected);
                }
                continue;
            }
            cancelled += usize::from(response.canceled);
            collected.push(response);
        }
        Ok(collected)
    }
}

/// How long to wait for an answer to a progress request before it is repeated.
const PROGRESS_RETRY: Duration = Duration::from_millis(100);

/// The revision of an event.
pub fn mod_revision(event: &api::mvccpb::Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| crate::client::decode_one(kv).mod_revision)
}

/// A request to watch one key from now on.
pub fn watch_key(key: impl Into<Bytes>) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest { key: key.into(), ..Default::default() }
}

/// A request to watch every key with this prefix from now on.
pub fn watch_prefix(prefix: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: prefix.to_owned().into(),
        range_end: api::range::prefix_end(prefix.as_bytes()),
        ..Default::default()
    }
}
