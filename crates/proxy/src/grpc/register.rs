//! `--resolver-prefix`: this proxy's address as a key of the cluster for as long as it lives, and the
//! addresses of all proxies under the prefix. And `--endpoints-auto-sync-interval`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api::{
    etcdserverpb::{MemberListRequest, PutRequest, RangeRequest, WatchCreateRequest},
    mvccpb::event::EventType,
    range::prefix_end,
};
use bytes::Bytes;
use client::{client::Client, endpoint::Endpoint, kv::put_op, session::Session};
use parking_lot::RwLock;
use serde_json::{Value, json};

use super::{caller::Caller, upstream::Upstream};

/// Between attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// A proxy that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) address: String,
    pub(crate) name: String,
}

/// The proxies that are registered, by key.
pub(crate) type Proxies = Arc<RwLock<BTreeMap<Bytes, Registered>>>;

/// The name of this machine.
pub(crate) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

/// Keeps this proxy registered, again whenever its lease was lost.
pub(crate) async fn register(upstream: Arc<Upstream>, prefix: String, address: String, ttl: i64) {
    loop {
        match session(&upstream, &prefix, &address, ttl).await {
            Ok(session) => {
                tracing::info!(addr = address, "lease-ttl" = ttl, "registered session with lease");
                session.done().await;
                tracing::warn!("session expired; possible network partition or server restart");
                tracing::warn!("creating a new session to rejoin");
            }
            Err(error) => tracing::warn!(%error, "failed to create a session"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn session(
    upstream: &Upstream,
    prefix: &str,
    address: &str,
    ttl: i64,
) -> Result<Session, client::error::Error> {
    let session = Session::new(&upstream.client, ttl).await?;
    let metadata = json!({ "name": hostname() }).to_string();
    // In the order of etcd's own.
    let value = format!(
        r#"{{"Op":0,"Addr":{},"Metadata":{}}}"#,
        Value::from(address),
        Value::from(metadata)
    );
    let put = PutRequest {
        key: format!("{prefix}/{address}").into(),
        value: value.into(),
        lease: session.lease(),
        ..PutRequest::default()
    };
    let txn = client::kv::txn(Vec::new(), vec![put_op(put)], Vec::new());
    match upstream.txn(&Caller::default(), txn).await {
        Ok(_) => Ok(session),
        Err(error) => {
            // It would expire anyway.
            let _ = session.close().await;
            Err(error)
        }
    }
}

/// What a key under the prefix says.
fn read(value: &[u8]) -> Option<Registered> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let address = value.get("Addr")?.as_str()?.to_owned();
    let metadata = value.get("Metadata").and_then(Value::as_str).unwrap_or_default();
    let metadata: Option<Value> = serde_json::from_str(metadata).ok();
    let name = metadata.as_ref().and_then(|metadata| metadata.get("name")?.as_str());
    Some(Registered { address, name: name.unwrap_or_default().to_owned() })
}

/// Follows the keys under the prefix.
pub(crate) async fn follow(upstream: Arc<Upstream>, prefix: String, proxies: Proxies) {
    let key = Bytes::from(format!("{prefix}/"));
    loop {
        if let Err(error) = follow_once(&upstream, &key, &proxies).await {
            tracing::warn!(prefix, %error, "failed to establish endpoint watch");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow_once(
    upstream: &Upstream,
    key: &Bytes,
    proxies: &Proxies,
) -> Result<(), client::error::Error> {
    let caller = Caller::default();
    let (key, range_end) = (key.clone(), prefix_end(key));
    let request = RangeRequest {
        key: key.clone(),
        range_end: range_end.clone(),
        serializable: true,
        ..RangeRequest::default()
    };
    let found = upstream.range(&caller, request).await?;
    let kvs = found.kvs.iter().filter_map(|kv| kv.decode().ok());
    *proxies.write() = kvs.filter_map(|kv| Some((kv.key, read(&kv.value)?))).collect();
    let start_revision = found.header.map_or(0, |header| header.revision) + 1;
    let request =
        WatchCreateRequest { key, range_end, start_revision, ..WatchCreateRequest::default() };
    let mut watcher = upstream.watch(&caller, request).await;
    while let Some(mut response) = watcher.next().await {
        if let Some(error) = response.error() {
            return Err(error);
        }
        upstream.namespace.leave_events(&mut response.events);
        let mut proxies = proxies.write();
        for event in &response.events {
            let Some(kv) = event.kv.as_ref().and_then(|kv| kv.decode().ok()) else { continue };
            match event.r#type() {
                EventType::Put => {
                    if let Some(registered) = read(&kv.value) {
                        proxies.insert(kv.key, registered);
                    }
                }
                EventType::Delete => {
                    proxies.remove(&kv.key);
                }
            }
        }
    }
    Ok(())
}

/// Takes the members' client URLs as endpoints, again and again.
pub(crate) async fn synchronise(client: Client, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let asked = client.with_timeout(Duration::from_secs(5));
        match asked.member_list(MemberListRequest { linearizable: true }).await {
            Ok(answer) => {
                let started = answer.members.iter().filter(|m| !m.name.is_empty() && !m.is_learner);
                let urls = started.flat_map(|member| &member.client_urls);
                let endpoints: Vec<Endpoint> = urls.map(|url| Endpoint::parse(url)).collect();
                if let Err(error) = client.set_endpoints(endpoints) {
                    tracing::warn!(%error, "no member has a client URL");
                }
            }
            Err(error) => tracing::warn!(%error, "Auto sync endpoints failed."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_are_read_as_etcd_writes_them() {
        let value = br#"{"Op":0,"Addr":"a:1","Metadata":"{\"name\":\"host\"}"}"#;
        let (address, name) = ("a:1".to_owned(), "host".to_owned());
        assert_eq!(read(value), Some(Registered { address: address.clone(), name }));
        let bare = br#"{"Addr":"a:1","Metadata":null}"#;
        assert_eq!(read(bare), Some(Registered { address, name: String::new() }));
        assert_eq!(read(b"{}"), None);
        assert_eq!(read(b"no json"), None);
    }
}
