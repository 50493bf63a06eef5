//! What locks and elections share: keys under a prefix form a queue by creation; the oldest is in
//! front, and each waits for those created before it to go.

use api::{etcdserverpb::WatchCreateRequest, mvccpb::event::EventType};
use bytes::Bytes;

use crate::{client::Client, error::Error, kv};

/// Waits until no key with this prefix is left that was created at `max` or before.
pub(crate) async fn wait_for_front(client: &Client, prefix: &str, max: i64) -> Result<(), Error> {
    loop {
        let answer = client.range(kv::last_created(prefix, max)).await?;
        let Some(last) = answer.kvs.first() else { return Ok(()) };
        let key = last.decode().map_err(|_| Error::Recipe("malformed key-value"))?.key;
        let revision = answer.header.map_or(0, |header| header.revision);
        wait_for_deletion(client, key, revision).await?;
    }
}

async fn wait_for_deletion(client: &Client, key: Bytes, revision: i64) -> Result<(), Error> {
    let request =
        WatchCreateRequest { key, start_revision: revision, ..WatchCreateRequest::default() };
    let mut watcher = client.watch(request).await;
    while let Some(response) = watcher.next().await {
        if let Some(error) = response.error() {
            return Err(error);
        }
        if response.events.iter().any(|event| event.r#type() == EventType::Delete) {
            return Ok(());
        }
    }
    Err(Error::Recipe("lost watcher waiting for delete"))
}
