//! Waiting for changes of keys: one event, or a stream of them.

use std::sync::Arc;

use futures_util::stream;
use http::{Response, StatusCode};
use http_body_util::StreamBody;
use hyper::body::Frame;
use tokio::sync::mpsc;
use tonic::{Status, body::Body};
use v2store::{Code, Error, Event, Sink, WatcherId};

use super::{add_indexes, json, keys::NAMESPACE};
use crate::{
    handle::Handle,
    limits::{V2_WATCHER_EVENTS_MAX, V2_WATCHERS_MAX},
};

/// The end of a watcher that the store holds.
struct Events(mpsc::Sender<Arc<Event>>);

impl Sink for Events {
    fn send(&self, event: &Arc<Event>) -> bool {
        self.0.try_send(event.clone()).is_ok()
    }
}

/// The end that its client holds. It takes the watcher with it.
struct Watching {
    handle: Handle,
    id: Option<WatcherId>,
    events: mpsc::Receiver<Arc<Event>>,
    stream: bool,
    done: bool,
}

impl Watching {
    /// The next line of the answer.
    async fn next(mut self) -> Option<(Result<Frame<bytes::Bytes>, Status>, Watching)> {
        if self.done {
            return None;
        }
        let event = tokio::select! {
            event = self.events.recv() => event?,
            () = self.handle.progress.wait_stopping() => return None,
        };
        self.done = !self.stream;
        let line = event.to_json(NAMESPACE, true) + "\n";
        Some((Ok(Frame::data(line.into())), self))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.handle.shared.v2.write().unwatch(id);
        }
    }
}

/// Begins to wait. The answer begins at once, so that clients know that they wait.
pub(super) fn begin(
    handle: &Handle,
    path: &str,
    recursive: bool,
    streams: bool,
    since: u64,
) -> Result<Response<Body>, Error> {
    let (sender, events) = mpsc::channel(V2_WATCHER_EVENTS_MAX);
    let (id, index) = {
        let mut store = handle.shared.v2.write();
        let index = store.index();
        if store.watchers() >= V2_WATCHERS_MAX {
            return Err(Error::new(Code::RaftInternal, "too many watchers", index));
        }
        let sink = Box::new(Events(sender));
        (store.watch(path, recursive, streams, since, sink)?, index)
    };
    let (handle, done) = (handle.clone(), false);
    let watching = Watching { handle: handle.clone(), id, events, stream: streams, done };
    let mut response = json(StatusCode::OK, String::new());
    *response.body_mut() =
        Body::new(StreamBody::new(stream::unfold(watching, |watching| watching.next())));
    add_indexes(&handle, &mut response, index);
    Ok(response)
}
