//! Watchers of paths, and who is told of an event.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use crate::{Event, path};

/// Where a watcher's events go. Called while the store changes: it must not wait.
pub trait Sink: Send + Sync {
    /// Takes an event; false when there is no room, which ends the watcher.
    fn send(&self, event: &Arc<Event>) -> bool;
}

/// Names a watcher, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatcherId(u64);

struct Watcher {
    id: WatcherId,
    recursive: bool,
    stream: bool,
    /// The first index it wants.
    since: u64,
    sink: Box<dyn Sink>,
}

/// All watchers, by their paths.
#[derive(Default)]
pub(crate) struct Hub {
    watchers: BTreeMap<String, Vec<Watcher>>,
    paths: HashMap<WatcherId, String>,
    next: u64,
    /// How many have asked for a watcher.
    pub(crate) requests: u64,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("watchers", &self.paths.len()).finish()
    }
}

impl Hub {
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    pub(crate) fn add(
        &mut self,
        path: String,
        recursive: bool,
        stream: bool,
        since: u64,
        sink: Box<dyn Sink>,
    ) -> WatcherId {
        let id = WatcherId(self.next);
        self.next += 1;
        let watcher = Watcher { id, recursive, stream, since, sink };
        self.watchers.entry(path.clone()).or_default().push(watcher);
        self.paths.insert(id, path);
        id
    }

    /// Forgets a watcher, if it is still there.
    pub(crate) fn remove(&mut self, id: WatcherId) {
        let Some(path) = self.paths.remove(&id) else { return };
        let Some(watchers) = self.watchers.get_mut(&path) else { return };
        watchers.retain(|watcher| watcher.id != id);
        if watchers.is_empty() {
            self.watchers.remove(&path);
        }
    }

    /// Tells those who watch the changed path or one above it.
    pub(crate) fn notify(&mut self, event: &Arc<Event>) {
        if self.watchers.is_empty() {
            return;
        }
        let key = event.node.key.clone();
        self.notify_at(event, "/", false);
        for (end, _) in key.match_indices('/').skip(1) {
            self.notify_at(event, &key[..end], false);
        }
        self.notify_at(event, &key, false);
    }

    /// Tells those who watch one path. `deleted` says that it has gone with a directory above it, or
    /// with the changed node.
    pub(crate) fn notify_at(&mut self, event: &Arc<Event>, at: &str, deleted: bool) {
        let Some(watchers) = self.watchers.get_mut(at) else { return };
        let key = event.node.key.as_str();
        let original = key == at;
        let visible = original || !path::is_hidden_from(at, key);
        let paths = &mut self.paths;
        watchers.retain(|watcher| {
            let wanted =
                (watcher.recursive || original || deleted) && event.index() >= watcher.since;
            if !visible || !wanted {
                return true;
            }
            let stays = watcher.sink.send(event) && watcher.stream;
            if !stays {
                paths.remove(&watcher.id);
            }
            stays
        });
        if watchers.is_empty() {
            self.watchers.remove(at);
        }
    }
}
