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
    limit: i64,
}

impl<'a, R: Read> Children<'a, R> {
    /// The children of `prefix`, which is empty or ends with the separator.
    pub(crate) fn new(reader: &'a R, prefix: &[u8], revision: i64) -> Children<'a, R> {
        Children {
            pages: Pages::new(reader, prefix, revision),
            prefix: prefix.to_vec(),
            read: VecDeque::new(),
            limit: FIRST_PAGE,
        }
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
            self.limit = (self.limit * 2).min(LAST_PAGE);
        }
        let Some(kv) = self.read.pop_front() else { return Ok(None) };
        let name = &kv.key[self.prefix.len()..];
        let Some(at) = name.iter().position(|byte| *byte == SEPARATOR) else {
            return Ok(Some(Child::Key { name: name.to_vec(), kv }));
        };
        let name = name[..=at].to_vec();
        let below = [&self.prefix[..], &name].concat();
        while self.read.front().is_some_and(|kv| kv.key.starts_with(&below)) {
            self.read.pop_front();
        }
        if self.read.is_empty() {
            self.pages.skip(&below);
            self.limit = FIRST_PAGE;
        }
        Ok(Some(Child::Prefix(name)))
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
