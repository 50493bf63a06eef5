//! Watches that survive the loss of a connection, as those of etcd's clients do.
//!
//! Each watch has a stream of its own, so that one which is read slowly holds up no other; the
//! HTTP/2 window of the stream is what bounds what waits for the reader. After a loss the watch is
//! made again at the first revision that was not delivered.

use std::{sync::Arc, time::Duration};

use api::{
    etcdserverpb::{
        ResponseHeader, WatchCreateRequest, WatchProgressRequest, WatchRequest,
        WatchResponse as Message, watch_request::RequestUnion,
    },
    mvccpb::Event,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::{client::Client, error::Error, retry::jitter};

/// Requests that wait to be sent on one stream.
const REQUESTS: usize = 16;
/// The pause after a first loss; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause before a watch is made again.
const MAX_PAUSE: Duration = Duration::from_millis(100);
/// The watch id of answers that concern every watch of a stream, and of refused watches.
const NO_WATCH: i64 = -1;

/// What a watch delivers: the events of one or more revisions, progress, or its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WatchResponse {
    /// Cluster, member, and the store's revision when this was sent.
    pub header: ResponseHeader,
    /// Changes in the order of their revisions; a revision is never divided.
    pub events: Vec<Event>,
    /// The compaction that overtook the watch, if one did.
    pub compact_revision: i64,
    /// This is the last response.
    pub canceled: bool,
    /// Why the watch ended, when it did not by compaction.
    pub failure: Option<Error>,
}

impl WatchResponse {
    /// Why the watch ended, if this is its end.
    pub fn error(&self) -> Option<Error> {
        if let Some(failure) = &self.failure {
            return Some(failure.clone());
        }
        let etcd = if self.compact_revision != 0 {
            api::error::Error::Compacted
        } else if self.canceled {
            api::error::Error::FutureRev
        } else {
            return None;
        };
        Some(Error::Status { code: Code::OutOfRange, message: etcd.message().to_owned() })
    }

    /// Whether this only tells how far the watch is.
    pub fn is_progress(&self) -> bool {
        self.events.is_empty()
            && !self.canceled
            && self.compact_revision == 0
            && self.header.revision != 0
    }
}

/// Requests of one watch's stream; empty while there is none.
type Requests = Arc<Mutex<Option<mpsc::Sender<WatchRequest>>>>;

/// A watch. Dropping it ends the watch.
pub struct Watcher {
    client: Client,
    /// The request, whose revision follows what was delivered.
    request: WatchCreateRequest,
    requests: Requests,
    stream: Option<Streaming<Message>>,
    /// Pieces of a revision that came in fragments.
    partial: Option<Message>,
    /// A response that came while the watch was made.
    first: Option<WatchResponse>,
    created: bool,
    /// What came when the watch was made first.
    header: ResponseHeader,
    ended: bool,
    pause: Duration,
}

/// Asks for the progress of a watch from elsewhere than where it is read.
#[derive(Clone)]
pub struct ProgressHandle(Requests);

impl ProgressHandle {
    /// Asks the server how far the watch is; the answer comes as a response of the watch. Lost
    /// when the connection is.
    pub async fn request(&self) {
        let sender = self.0.lock().clone();
        if let Some(sender) = sender {
            let request = RequestUnion::ProgressRequest(WatchProgressRequest {});
            // A closed stream is being made again: its events tell the progress.
            drop(sender.send(WatchRequest { request_union: Some(request) }).await);
        }
    }
}

impl Client {
    /// Begins a watch, and waits until it is made or refused; a refusal is its first and last
    /// response. The client's deadline does not bound a watch.
    pub async fn watch(&self, request: WatchCreateRequest) -> Watcher {
        let mut watcher = Watcher {
            client: self.without_deadline(),
            request,
            requests: Requests::default(),
            stream: None,
            partial: None,
            first: None,
            created: false,
            header: ResponseHeader::default(),
            ended: false,
            pause: FIRST_PAUSE,
        };
        while !watcher.created && !watcher.ended {
            watcher.first = watcher.advance().await;
            if watcher.first.is_some() {
                break;
            }
        }
        watcher
    }
}

impl Watcher {
    /// The next response; `None` once the watch has ended. May be dropped and called again without
    /// losing anything.
    pub async fn next(&mut self) -> Option<WatchResponse> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        while !self.ended {
            if let Some(response) = self.advance().await {
                return Some(response);
            }
        }
        None
    }

    /// What the server said when it made the watch; empty if it was refused.
    pub fn header(&self) -> ResponseHeader {
        self.header
    }

    /// A handle to ask for progress with.
    pub fn progress_handle(&self) -> ProgressHandle {
        ProgressHandle(self.requests.clone())
    }

    /// One step: make the watch, or take one message.
    async fn advance(&mut self) -> Option<WatchResponse> {
        let Some(stream) = &mut self.stream else {
            return match self.open().await {
                Ok(stream) => {
                    self.stream = Some(stream);
                    None
                }
                Err(error) => self.lost(error).await,
            };
        };
        match stream.message().await {
            Ok(Some(message)) => {
                self.pause = FIRST_PAUSE;
                self.take(message)
            }
            Ok(None) => {
                let text = "the server closed the watch stream".to_owned();
                self.lost(Error::Status { code: Code::Unavailable, message: text }).await
            }
            Err(status) => self.lost(status.into()).await,
        }
    }

    async fn open(&mut self) -> Result<Streaming<Message>, Error> {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let create = RequestUnion::CreateRequest(self.request.clone());
        sender
            .try_send(WatchRequest { request_union: Some(create) })
            .expect("a new queue has room for one request");
        self.partial = None;
        *self.requests.lock() = Some(sender);
        self.client.streaming("/etcdserverpb.Watch/Watch", ReceiverStream::new(requests)).await
    }

    /// The stream failed: the end of the watch, or a pause before the next attempt.
    async fn lost(&mut self, error: Error) -> Option<WatchResponse> {
        self.stream = None;
        self.requests.lock().take();
        let transient = matches!(error.code(), Code::Unavailable | Code::Internal);
        if !transient || error.is(api::error::Error::NoLeader) {
            return Some(self.end(error));
        }
        tracing::debug!(error = error.rpc_text(), "watch stream lost");
        tokio::time::sleep(jitter(self.pause)).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        None
    }

    fn end(&mut self, error: Error) -> WatchResponse {
        self.ended = true;
        WatchResponse { canceled: true, failure: Some(error), ..WatchResponse::default() }
    }

    /// Takes one message; a response when it completes one.
    fn take(&mut self, message: Message) -> Option<WatchResponse> {
        let revision = message.header.as_ref().map_or(0, |header| header.revision);
        if message.created {
            if message.watch_id == NO_WATCH
                || (message.canceled && !message.cancel_reason.is_empty())
            {
                return Some(self.end(refusal(message.cancel_reason)));
            }
            if !self.created {
                self.header = message.header.unwrap_or_default();
                if self.request.start_revision == 0 {
                    self.request.start_revision = revision + 1;
                }
            }
            self.created = true;
            return None;
        }
        if message.canceled && message.compact_revision == 0 {
            self.ended = true;
            tracing::debug!(reason = message.cancel_reason, "watch canceled by the server");
            return None;
        }
        let message = match self.partial.take() {
            Some(mut whole) => {
                whole.events.extend(message.events);
                whole.fragment = message.fragment;
                whole
            }
            None => message,
        };
        if message.fragment {
            self.partial = Some(message);
            return None;
        }
        Some(self.deliver(message, revision))
    }

    fn deliver(&mut self, message: Message, revision: i64) -> WatchResponse {
        let last = message.events.iter().rev().filter_map(|event| event.kv.as_ref()).next();
        let last = last.and_then(|kv| kv.decode().ok()).map(|kv| kv.mod_revision);
        let next = last.unwrap_or(revision) + 1;
        self.request.start_revision = self.request.start_revision.max(next);
        self.ended = message.canceled;
        WatchResponse {
            header: message.header.unwrap_or_default(),
            events: message.events,
            compact_revision: message.compact_revision,
            canceled: message.canceled,
            failure: None,
        }
    }
}

/// Why a watch was not made: an error of etcd's table, or the server's words.
fn refusal(reason: String) -> Error {
    match api::error::Error::ALL.iter().any(|error| error.message() == reason) {
        true => Error::Status { code: Code::FailedPrecondition, message: reason },
        false => Error::Refused(reason),
    }
}

#[cfg(test)]
mod tests;
