//! What a log says: its owner, the last state, the entries after a snapshot.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use api::{
    raftpb::{Entry, HardState},
    walpb::{Metadata, Record, Snapshot},
};
use bytes::Bytes;
use prost::Message;
use vfs::Fs;

use crate::{
    Error, Repaired,
    reader::{Reader, TurnedBit},
    record::Kind,
    segment::{self, Segment},
};

/// What a log holds after the snapshot it was read at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// Whose log it is.
    pub metadata: Metadata,
    /// The last state that was saved; all zeros when none was.
    pub hard_state: HardState,
    /// The entries after the snapshot, without gaps. Those that were overwritten are gone; those
    /// above `hard_state.commit` may yet be.
    pub entries: Vec<Entry>,
    /// What was cut off the end, if the last write was torn.
    pub repaired: Option<Repaired>,
    /// The length words that had one bit turned over, by segment and position. They were read as
    /// they should be; [`crate::Wal::open`] has also written them so.
    pub turned: Vec<(PathBuf, u64)>,
}

/// Collects what records say, in their order.
pub(crate) struct Collector<'a> {
    at: &'a Snapshot,
    /// The metadata as it is written; later segments must repeat it byte for byte.
    pub(crate) metadata: Option<Bytes>,
    pub(crate) hard_state: HardState,
    pub(crate) entries: Vec<Entry>,
    /// The index of the last entry, or of a snapshot saved after it and above it.
    pub(crate) last_index: u64,
    snapshot_seen: bool,
    pub(crate) turned: Vec<TurnedBit>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(at: &'a Snapshot) -> Collector<'a> {
        Collector {
            at,
            metadata: None,
            hard_state: HardState::default(),
            entries: Vec::new(),
            last_index: 0,
            snapshot_seen: false,
            turned: Vec::new(),
        }
    }

    /// Takes all records of a reader.
    pub(crate) fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Error> {
        while let Some((kind, record)) = reader.next()? {
            self.take(kind, record, reader)?;
        }
        self.turned = reader.take_turned();
        Ok(())
    }

    fn take(&mut self, kind: Kind, record: Record, reader: &Reader<'_>) -> Result<(), Error> {
        let invalid = |source| reader.invalid(source);
        match kind {
            Kind::Crc => {}
            Kind::Metadata => {
                if self.metadata.as_ref().is_some_and(|known| *known != record.data) {
                    return Err(Error::MetadataConflict);
                }
                self.metadata = Some(record.data);
            }
            Kind::State => self.hard_state = HardState::decode(record.data).map_err(invalid)?,
            Kind::Entry => self.entry(Entry::decode(record.data).map_err(invalid)?)?,
            Kind::Snapshot => {
                let snapshot = Snapshot::decode(record.data).map_err(invalid)?;
                self.last_index = self.last_index.max(snapshot.index);
                if snapshot.index == self.at.index {
                    if snapshot.term != self.at.term {
                        return Err(Error::SnapshotMismatch);
                    }
                    self.snapshot_seen = true;
                }
            }
        }
        Ok(())
    }

    /// An entry takes the place of the one of its index and of all after it (raft paper, figure 7),
    /// also when it is covered by the snapshot and they are not: etcd forgets to drop them then.
    fn entry(&mut self, entry: Entry) -> Result<(), Error> {
        self.last_index = entry.index;
        if entry.index <= self.at.index {
            self.entries.clear();
            return Ok(());
        }
        let place = entry.index - self.at.index - 1;
        if place > self.entries.len() as u64 {
            return Err(Error::SliceOutOfRange {
                snapshot_index: self.at.index,
                snapshot_term: self.at.term,
                index: entry.index,
                term: entry.term,
                entries: self.entries.len(),
            });
        }
        self.entries.truncate(place as usize);
        self.entries.push(entry);
        Ok(())
    }

    /// Looks for the snapshot in all segments, if those that were read do not have it; returns
    /// whether it had to. A snapshot from another member can be saved long before the entries up
    /// to its index: when a crash came between it and the state that covers it, and another leader
    /// sent the entries after all.
    pub(crate) fn look_back(&mut self, fs: &dyn Fs, dir: &Path) -> Result<bool, Error> {
        if self.snapshot_seen {
            return Ok(false);
        }
        let segments = segment::open_for_read(fs, dir, &segment::list(fs, dir)?)?;
        let (snapshots, ..) = snapshots(&segments);
        let wanted = (self.at.index, self.at.term);
        self.snapshot_seen = snapshots.iter().any(|known| (known.index, known.term) == wanted);
        Ok(true)
    }

    /// Ends the collection: the snapshot and the metadata must have been there.
    pub(crate) fn finish(mut self) -> Result<(Recovered, Bytes), Error> {
        // Terms never fall along a log. An entry of an older term than the snapshot before it was
        // in the log that a snapshot from another member has replaced; all after it were too. A
        // member that kept them could vote for a log that lacks committed entries.
        if self.entries.first().is_some_and(|first| first.term < self.at.term) {
            self.entries.clear();
        }
        if !self.snapshot_seen {
            return Err(Error::SnapshotNotFound);
        }
        let raw = self.metadata.ok_or(Error::MetadataNotFound)?;
        let metadata = Metadata::decode(raw.clone()).map_err(|source| Error::InvalidRecord {
            file: "metadata".to_owned(),
            position: 0,
            source,
        })?;
        let Collector { hard_state, entries, turned, .. } = self;
        let turned =
            turned.iter().map(|bit| (PathBuf::from(bit.segment.to_string()), bit.position));
        let turned = turned.collect();
        Ok((Recovered { metadata, hard_state, entries, repaired: None, turned }, raw))
    }
}

/// Reads a log without locking, repairing or changing it; a torn last record is left out.
pub(crate) fn read_only(fs: &dyn Fs, dir: &Path, at: &Snapshot) -> Result<Recovered, Error> {
    let names = segment::select(fs, dir, at.index)?;
    let segments = segment::open_for_read(fs, dir, &names)?;
    let mut collector = Collector::new(at);
    match collector.read(&mut Reader::new(&segments)) {
        Ok(()) | Err(Error::UnexpectedEof { .. }) => {}
        Err(error) => return Err(error),
    }
    collector.look_back(fs, dir)?;
    Ok(collector.finish()?.0)
}

/// The snapshot records that the last state covers, in the order of the log.
pub(crate) fn valid_snapshots(fs: &dyn Fs, dir: &Path) -> Result<Vec<Snapshot>, Error> {
    // A running server may remove old segments between the listing and the opening.
    const ATTEMPTS: usize = 3;
    let mut attempt = 1;
    let segments = loop {
        let names = segment::list(fs, dir)?;
        match segment::open_for_read(fs, dir, &names) {
            Err(Error::Io { source, .. })
                if source.kind() == ErrorKind::NotFound && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            other => break other?,
        }
    };
    let (mut snapshots, commit) = match snapshots(&segments) {
        (snapshots, commit, Ok(()) | Err(Error::UnexpectedEof { .. })) => (snapshots, commit),
        (_, _, Err(error)) => return Err(error),
    };
    let commit = commit.unwrap_or(0);
    snapshots.retain(|snapshot| snapshot.index <= commit);
    Ok(snapshots)
}

/// The snapshot records that the last state covers of the newest segment that has any, in the order of
/// the log; older segments are not read. So long as what is read is sound: otherwise as
/// [`valid_snapshots`], which tells what is not.
pub(crate) fn newest_snapshots(fs: &dyn Fs, dir: &Path) -> Result<Vec<Snapshot>, Error> {
    let names = segment::list(fs, dir)?;
    let mut commit = None;
    for (at, name) in names.iter().enumerate().rev() {
        let Ok(segment) = segment::open_for_read(fs, dir, std::slice::from_ref(name)) else {
            break;
        };
        let (mut snapshots, last_commit, end) = snapshots(&segment);
        let is_last = at + 1 == names.len();
        let torn = matches!(end, Err(Error::UnexpectedEof { .. }));
        if end.is_err() && !(is_last && torn) {
            break;
        }
        commit = commit.or(last_commit);
        snapshots.retain(|snapshot| Some(snapshot.index) <= commit);
        if !snapshots.is_empty() {
            return Ok(snapshots);
        }
    }
    valid_snapshots(fs, dir)
}

/// The metadata of the first segment that has it.
pub(crate) fn owner(fs: &dyn Fs, dir: &Path) -> Result<Metadata, Error> {
    let segments = segment::open_for_read(fs, dir, &segment::list(fs, dir)?)?;
    let mut outcome = Err(Error::MetadataNotFound);
    for segment in segments.chunks(1) {
        let mut reader = Reader::new(segment);
        while let Ok(Some((kind, record))) = reader.next() {
            if kind == Kind::Metadata {
                match Metadata::decode(record.data).map_err(|source| reader.invalid(source)) {
                    Ok(metadata) => return Ok(metadata),
                    unsound => outcome = unsound,
                }
                break;
            }
        }
    }
    outcome
}

/// All snapshot records, the last commit index, if there is a state, and how reading ended.
pub(crate) fn snapshots(segments: &[Segment]) -> (Vec<Snapshot>, Option<u64>, Result<(), Error>) {
    let mut reader = Reader::new(segments);
    let (mut snapshots, mut commit) = (Vec::new(), None);
    let end = loop {
        let decoded = match reader.next() {
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
            Ok(Some((Kind::Snapshot, record))) => {
                Snapshot::decode(record.data).map(|snapshot| snapshots.push(snapshot))
            }
            Ok(Some((Kind::State, record))) => {
                HardState::decode(record.data).map(|state| commit = Some(state.commit))
            }
            Ok(Some(_)) => Ok(()),
        };
        if let Err(source) = decoded {
            break Err(reader.invalid(source));
        }
    };
    (snapshots, commit, end)
}
