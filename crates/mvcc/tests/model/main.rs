//! The store against the simplest thing that could be right: every change ever made, in a list.
//!
//! Random transactions, compactions, flushes, crashes and reopenings; after each few of them random
//! reads at random revisions with random options, counts and history, all compared.

#[path = "../common/mod.rs"]
mod common;
mod naive;

use std::sync::Arc;

use api::{ids::LeaseId, range::KeyRange};
use bytes::Bytes;
use common::Member;
use mvcc::{RangeQuery, ReadError, RecentLimits, SortOrder, SortTarget};
use naive::{Action, Entry, Model, Outcome, counted_as, outcome};
use storage::{
    engine::{LmdbBackend, LmdbOptions},
    mem::MemBackend,
};

/// A small generator, so that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % bound as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A member and its model, with the log that both applied.
struct Pair {
    member: Member,
    model: Model,
    log: Vec<Entry>,
    random: Random,
    recent: RecentLimits,
}

impl Pair {
    fn key(&mut self) -> Bytes {
        let len = 1 + self.random.below(3);
        (0..len).map(|_| b"abcd"[self.random.below(4)]).collect::<Vec<u8>>().into()
    }

    fn key_range(&mut self) -> KeyRange {
        let (start, end) = (self.key(), self.key());
        match self.random.below(6) {
            0 => KeyRange::From(start),
            1 => KeyRange::Single(start),
            2 => KeyRange::From(Bytes::from_static(b"\0")),
            _ => KeyRange::Span(start, end),
        }
    }

    fn entry(&mut self) -> Entry {
        if self.random.chance(12) {
            let around = self.model.revision - self.random.below(30) as i64 + 2;
            return Entry::Compact(around);
        }
        let count = self.random.pick(&[0, 1, 1, 1, 1, 2, 5]);
        let actions = (0..count).map(|_| {
            if self.random.chance(4) {
                Action::Delete(self.key_range())
            } else {
                let value = vec![b'v'; self.random.below(4)];
                let lease = self.random.pick(&[0, 0, 7, -9]);
                Action::Put(self.key(), value.into(), lease)
            }
        });
        Entry::Txn(actions.collect())
    }

    /// Applies to the member alone.
    fn apply(member: &mut Member, entry: &Entry) -> Result<(), Outcome> {
        match entry {
            Entry::Compact(revision) => return outcome(member.compact(*revision)),
            Entry::Txn(actions) => {
                member.write(|txn| {
                    for action in actions {
                        match action {
                            Action::Put(key, value, lease) => {
                                txn.put(key.clone(), value.clone(), LeaseId(*lease));
                            }
                            Action::Delete(range) => {
                                txn.delete_range(range);
                            }
                        }
                    }
                });
            }
        }
        Ok(())
    }

    fn step(&mut self) {
        let entry = self.entry();
        let result = Pair::apply(&mut self.member, &entry);
        match &entry {
            Entry::Compact(revision) => assert_eq!(result, self.model.compact(*revision)),
            Entry::Txn(actions) => self.model.apply(actions),
        }
        self.log.push(entry);
        assert_eq!(self.member.store.revision(), self.model.revision);
        assert_eq!(self.member.store.compact_revision(), self.model.compacted);
        match self.random.below(8) {
            0 => self.member.flush(),
            1 => {
                self.member.step(1 + self.random.below(20));
            }
            2 => self.member.settle(),
            _ => {}
        }
    }

    /// Opens the backend as a crash leaves it, and applies again what it lacks.
    fn crash(&mut self) {
        let backend = self.member.backend.clone();
        let revision = self.member.store.revision();
        self.member = Member::open_with(backend, self.recent);
        let applied = self.member.applied as usize;
        for entry in &self.log[applied..] {
            Pair::apply(&mut self.member, entry).ok();
        }
        assert_eq!(self.member.applied as usize, self.log.len());
        assert_eq!(self.member.store.revision(), revision);
        assert_eq!(self.member.store.compact_revision(), self.model.compacted);
    }

    /// What a reopened store says of leases is what the model says.
    fn check_attachments(&mut self) {
        self.member.flush();
        let member = Member::open(self.member.backend.clone());
        let state = self.model.state(self.model.revision);
        let leased = state.values().filter(|kv| kv.lease != 0);
        let expected: Vec<_> = leased.map(|kv| (LeaseId(kv.lease), kv.key.clone())).collect();
        assert_eq!(member.attachments, expected);
    }

    fn query(&mut self) -> RangeQuery {
        let revision = self.model.revision;
        let random = &mut self.random;
        let some = |random: &mut Random| match random.chance(8) {
            true => random.below(revision as usize + 1) as i64,
            false => 0,
        };
        let around = revision - random.below(40) as i64 + 1;
        RangeQuery {
            revision: random.pick(&[0, -1, around, around, revision]),
            limit: random.pick(&[0, 0, -1, 1, 2, 5, i64::MAX]),
            order: random.pick(&[SortOrder::None, SortOrder::Ascend, SortOrder::Descend]),
            target: random.pick(&[
                SortTarget::Key,
                SortTarget::Key,
                SortTarget::Version,
                SortTarget::Create,
                SortTarget::Mod,
                SortTarget::Value,
            ]),
            count_only: random.chance(5),
            uncounted: random.chance(5),
            keys_only: random.chance(4),
            min_mod_revision: some(random),
            max_mod_revision: some(random),
            min_create_revision: some(random),
            max_create_revision: some(random),
            ..RangeQuery::new(self.key_range())
        }
    }

    fn check_reads(&mut self) {
        for _ in 0..12 {
            let query = self.query();
            let got = outcome(self.member.store.range(&query));
            assert_eq!(got, counted_as(&got, &query, self.model.range(&query)), "{query:?}");
            let got = outcome(self.member.write(|txn| txn.range(&query)).0);
            self.log.push(Entry::Txn(Vec::new()));
            assert_eq!(got, counted_as(&got, &query, self.model.range(&query)), "{query:?}");
        }
        let state = self.model.state(self.model.revision);
        let (range, log) = (self.key_range(), &mut self.log);
        log.push(Entry::Txn(Vec::new()));
        let (metas, _) = self.member.write(|txn| txn.metas(&range));
        let within: Vec<_> = state.values().filter(|kv| range.contains(&kv.key)).collect();
        let got: Vec<_> = metas
            .iter()
            .map(|meta| (meta.create_revision, meta.modified.main, meta.version, meta.lease.0))
            .collect();
        let expected: Vec<_> = within
            .iter()
            .map(|kv| (kv.create_revision, kv.mod_revision, kv.version, kv.lease))
            .collect();
        assert_eq!(got, expected);
        for (meta, kv) in metas.iter().zip(within) {
            let value = self.member.store.value(meta.modified).unwrap();
            assert_eq!(value.unwrap().decode().unwrap(), *kv);
        }
    }

    fn check_history(&mut self) {
        let from = (self.model.revision - self.random.below(60) as i64 + 1).max(0);
        if from < self.model.compacted {
            let result = self.member.store.events(from, 10, 1000);
            assert!(matches!(result, Err(ReadError::Compacted)));
            return;
        }
        let mut next = from;
        let mut got = Vec::new();
        loop {
            let (revisions, bytes) = (1 + self.random.below(5), 1 + self.random.below(60));
            let piece = self.member.store.events(next, revisions, bytes).unwrap();
            assert!(piece.len() <= revisions);
            let Some(last) = piece.last() else { break };
            assert!(last.revision >= next);
            next = last.revision + 1;
            got.extend(piece.iter().flat_map(|changes| changes.events.iter().cloned()));
        }
        // At the compact revision itself, what compaction removes may be there or not.
        let compacted = self.model.compacted;
        let got: Vec<_> = got.iter().filter(|event| event.revision.main > compacted).collect();
        let expected = self
            .model
            .history
            .iter()
            .filter(|change| change.revision.main >= from && change.revision.main > compacted);
        let expected: Vec<_> = expected.collect();
        assert_eq!(got.len(), expected.len());
        for (event, change) in got.into_iter().zip(expected) {
            assert_eq!((event.revision, event.kind), (change.revision, change.kind));
            assert_eq!(event.key, change.kv.key);
            let mut kv = change.kv.clone();
            kv.mod_revision = change.revision.main;
            assert_eq!(event.kv.decode().unwrap(), kv);
            assert_eq!(event.prev, self.model.before(change), "{change:?}");
        }
    }

    fn run(&mut self, steps: usize, crashes: bool) {
        for _ in 0..steps {
            for _ in 0..1 + self.random.below(6) {
                self.step();
            }
            self.check_reads();
            self.check_history();
            if crashes && self.random.chance(6) {
                self.crash();
                self.check_reads();
                self.check_history();
            }
        }
        self.check_attachments();
    }
}

fn pair(member: Member, seed: u64, recent: RecentLimits) -> Pair {
    let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    Pair { member, model: Model::new(), log: Vec::new(), random, recent }
}

#[test]
fn in_memory() {
    for seed in 1..=12 {
        let recent = RecentLimits { bytes: usize::MAX, revisions: seed as usize * 3 };
        let member = Member::open_with(Arc::new(MemBackend::new()), recent);
        pair(member, seed, recent).run(40, true);
    }
}

#[test]
fn in_the_engine() {
    for seed in 101..=102 {
        let dir = tempfile::tempdir().unwrap();
        let options = LmdbOptions { map_size: 16 << 20, max_readers: 16 };
        let backend = LmdbBackend::open(dir.path(), options).unwrap();
        let recent = RecentLimits { bytes: 500, revisions: 100 };
        pair(Member::open_with(Arc::new(backend), recent), seed, recent).run(15, true);
    }
}

/// Two members with the same log and different luck have the same hashes.
#[test]
fn hashes_do_not_depend_on_flushes_and_compaction() {
    for seed in 201..=206 {
        let mut one =
            pair(Member::open(Arc::new(MemBackend::new())), seed, RecentLimits::default());
        for _ in 0..150 {
            one.step();
        }
        let mut other = Member::open(Arc::new(MemBackend::new()));
        for entry in &one.log {
            Pair::apply(&mut other, entry).ok();
            if one.random.chance(9) {
                other.settle();
            }
        }
        // Hashes of compactions depend on whether the one before had finished: reopened, none are
        // remembered.
        one.member.flush();
        other.flush();
        let mut one = Member::open(one.member.backend.clone());
        let other = Member::open(other.backend.clone());
        let from = one.store.compact_revision();
        for revision in from.max(1)..=one.store.revision() {
            let hash = one.store.hash_kv(revision).unwrap();
            assert_eq!(hash, other.store.hash_kv(revision).unwrap());
        }
        one.settle();
        other.settle();
        let hash_all =
            |member: &Member| storage::hash_all(&*member.backend.read().unwrap()).unwrap();
        assert_eq!(hash_all(&one), hash_all(&other));
        one.put("last", "");
    }
}
