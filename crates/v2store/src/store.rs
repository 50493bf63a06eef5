//! The operations on the tree, with etcd's rules, errors and counts.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Action, Code, Counts, Error, Event, NodeView, Sink, Stats, WatcherId,
    history::History,
    hub::Hub,
    path,
    rows::Stored,
    stats::Gets,
    tree::{Content, NodeId, Tree},
};

/// Times before 2000 are taken for the absence of one, where a node is made.
const EXPIRE_MIN: i64 = 946_684_800 * crate::text::SECOND_NS;

/// The paths that nobody may change.
const READ_ONLY: [&str; 3] = ["/", "/0", "/1"];

/// The time to live that a write gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttl {
    /// When the node expires; `None` for never.
    pub expire: Option<i64>,
    /// Whether the value stays and watchers are not told.
    pub refresh: bool,
    /// The time now, from which answers tell the seconds that are left.
    pub now: i64,
}

/// What a node is compared with. Both must match, but for what is empty or 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compare<'a> {
    /// The value.
    pub value: &'a str,
    /// The index of the last change.
    pub index: u64,
}

/// The store of one member. See the crate.
#[derive(Debug)]
pub struct Store {
    pub(crate) tree: Tree,
    pub(crate) index: u64,
    pub(crate) history: History,
    pub(crate) hub: Hub,
    pub(crate) stats: Stats,
    pub(crate) gets: Gets,
    pub(crate) stored: Stored,
}

type Answer = Result<Arc<Event>, Error>;

impl Default for Store {
    fn default() -> Store {
        Store::new()
    }
}

impl Store {
    /// An empty store.
    pub fn new() -> Store {
        Store {
            tree: Tree::new(),
            index: 0,
            history: History::default(),
            hub: Hub::default(),
            stats: Stats::default(),
            gets: Gets::default(),
            stored: Stored::default(),
        }
    }

    /// How many changes there have been.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The counters, with those who watch now.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        self.gets.fill(&mut stats);
        stats.watchers = self.hub.len() as u64;
        stats
    }

    /// The counters by action, for metrics.
    pub fn counts(&self) -> Counts {
        let s = &self.stats;
        Counts {
            reads: self.gets.reads(),
            writes: [
                ("set", s.set_success, s.set_fail),
                ("create", s.create_success, s.create_fail),
                ("update", s.update_success, s.update_fail),
                ("delete", s.delete_success, s.delete_fail),
                ("compareAndSwap", s.compare_and_swap_success, s.compare_and_swap_fail),
                ("compareAndDelete", s.compare_and_delete_success, s.compare_and_delete_fail),
            ],
            expired: s.expire_count,
            watch_requests: self.hub.requests,
            watchers: self.hub.len() as u64,
        }
    }

    /// How many watchers there are.
    pub fn watchers(&self) -> usize {
        self.hub.len()
    }

    /// Whether some node expires some time.
    pub fn has_ttl(&self) -> bool {
        self.tree.has_ttl()
    }

    /// Reads a node, with what a directory holds.
    pub fn get(&self, at: &str, recursive: bool, now: i64) -> Answer {
        let at = path::clean(at);
        let found = self.find(&at);
        self.gets.count(found.is_ok(), recursive);
        let id = found?;
        let view = self.tree.view(id, at, now);
        let below = if view.dir { self.tree.below(id, recursive, now) } else { Vec::new() };
        let event = Event::new(Action::Get, view, self.index);
        Ok(Arc::new(Event { below, ..event }))
    }

    /// Makes a node that must not be there yet, and the directories above it. With `unique`, one of
    /// the index's name below `at`.
    pub fn create(&mut self, at: &str, dir: bool, value: &str, unique: bool, ttl: Ttl) -> Answer {
        let made = self.make(at, dir, value, unique, None, ttl, Action::Create);
        count(&made, &mut self.stats.create_success, &mut self.stats.create_fail);
        let event = Arc::new(made?);
        self.record(&event, true);
        Ok(event)
    }

    /// Makes a node, or replaces a file by it.
    pub fn set(&mut self, at: &str, dir: bool, value: &str, ttl: Ttl) -> Answer {
        let set = self.try_set(at, dir, value, ttl);
        count(&set, &mut self.stats.set_success, &mut self.stats.set_fail);
        set
    }

    fn try_set(&mut self, at: &str, dir: bool, value: &str, ttl: Ttl) -> Answer {
        let at = path::clean(at);
        let old = match self.find(&at) {
            Err(error) if error.code != Code::KeyNotFound || ttl.refresh => return Err(error),
            Err(_) => None,
            Ok(id) => Some(id),
        };
        let kept = old.filter(|_| ttl.refresh).map(|id| self.tree.node(id).value().to_owned());
        let value = kept.as_deref().unwrap_or(value);
        let mut event = self.make(&at, dir, value, false, Some(old), ttl, Action::Set)?;
        event.refresh = ttl.refresh;
        let event = Arc::new(event);
        self.record(&event, !ttl.refresh);
        Ok(event)
    }

    /// Changes value and time to live of a node that must be there; of a directory only the latter.
    pub fn update(&mut self, at: &str, value: &str, ttl: Ttl) -> Answer {
        let at = path::clean(at);
        if let Err(error) = self.check_writable(&at) {
            // Counted as etcd counts them.
            self.stats.update_success += 1;
            return Err(error);
        }
        let id = self.find(&at).inspect_err(|_| self.stats.update_fail += 1)?;
        self.stats.update_success += 1;
        let is_dir = self.tree.node(id).is_dir();
        if is_dir && !value.is_empty() {
            return Err(self.error(Code::NotFile, at));
        }
        let prev = self.tree.view(id, at.clone(), ttl.now);
        self.index += 1;
        self.write(id, value, ttl);
        let node = NodeView { modified_index: self.index, ..self.tree.view(id, at, ttl.now) };
        let mut event = Event::new(Action::Update, node, self.index);
        (event.prev, event.refresh) = (Some(prev), ttl.refresh);
        let event = Arc::new(event);
        self.record(&event, !ttl.refresh);
        Ok(event)
    }

    /// The same for a file that must be as `compare` says.
    pub fn compare_and_swap(
        &mut self,
        at: &str,
        compare: Compare<'_>,
        value: &str,
        ttl: Ttl,
    ) -> Answer {
        let at = path::clean(at);
        if let Err(error) = self.check_writable(&at) {
            self.stats.compare_and_swap_success += 1;
            return Err(error);
        }
        let checked = self.find_file(&at).and_then(|id| self.check(id, compare).map(|()| id));
        let stats = &mut self.stats;
        count(&checked, &mut stats.compare_and_swap_success, &mut stats.compare_and_swap_fail);
        let id = checked?;
        let prev = self.tree.view(id, at.clone(), ttl.now);
        self.index += 1;
        self.write(id, value, ttl);
        let node = self.tree.view(id, at, ttl.now);
        let mut event = Event::new(Action::CompareAndSwap, node, self.index);
        (event.prev, event.refresh) = (Some(prev), ttl.refresh);
        let event = Arc::new(event);
        self.record(&event, !ttl.refresh);
        Ok(event)
    }

    /// Removes a file, or with `dir` an empty directory, or with `recursive` any.
    pub fn delete(&mut self, at: &str, dir: bool, recursive: bool, now: i64) -> Answer {
        let at = path::clean(at);
        if let Err(error) = self.check_writable(&at) {
            self.stats.delete_success += 1;
            return Err(error);
        }
        let checked = self.find(&at).and_then(|id| {
            let may = self.tree.check_remove(id, dir || recursive, recursive);
            may.map(|()| id).map_err(|(code, cause)| self.error(code, cause))
        });
        count(&checked, &mut self.stats.delete_success, &mut self.stats.delete_fail);
        Ok(self.remove(checked?, at, Action::Delete, now))
    }

    /// Removes a file that must be as `compare` says.
    pub fn compare_and_delete(&mut self, at: &str, compare: Compare<'_>, now: i64) -> Answer {
        let at = path::clean(at);
        let id = self.find(&at).inspect_err(|_| self.stats.compare_and_delete_fail += 1)?;
        self.stats.compare_and_delete_success += 1;
        if self.tree.node(id).is_dir() {
            return Err(self.error(Code::NotFile, at));
        }
        self.check(id, compare)?;
        Ok(self.remove(id, at, Action::CompareAndDelete, now))
    }

    /// Removes every node whose time was up at `cutoff`.
    pub fn expire(&mut self, cutoff: i64, now: i64) {
        while let Some(id) = self.tree.expired(cutoff) {
            let at = self.tree.path(id);
            self.remove(id, at, Action::Expire, now);
            self.stats.expire_count += 1;
        }
    }

    /// Counts a change of a node of `/0`, which is not kept here.
    pub fn outside(&mut self, action: Action, key: &str) {
        match action {
            Action::Create => self.stats.create_success += 1,
            Action::Set => self.stats.set_success += 1,
            Action::Update => self.stats.update_success += 1,
            Action::Delete => self.stats.delete_success += 1,
            _ => {}
        }
        self.index += 1;
        let node = NodeView {
            key: key.to_owned(),
            modified_index: self.index,
            created_index: self.index,
            ..NodeView::default()
        };
        self.history.add(Arc::new(Event::new(action, node, self.index)));
    }

    /// Has `sink` told of the changes of a node from the index `since` on, 0 for the next one;
    /// with `recursive` also of those below it. One that the history has is told at once, and that is
    /// all then. Otherwise a watcher is added, which ends with its first event unless `stream`.
    pub fn watch(
        &mut self,
        at: &str,
        recursive: bool,
        stream: bool,
        since: u64,
        sink: Box<dyn Sink>,
    ) -> Result<Option<WatcherId>, Error> {
        let at = path::clean(at);
        self.hub.requests += 1;
        let since = if since == 0 { self.index + 1 } else { since };
        if let Some(event) = self.history.scan(&at, recursive, since, self.index)? {
            sink.send(event);
            return Ok(None);
        }
        Ok(Some(self.hub.add(at, recursive, stream, since, sink)))
    }

    /// Ends a watcher.
    pub fn unwatch(&mut self, id: WatcherId) {
        self.hub.remove(id);
    }

    /// Takes over those who watch a store that this one replaces.
    pub fn adopt_watchers(&mut self, old: &mut Store) {
        self.hub = std::mem::take(&mut old.hub);
    }

    fn error(&self, code: Code, cause: impl Into<String>) -> Error {
        Error::new(code, cause, self.index)
    }

    fn check_writable(&self, at: &str) -> Result<(), Error> {
        if READ_ONLY.contains(&at) { Err(self.error(Code::RootReadOnly, "/")) } else { Ok(()) }
    }

    fn find(&self, at: &str) -> Result<NodeId, Error> {
        self.tree.find(at).map_err(|(code, cause)| self.error(code, cause))
    }

    fn find_file(&self, at: &str) -> Result<NodeId, Error> {
        let id = self.find(at)?;
        if self.tree.node(id).is_dir() { Err(self.error(Code::NotFile, at)) } else { Ok(id) }
    }

    fn check(&self, id: NodeId, compare: Compare<'_>) -> Result<(), Error> {
        let node = self.tree.node(id);
        let Compare { value, index } = compare;
        let by_index = format!("[{index} != {}]", node.modified_index);
        let by_value = || format!("[{value} != {}]", node.value());
        let index_matches = index == 0 || index == node.modified_index;
        let value_matches = value.is_empty() || value == node.value();
        let cause = match (value_matches, index_matches) {
            (true, true) => return Ok(()),
            (true, false) => by_index,
            (false, true) => by_value(),
            (false, false) => format!("{} {by_index}", by_value()),
        };
        Err(self.error(Code::TestFailed, cause))
    }

    /// Makes a node. `replace` says that there may be one, and which one there is.
    #[allow(clippy::too_many_arguments)]
    fn make(
        &mut self,
        at: &str,
        dir: bool,
        value: &str,
        unique: bool,
        replace: Option<Option<NodeId>>,
        ttl: Ttl,
        action: Action,
    ) -> Result<Event, Error> {
        let next = self.index + 1;
        let at = if unique { path::join(at, &format!("{next:020}")) } else { path::clean(at) };
        self.check_writable(&at)?;
        let expire = ttl.expire.filter(|expire| *expire >= EXPIRE_MIN);
        let (above, name) = path::split(&at);
        let parent = match self.tree.make_dirs(above, next) {
            Ok(parent) => parent,
            Err((code, cause)) => {
                self.stats.set_fail += 1;
                return Err(self.error(code, cause));
            }
        };
        let mut prev = None;
        if let Some(old) = self.tree.child(parent, name) {
            if replace.is_none() {
                return Err(self.error(Code::NodeExist, at));
            }
            if self.tree.node(old).is_dir() {
                return Err(self.error(Code::NotFile, at));
            }
            prev = Some(self.tree.view(old, at.clone(), ttl.now));
            self.tree.remove(old);
        }
        let content = match dir {
            true => Content::Dir(BTreeMap::new()),
            false => Content::File(value.to_owned()),
        };
        self.index = next;
        let id = self.tree.add(parent, name, content, next, expire);
        let mut event = Event::new(action, self.tree.view(id, at, ttl.now), next);
        event.prev = prev;
        Ok(event)
    }

    /// Changes value and time to live. Of a directory the index of its last change stays.
    fn write(&mut self, id: NodeId, value: &str, ttl: Ttl) {
        let index = self.index;
        let node = self.tree.node_mut(id);
        if let Content::File(old) = &mut node.content {
            if !ttl.refresh {
                value.clone_into(old);
            }
            node.modified_index = index;
        }
        self.tree.set_expire(id, ttl.expire);
    }

    fn remove(&mut self, id: NodeId, at: String, action: Action, now: i64) -> Arc<Event> {
        self.index += 1;
        let prev = self.tree.view(id, at.clone(), now);
        let node = NodeView {
            key: at,
            dir: prev.dir,
            modified_index: self.index,
            created_index: prev.created_index,
            ..NodeView::default()
        };
        let mut event = Event::new(action, node, self.index);
        event.prev = Some(prev);
        let event = Arc::new(event);
        for gone in self.tree.remove(id) {
            self.hub.notify_at(&event, &gone, true);
        }
        self.record(&event, true);
        event
    }

    /// Every change ends here.
    fn record(&mut self, event: &Arc<Event>, notify: bool) {
        self.history.add(event.clone());
        if notify {
            self.hub.notify(event);
        }
    }
}

fn count<T, E>(result: &Result<T, E>, success: &mut u64, fail: &mut u64) {
    match result {
        Ok(_) => *success += 1,
        Err(_) => *fail += 1,
    }
}

#[cfg(test)]
mod tests;
