//! Random histories with power losses, against a model.

use proptest::prelude::*;
use vfs::fault::{Fault, FaultFs, Operation};

use super::*;

/// A step of a history. Numbers are taken modulo what makes sense at that moment.
#[derive(Clone, Debug)]
enum Step {
    /// Appends entries of these sizes, over the last `overwritten` uncommitted ones.
    Append {
        overwritten: u64,
        sizes: Vec<usize>,
        with_state: bool,
    },
    Commit {
        ahead: u64,
    },
    Vote,
    Snapshot {
        back: u64,
    },
    /// A snapshot from another member, beyond the last entry.
    Leap {
        ahead: u64,
    },
    Prepare,
    Purge {
        keep: usize,
    },
    Reopen,
    Crash {
        seed: u64,
    },
    /// Lets an operation of the file system fail, now or later.
    Fail {
        operation: Operation,
        nth: u64,
        short: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    use Operation::*;
    let size = prop_oneof![3 => 0..40usize, 2 => 100..900usize, 1 => 1000..4000usize];
    let sizes = proptest::collection::vec(size, 1..5);
    let operation = prop_oneof![
        // Not `Truncate`: it takes back a short write, and nothing is promised for both failing.
        Just(Write),
        Just(Sync),
        Just(Rename),
        Just(SyncDir),
        Just(Preallocate)
    ];
    prop_oneof![
        8 => (prop_oneof![Just(0), 0..4u64], sizes, any::<bool>()).prop_map(
            |(overwritten, sizes, with_state)| Step::Append { overwritten, sizes, with_state }),
        4 => (0..5u64).prop_map(|ahead| Step::Commit { ahead }),
        1 => Just(Step::Vote),
        2 => (0..4u64).prop_map(|back| Step::Snapshot { back }),
        1 => (1..9u64).prop_map(|ahead| Step::Leap { ahead }),
        1 => Just(Step::Prepare),
        1 => (1..4usize).prop_map(|keep| Step::Purge { keep }),
        1 => Just(Step::Reopen),
        3 => any::<u64>().prop_map(|seed| Step::Crash { seed }),
        2 => (operation, 1..4u64, 0..2000usize).prop_map(
            |(operation, nth, short)| Step::Fail { operation, nth, short }),
    ]
}

/// A state of the log as a reader may find it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Image {
    state: HardState,
    /// The index before the first of `entries`: 0, or that of the last snapshot leapt to.
    base: u64,
    entries: Vec<Entry>,
    snapshots: Vec<walpb::Snapshot>,
}

impl Image {
    fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The highest term so far. Terms never fall along a log.
    fn term(&self) -> u64 {
        let entry = self.entries.last().map_or(1, |entry| entry.term);
        let snapshot = self.snapshots.last().map_or(1, |snapshot| snapshot.term);
        self.state.term.max(entry).max(snapshot)
    }

    fn append(&mut self, entry: Entry) {
        self.entries.truncate((entry.index - self.base - 1) as usize);
        self.entries.push(entry);
    }

    /// Whether this is what was read at a snapshot. All snapshot records of the segments that are
    /// left are `snapshots`.
    fn matches(
        &self,
        at: &walpb::Snapshot,
        recovered: &Recovered,
        snapshots: &[walpb::Snapshot],
    ) -> bool {
        let newest = self.snapshots.iter().rfind(|known| known.index <= self.state.commit);
        let after = |entry: &&Entry| entry.index > at.index;
        newest == Some(at)
            && self.snapshots.ends_with(snapshots)
            && recovered.hard_state == self.state
            && recovered.entries.iter().eq(self.entries.iter().filter(after))
    }
}

struct History {
    disk: MemFs,
    faults: FaultFs,
    wal: Option<Wal>,
    segment_bytes: u64,
    /// What may be found after a crash, oldest first: the first is what was synced, the last has
    /// all that was asked for.
    images: Vec<Image>,
    /// The snapshot saved last, or opened at.
    newest: walpb::Snapshot,
    crashes: usize,
}

impl History {
    fn new(segment_bytes: u64) -> History {
        let disk = disk();
        let faults = FaultFs::new(Arc::new(disk.clone()));
        let shared: Arc<dyn Fs> = Arc::new(faults.clone());
        let wal = Wal::create(shared, dir(), &METADATA, options(segment_bytes)).unwrap();
        let images = vec![Image { snapshots: vec![snapshot(0, 0)], ..Image::default() }];
        History {
            disk,
            faults,
            wal: Some(wal),
            segment_bytes,
            images,
            newest: snapshot(0, 0),
            crashes: 0,
        }
    }

    fn image(&self) -> &Image {
        self.images.last().unwrap()
    }

    /// Changes the newest image record by record, as the log is written.
    fn record(&mut self, change: impl FnOnce(&mut Image)) {
        let mut image = self.image().clone();
        change(&mut image);
        self.images.push(image);
    }

    /// What was asked for is safe now.
    fn synced(&mut self) {
        self.images.drain(..self.images.len() - 1);
    }

    fn wal(&mut self) -> &mut Wal {
        self.wal.as_mut().unwrap()
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append { overwritten, sizes, with_state } => {
                self.append(overwritten, &sizes, with_state);
            }
            Step::Commit { ahead } => {
                let image = self.image();
                let commit = (image.state.commit + ahead).min(image.last());
                self.save_state(HardState { commit, ..image.state });
            }
            Step::Vote => {
                let state = self.image().state;
                self.save_state(HardState { term: state.term + 1, vote: 8, ..state });
            }
            Step::Snapshot { back } => self.snapshot(back),
            Step::Leap { ahead } => self.leap(ahead),
            Step::Prepare => {
                let prepared = self.wal().preparation().map(|work| work.run());
                if let Some(Ok(prepared)) = prepared {
                    self.wal().prepared(prepared);
                }
            }
            Step::Purge { keep } => {
                if self.newest.index <= self.images[0].state.commit {
                    let index = RaftIndex(self.newest.index);
                    self.wal().release_to(index);
                    if self.wal().purge(keep).is_err() {
                        self.crash(keep as u64);
                    }
                }
            }
            Step::Reopen => {
                let closed = self.wal.take().unwrap().close();
                if closed.is_ok() {
                    self.synced();
                    self.reopen();
                } else {
                    self.crash(3);
                }
            }
            Step::Crash { seed } => self.crash(seed),
            Step::Fail { operation, nth, short } => {
                self.faults.fail(operation, nth, Fault::ShortWrite(short));
            }
        }
    }

    fn append(&mut self, overwritten: u64, sizes: &[usize], with_state: bool) {
        let image = self.image();
        let snapshot = image.snapshots.last().unwrap().clone();
        let fixed = image.state.commit.max(image.base).max(snapshot.index);
        let first = image.last() + 1 - overwritten.min(image.last().saturating_sub(fixed));
        let term = image.term() + overwritten;
        // What a snapshot covers was committed, so it cannot be of another term.
        let term_at = |index| if index <= snapshot.index { snapshot.term } else { term };
        let batch: Vec<Entry> =
            (first..).zip(sizes).map(|(index, size)| entry(index, term_at(index), *size)).collect();
        let state = with_state.then_some(HardState { term, vote: 7, ..image.state });
        for entry in batch.clone() {
            self.record(|image| image.append(entry));
        }
        if let Some(state) = state {
            self.record(|image| image.state = state);
        }
        match self.wal().save(state.as_ref(), &batch) {
            Ok(()) => self.synced(),
            Err(_) => self.crash(first),
        }
    }

    fn save_state(&mut self, state: HardState) {
        let before = self.image().state;
        self.record(|image| image.state = state);
        match self.wal().save(Some(&state), &[]) {
            Ok(()) if (before.term, before.vote) != (state.term, state.vote) => self.synced(),
            Ok(()) => {}
            Err(_) => self.crash(state.commit),
        }
    }

    fn save_snapshot(&mut self, at: walpb::Snapshot) {
        match self.wal().save_snapshot(&at) {
            Ok(()) => {
                self.synced();
                self.newest = at;
            }
            Err(_) => self.crash(at.index),
        }
    }

    fn snapshot(&mut self, back: u64) {
        let image = self.image();
        let newest = image.snapshots.last().map_or(0, |known| known.index);
        let index = image.state.commit.saturating_sub(back);
        if index > newest && index > image.base {
            let at = snapshot(index, image.entries[(index - image.base - 1) as usize].term);
            self.record(|image| image.snapshots.push(at.clone()));
            self.save_snapshot(at);
        }
    }

    fn leap(&mut self, ahead: u64) {
        let image = self.image();
        let index = image.last().max(image.snapshots.last().unwrap().index) + ahead;
        let at = snapshot(index, image.term());
        self.record(|image| image.snapshots.push(at.clone()));
        let crashes = self.crashes;
        self.save_snapshot(at);
        if self.crashes > crashes {
            return;
        }
        self.record(|image| {
            image.state = HardState { commit: index, ..image.state };
            image.base = index;
            image.entries.clear();
        });
        let state = self.image().state;
        let saved = self.wal().save(Some(&state), &[]).and_then(|()| self.wal().sync());
        match saved {
            Ok(()) => self.synced(),
            Err(_) => self.crash(index),
        }
    }

    fn crash(&mut self, seed: u64) {
        self.crashes += 1;
        self.wal = None;
        self.disk = self.disk.crash_clone(seed);
        self.reopen();
    }

    /// Opens the log at its newest snapshot: it must hold one of the possible images.
    fn reopen(&mut self) {
        self.faults = FaultFs::new(Arc::new(self.disk.clone()));
        let snapshots = Wal::valid_snapshots(&self.disk, dir()).unwrap();
        let at = snapshots.last().expect("the first snapshot, or a later one");
        let shared: Arc<dyn Fs> = Arc::new(self.faults.clone());
        let (wal, recovered) = Wal::open(shared, dir(), at, options(self.segment_bytes)).unwrap();
        assert_eq!(recovered.metadata, METADATA);
        let names = segment::list(&self.disk, dir()).unwrap();
        let segments = segment::open_for_read(&self.disk, dir(), &names).unwrap();
        let (mut all, _, end) = recover::snapshots(&segments);
        end.unwrap();
        // One may have been saved again when the log was opened.
        all.dedup();
        let matches = |image: &Image| image.matches(at, &recovered, &all);
        let found = self.images.iter().rposition(matches);
        let Some(found) = found else {
            panic!("none of {:#?}\nis {recovered:#?}\nat {at:?}", self.images)
        };
        // What was read is written; the next crash must not take it back if it was synced, and may
        // if it was not. A save that syncs decides that.
        self.images.drain(found + 1..);
        self.wal = Some(wal);
        self.newest = at.clone();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// After every crash the log opens, and holds what was acknowledged and nothing that was not
    /// asked for.
    #[test]
    fn nothing_acknowledged_is_lost(
        segment_bytes in prop_oneof![Just(600u64), Just(2048), Just(20_000)],
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut history = History::new(segment_bytes);
        for step in steps {
            history.run(step);
        }
        history.crash(1);
    }
}
