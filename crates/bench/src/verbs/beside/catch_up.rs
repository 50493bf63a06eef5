//! Watchers that begin in the past: each of one key, from before the key was first put, until it has
//! seen all that happened to the key. Then they are all dropped, and new ones begin.

use super::REVISIONS;
use crate::{
    grpc::{channel::Channel, frame, method::Method, stream, target::Target},
    load::payload::KeySpace,
};
use anyhow::{Context as _, Result, bail};
use api::etcdserverpb::{
    WatchCreateRequest, WatchRequest, WatchResponse, watch_request::RequestUnion,
};
use bytes::BytesMut;
use prost::Message as _;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::time::timeout;

/// Watch streams that the watchers share.
const STREAMS: u64 = 10;
/// How often it is looked whether to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Has `watchers` watchers of the keys of `space` catch up from revision `from` on, again and again
/// until told to stop; how many did.
pub(super) async fn run(
    target: &Target,
    space: &KeySpace,
    from: i64,
    watchers: u64,
    stop: &AtomicBool,
) -> Result<u64> {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut streams = Vec::new();
        for number in 0..STREAMS {
            let mut channel = Channel::connect(target).await?;
            let (mut sender, receiver) = stream::open(&mut channel, Method::Watch).await?;
            let own = (number..watchers).step_by(STREAMS as usize);
            let mut wanted = 0;
            for watcher in own {
                sender.send(create(space.key(watcher % space.len()), from))?;
                wanted += REVISIONS;
            }
            streams.push((sender, receiver, wanted));
        }
        for (_sender, receiver, wanted) in &mut streams {
            let mut seen = 0;
            while seen < *wanted {
                let Ok(message) = timeout(LOOK, receiver.next()).await else {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(done + seen / REVISIONS);
                    }
                    continue;
                };
                let message = message?.context("a watch stream ended")?;
                let answer = WatchResponse::decode(message).context("read a watch answer")?;
                if answer.canceled {
                    bail!("a watcher was canceled: {}", answer.cancel_reason);
                }
                seen += answer.events.len() as u64;
            }
            done += *wanted / REVISIONS;
        }
    }
    Ok(done)
}

/// A request to watch `key` from a revision on, framed.
fn create(key: bytes::Bytes, start_revision: i64) -> bytes::Bytes {
    let create = WatchCreateRequest { key, start_revision, ..WatchCreateRequest::default() };
    let request = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
    let mut framed = BytesMut::new();
    frame::encode(&request, &mut framed);
    framed.freeze()
}
