//! The scenario: a cluster's life in small, with every answer checked.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use api::mvccpb::event::EventType;
use bytes::Bytes;
use tonic::Code;

use super::store::{Object, Store, Write};
use crate::{
    client::{Client, decode_one, revision},
    watching::{WatchStream, watch_prefix},
};

const PODS: &str = "/registry/pods/";
const EVENTS: &str = "/registry/events/";
const EVENT_LEASE: i64 = 0x5e_5510;

/// How much traffic.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Objects to create.
    pub pods: usize,
    /// The size of a page.
    pub page: i64,
    /// Updates and deletions after the first list.
    pub changes: usize,
}

/// What the store must hold, by key.
type Expected = BTreeMap<String, Object>;

/// Plays the scenario on an otherwise idle, fresh server; fails on the first wrong answer.
/// `periodic` says that the server sends progress notifications within seconds.
pub async fn replay(client: &Client, scale: Scale, periodic: bool) -> Result<()> {
    let mut store = Store::new(client.clone());
    let mut expected = create_all(&mut store, scale).await.context("create")?;
    conflicts(&mut store, &mut expected).await.context("conflicts")?;

    let (listed, at) = store.list(PODS, scale.page).await.context("list")?;
    ensure!(listed.iter().eq(expected.values()), "the list is not what was written");
    ensure!(store.count(PODS).await? == expected.len() as i64, "count_only differs");
    let (mut watch, created) = WatchStream::create(client, Store::watch_request(PODS, at)).await?;
    ensure!(!created.canceled && revision(&created.header) == at, "{created:?}");

    let first_page = store.page(PODS, PODS, scale.page, 0).await?;
    let changes = churn(&mut store, &mut expected, scale).await.context("churn")?;
    follow(&mut watch, &listed, &changes).await.context("watch")?;

    // The first page is old by now; its revision still has the rest of that list.
    let mut old = first_page.objects;
    let mut more = first_page.more;
    while more {
        let next = format!("{}\0", old.last().context("an empty page with more")?.key);
        let page = store.page(PODS, &next, scale.page, first_page.revision).await?;
        more = page.more;
        old.extend(page.objects);
    }
    ensure!(old == listed, "pages at an old revision show another list");

    leased_events(client, &mut store).await.context("events")?;
    progress(&mut watch, client, periodic).await.context("progress")?;
    compaction(client, &mut store, at).await.context("compaction")?;
    let (listed, _) = store.list(PODS, scale.page).await?;
    ensure!(listed.iter().eq(expected.values()), "compaction changed the present");
    Ok(())
}

/// Creates every object; each is a revision of its own.
async fn create_all(store: &mut Store, scale: Scale) -> Result<Expected> {
    let mut expected = Expected::new();
    let (absent, mut last) = store.get(PODS).await?;
    ensure!(absent.is_none(), "the store is not empty");
    for i in 0..scale.pods {
        // Not in key order, over several namespaces.
        let key = format!("{PODS}ns-{}/pod-{:06}", i % 7, i.wrapping_mul(7919) % scale.pods);
        let value = Bytes::from(format!("{{\"pod\":{i},\"pad\":\"{}\"}}", "x".repeat(i % 300)));
        let Write::Done(at) = store.create(&key, value.clone(), 0).await? else {
            ensure!(expected.contains_key(&key), "{key} is said to exist");
            continue;
        };
        ensure!(at == last + 1, "{key}: created at {at} after {last}");
        last = at;
        expected.insert(key.clone(), Object { key, value, revision: at });
    }
    Ok(expected)
}

/// Conditional writes that must fail, with what their failure branch must answer.
async fn conflicts(store: &mut Store, expected: &mut Expected) -> Result<()> {
    let object = expected.values().next().context("nothing was created")?.clone();
    let (_, before) = store.get(&object.key).await?;
    let stale = object.revision - 1;
    let there = Write::Conflict(Some(object.clone()));
    ensure!(store.create(&object.key, "x".into(), 0).await? == there, "created twice");
    ensure!(store.update(&object.key, "x".into(), stale).await? == there, "stale update");
    ensure!(store.delete(&object.key, stale).await? == there, "stale delete");
    let absent = format!("{PODS}absent");
    let nothing = Write::Conflict(None);
    ensure!(store.update(&absent, "x".into(), 5).await? == nothing, "update of nothing");
    ensure!(store.delete(&absent, 5).await? == nothing, "delete of nothing");
    let (now, after) = store.get(&object.key).await?;
    ensure!(now == Some(object), "a refused write changed the object");
    ensure!(before == after, "a refused write made a revision");
    Ok(())
}

/// A change as the watch must show it; no value stands for a deletion.
struct Change {
    key: String,
    value: Option<Bytes>,
    revision: i64,
}

/// Updates and deletes, and creates again what an earlier turn deleted.
async fn churn(store: &mut Store, expected: &mut Expected, scale: Scale) -> Result<Vec<Change>> {
    let keys: Vec<String> = expected.keys().cloned().collect();
    let mut changes = Vec::new();
    for i in 0..scale.changes {
        let key = &keys[i.wrapping_mul(31) % keys.len()];
        let value = Bytes::from(format!("changed {i}"));
        let (value, write) = match expected.get(key) {
            Some(object) if i % 5 == 4 => (None, store.delete(key, object.revision).await?),
            Some(object) => {
                let write = store.update(key, value.clone(), object.revision).await?;
                (Some(value), write)
            }
            None => (Some(value.clone()), store.create(key, value, 0).await?),
        };
        let Write::Done(revision) = write else { bail!("turn {i}: {key} is {write:?}") };
        match value.clone() {
            Some(value) => {
                expected.insert(key.clone(), Object { key: key.clone(), value, revision });
            }
            None => {
                expected.remove(key);
            }
        }
        changes.push(Change { key: key.clone(), value, revision });
    }
    Ok(changes)
}

/// Every change arrives once, in order, with the value that it replaced.
async fn follow(watch: &mut WatchStream, listed: &[Object], changes: &[Change]) -> Result<()> {
    let mut present: BTreeMap<&str, Bytes> =
        listed.iter().map(|object| (object.key.as_str(), object.value.clone())).collect();
    let last = changes.last().context("nothing changed")?.revision;
    let responses = watch.until_event(last).await?;
    let events: Vec<_> = responses.iter().flat_map(|response| &response.events).collect();
    ensure!(events.len() == changes.len(), "{} events of {}", events.len(), changes.len());
    for (event, change) in events.into_iter().zip(changes) {
        let kv = decode_one(event.kv.as_ref().context("an event without its key-value")?);
        ensure!(kv.key == change.key && kv.mod_revision == change.revision, "{event:?}");
        let deleted = event.r#type == EventType::Delete as i32;
        ensure!(deleted == change.value.is_none(), "{event:?}");
        ensure!(kv.value == change.value.clone().unwrap_or_default(), "{event:?}");
        let before = event.prev_kv.as_ref().map(|kv| decode_one(kv).value);
        let replaced = match &change.value {
            Some(value) => present.insert(&change.key, value.clone()),
            None => present.remove(change.key.as_str()),
        };
        ensure!(before == replaced, "{event:?} must carry {replaced:?}");
        // How a reflector tells an addition from a modification.
        let created = !deleted && kv.create_revision == kv.mod_revision;
        ensure!(created == replaced.is_none(), "{event:?}");
    }
    Ok(())
}

/// Events of Kubernetes live on a shared lease; when it ends they go together.
async fn leased_events(client: &Client, store: &mut Store) -> Result<()> {
    let mut client = client.clone();
    client.grant(EVENT_LEASE, 3600).await?;
    let (mut watch, _) = WatchStream::create(&client, watch_prefix(EVENTS)).await?;
    let mut last = 0;
    for i in 0..20 {
        let key = format!("{EVENTS}default/pod.{i:02}");
        let Write::Done(at) = store.create(&key, "happened".into(), EVENT_LEASE).await? else {
            bail!("{key} exists already")
        };
        last = at;
    }
    watch.until_event(last).await?;
    ensure!(client.time_to_live(EVENT_LEASE).await?.keys.len() == 20, "keys of the lease");
    let header = client.revoke(EVENT_LEASE).await?.header;
    ensure!(revision(&header) == last + 1, "the end of the lease is one revision");
    let gone = watch.until_event(last + 1).await?;
    let keys: Vec<_> = gone
        .iter()
        .flat_map(|response| &response.events)
        .filter_map(|event| event.kv.as_ref().map(|kv| decode_one(kv).key))
        .collect();
    let expected: Vec<_> = (0..20).map(|i| format!("{EVENTS}default/pod.{i:02}")).collect();
    ensure!(keys == expected, "{keys:?}");
    ensure!(store.count(EVENTS).await? == 0, "events outlive their lease");
    Ok(())
}

/// A watch cache learns from progress that it is fresh although nothing below its prefix changed.
async fn progress(watch: &mut WatchStream, client: &Client, periodic: bool) -> Result<()> {
    let mut client = client.clone();
    let at = client.put("/registry/elsewhere", "x").await?;
    let events = watch.until_progress(at, 1).await?;
    ensure!(events.iter().all(|response| response.events.is_empty()), "{events:?}");
    if !periodic {
        return Ok(());
    }
    let at = client.put("/registry/elsewhere", "y").await?;
    loop {
        let response = watch.next().await?;
        ensure!(response.events.is_empty() && !response.canceled, "{response:?}");
        if revision(&response.header) >= at {
            return Ok(());
        }
    }
}

/// Two API servers take turns; then reads and watches of the past say that it is compacted.
async fn compaction(client: &Client, store: &mut Store, old: i64) -> Result<()> {
    let mut other = Store::new(client.clone());
    let (turn, target) = store.compact(0, 0).await?;
    ensure!(turn == 1, "the first turn makes version 1, not {turn}");
    let (seen, _) = other.compact(0, 0).await?;
    ensure!(seen == 1, "the loser learns the version, not {seen}");
    ensure!(target > old, "the store stood still");
    let (turn, _) = other.compact(seen, target).await?;
    ensure!(turn == 2, "the second turn makes version 2, not {turn}");
    let (seen, _) = store.compact(1, target).await?;
    ensure!(seen == 2, "the loser learns the version, not {seen}");

    // An API server turns this into "410 Gone".
    for at in [old, target - 1] {
        let status = store.page(PODS, PODS, 10, at).await.err().context("the past is readable")?;
        let text = "etcdserver: mvcc: required revision has been compacted";
        ensure!(status.code() == Code::OutOfRange && status.message() == text, "{status}");
    }
    store.page(PODS, PODS, 10, target).await.context("the compact revision is readable")?;
    let (mut watch, created) = WatchStream::create(client, Store::watch_request(PODS, old)).await?;
    ensure!(!created.canceled, "{created:?}");
    let cancelled = watch.next().await?;
    ensure!(cancelled.canceled && cancelled.compact_revision == target, "{cancelled:?}");
    let request = Store::watch_request(PODS, target - 1);
    let (_, created) = WatchStream::create(client, request).await?;
    ensure!(!created.canceled, "{created:?}");
    Ok(())
}
