//! The last events, for watchers that come too late for them.

use std::{collections::VecDeque, sync::Arc};

use crate::{Action, Code, Error, Event};

/// How many events are kept.
pub const HISTORY_MAX: usize = 1000;

/// Events by ascending index, without gaps.
#[derive(Debug, Default)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
}

impl History {
    /// Adds the next event; the oldest goes when there are too many.
    pub(crate) fn add(&mut self, event: Arc<Event>) {
        if self.events.len() == HISTORY_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// The index of the first event; 0 without any.
    pub(crate) fn start(&self) -> u64 {
        self.events.front().map_or(0, |event| event.index())
    }

    /// The index of the last event; 0 without any.
    pub(crate) fn last(&self) -> u64 {
        self.events.back().map_or(0, |event| event.index())
    }

    /// The events from an index on.
    pub(crate) fn from(&self, index: u64) -> impl Iterator<Item = &Arc<Event>> {
        let first = self.events.partition_point(|event| event.index() < index);
        self.events.range(first..)
    }

    /// The first event from `index` on that a watcher of `key` wants; `None` when it has yet to come.
    pub(crate) fn scan(
        &self,
        key: &str,
        recursive: bool,
        index: u64,
        store_index: u64,
    ) -> Result<Option<&Arc<Event>>, Error> {
        let start = self.start();
        if index < start {
            let cause = format!("the requested history has been cleared [{start}/{index}]");
            return Err(Error::new(Code::EventIndexCleared, cause, store_index));
        }
        Ok(self.from(index).find(|event| !event.refresh && wants(event, key, recursive)))
    }
}

fn wants(event: &Event, key: &str, recursive: bool) -> bool {
    let changed = event.node.key.as_str();
    if changed == key {
        return true;
    }
    let below = changed.strip_prefix(key);
    if recursive && below.is_some_and(|below| key.ends_with('/') || below.starts_with('/')) {
        return true;
    }
    let gone = matches!(event.action, Action::Delete | Action::Expire);
    // As etcd has it: also of a directory whose name the watched one only begins with.
    gone && event.prev.as_ref().is_some_and(|prev| prev.dir && key.starts_with(&prev.key))
}
