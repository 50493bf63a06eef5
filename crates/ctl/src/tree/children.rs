//! The children of a prefix: keys are paths, `/` separates their parts.
//!
//! What lies below a child is passed over by reading on behind it, so a level costs a read for
//! each child that has keys below it and for each page of those that have none, however many keys
//! there are further down. Values are never read.

use std::collections::VecDeque;

use api::kv::KeyValue;
use client::error::Error;

use super::keyspace::{Pages, Read, What};

/// Between parts of a key.
pub(crate) const SEPARATOR: u8 = b'/';
/// Keys that are read behind a child which was passed over.
const FIRST_PAGE: i64 = 32;
/// Keys that are read at once when all will be shown.
const ALL_PAGE: i64 = 1000;
/// The most keys that are read at once.
const LAST_PAGE: i64 = 10_000;

/// One child.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Child {
    /// There are keys below this name, which ends with the separator.
    Prefix(Vec<u8>),
    /// A key, without its value.
    Key {
        /// What follows the prefix.
        name: Vec<u8>,
        /// The key.
        kv: KeyValue,
    },
}

/// The children of one prefix, in the order of their names.
pub(crate) struct Children<'a, R> {
    pages: Pages<'a, R>,
    prefix: Vec<u8>,
    read: VecDeque<KeyValue>,
    /// The keys of the next page.
    limit: i64,
    /// The keys of a page where little is known of what comes.
    first_page: i64,
    /// How many keys the last page had.
    page: usize,
    below: Below,
}

/// Keys below a child that were read on the way.
#[derive(Default)]
pub(crate) struct Below {
    keys: VecDeque<KeyValue>,
    /// Whether these are all.
    whole: bool,
}

impl Below {
    /// How many keys are below the child, if that is known.
    pub(crate) fn count(&self) -> Option<i64> {
        self.whole.then(|| i64::try_from(self.keys.len()).unwrap_or(i64::MAX))
    }
}

impl<'a, R: Read> Children<'a, R> {
    /// The children of `prefix`, which is empty or ends with the separator.
    pub(crate) fn new(reader: &'a R, prefix: &[u8], revision: i64) -> Children<'a, R> {
        Children {
            pages: Pages::new(reader, prefix, revision),
            prefix: prefix.to_vec(),
            read: VecDeque::new(),
            limit: FIRST_PAGE,
            first_page: FIRST_PAGE,
            page: 0,
            below: Below::default(),
        }
    }

    /// For who will look below each child: pages are large from the first on.
    pub(crate) fn all(mut self) -> Children<'a, R> {
        self.first_page = ALL_PAGE;
        self.limit = ALL_PAGE;
        self
    }

    /// The children of `prefix`, the first of whose keys were read before.
    pub(crate) fn after(
        reader: &'a R,
        prefix: &[u8],
        revision: i64,
        below: Below,
    ) -> Children<'a, R> {
        let mut children = Children::new(reader, prefix, revision);
        children.pages.resume(below.keys.back().map(|kv| &kv.key[..]), below.whole);
        children.read = below.keys;
        children
    }

    /// The children of `prefix` whose names begin with `start`.
    pub(crate) fn matching(reader: &'a R, prefix: &[u8], start: &[u8]) -> Children<'a, R> {
        Children {
            pages: Pages::new(reader, &[prefix, start].concat(), 0),
            ..Children::new(reader, prefix, 0)
        }
    }

    /// The prefix.
    pub(crate) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// The revision that is read; 0 before the first child.
    pub(crate) fn revision(&self) -> i64 {
        self.pages.revision()
    }

    /// The next child.
    pub(crate) async fn next(&mut self) -> Result<Option<Child>, Error> {
        if self.read.is_empty() {
            self.read = self.pages.next(self.limit, What::Keys).await?.into();
            self.page = self.read.len();
            self.limit = (self.limit * 2).min(LAST_PAGE);
        }
        let Some(kv) = self.read.pop_front() else { return Ok(None) };
        let name = &kv.key[self.prefix.len()..];
        let Some(at) = name.iter().position(|byte| *byte == SEPARATOR) else {
            self.below = Below::default();
            return Ok(Some(Child::Key { name: name.to_vec(), kv }));
        };
        let name = name[..=at].to_vec();
        let below = [&self.prefix[..], &name].concat();
        self.below.keys.clear();
        self.below.keys.push_back(kv);
        while self.read.front().is_some_and(|kv| kv.key.starts_with(&below)) {
            self.below.keys.extend(self.read.pop_front());
        }
        self.below.whole = !self.read.is_empty() || self.pages.is_done();
        if self.read.is_empty() {
            self.pages.skip(&below);
            // A child that took most of the page says that the next one may, too.
            if self.below.keys.len() * 2 > self.page {
                self.limit = self.first_page;
            }
        }
        Ok(Some(Child::Prefix(name)))
    }

    /// What was read below the prefix that came last.
    pub(crate) fn take_below(&mut self) -> Below {
        std::mem::take(&mut self.below)
    }
}

/// Where an empty path begins: at `/` when every key does, else at the empty prefix.
pub(crate) async fn top(reader: &impl Read, revision: i64) -> Result<Vec<u8>, Error> {
    let mut children = Children::new(reader, b"", revision);
    let first = children.next().await?;
    let only = children.next().await?.is_none();
    Ok(match first {
        Some(Child::Prefix(name)) if only && name == [SEPARATOR] => name,
        _ => Vec::new(),
    })
}

/// The prefix that a path names: with a separator at its end.
pub(crate) fn prefix_of(path: &[u8]) -> Vec<u8> {
    let mut prefix = path.to_vec();
    if !prefix.is_empty() && prefix.last() != Some(&SEPARATOR) {
        prefix.push(SEPARATOR);
    }
    prefix
}
