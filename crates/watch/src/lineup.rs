//! Whose turn it is to read history: streams in rotation, and within a stream its watchers.
//!
//! A stream whose queue is full stands aside with all its watchers and costs nothing until it has
//! room. Invariant: a stream has a turn exactly when it is not blocked and a watcher of it waits.

use std::collections::BTreeMap;

use crate::{delivery::StreamId, watcher::Slot};

/// A watcher that was taken out of the line-up, and the place it can be put back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) slot: Slot,
    /// Its place in its stream's line.
    ticket: u64,
    /// Its stream's place in the rotation.
    turn: u64,
}

impl Turn {
    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }
}

/// The waiting watchers of one stream, by ticket.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeMap<u64, Slot>,
    blocked: bool,
    turn: Option<u64>,
}

/// Every waiting watcher in the order in which it will be served.
#[derive(Debug, Default)]
pub(crate) struct Lineup {
    /// The last number given out, of tickets and turns alike.
    last: u64,
    lines: BTreeMap<StreamId, Line>,
    turns: BTreeMap<u64, StreamId>,
    waiting: usize,
}

impl Lineup {
    /// Watchers that wait, in streams with room or without.
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether a watcher can be served now.
    pub(crate) fn is_ready(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Streams that have no room, in order.
    pub(crate) fn blocked(&self) -> impl Iterator<Item = StreamId> {
        self.lines.iter().filter(|(_, line)| line.blocked).map(|(stream, _)| *stream)
    }

    /// Whether the stream has no room.
    pub(crate) fn is_blocked(&self, stream: StreamId) -> bool {
        self.lines.get(&stream).is_some_and(|line| line.blocked)
    }

    /// The stream has no room until [`Lineup::unblock`].
    pub(crate) fn block(&mut self, stream: StreamId) {
        self.lines.entry(stream).or_default().blocked = true;
        self.settle(stream);
    }

    /// The stream has room.
    pub(crate) fn unblock(&mut self, stream: StreamId) {
        if let Some(line) = self.lines.get_mut(&stream) {
            line.blocked = false;
            self.settle(stream);
        }
    }

    /// Puts a watcher at the end of its stream's line; returns its ticket.
    pub(crate) fn join(&mut self, stream: StreamId, slot: Slot) -> u64 {
        self.last += 1;
        let ticket = self.last;
        self.insert(stream, slot, ticket);
        ticket
    }

    /// Puts a watcher that was not served back to its place, and its stream to its own.
    pub(crate) fn put_back(&mut self, stream: StreamId, turn: Turn) {
        self.insert(stream, turn.slot, turn.ticket);
        let line = self.lines.get_mut(&stream).expect("watch line-up: just put there");
        if let Some(later) = line.turn.filter(|later| *later > turn.turn) {
            self.turns.remove(&later);
            self.turns.insert(turn.turn, stream);
            line.turn = Some(turn.turn);
        }
    }

    fn insert(&mut self, stream: StreamId, slot: Slot, ticket: u64) {
        let line = self.lines.entry(stream).or_default();
        let taken = line.waiting.insert(ticket, slot);
        assert!(taken.is_none(), "watch line-up: a ticket is held by two watchers");
        self.waiting += 1;
        self.settle(stream);
    }

    /// Takes a watcher out that waits no longer.
    pub(crate) fn leave(&mut self, stream: StreamId, ticket: u64) {
        let line =
            self.lines.get_mut(&stream).expect("watch line-up: a waiting watcher has a line");
        let taken = line.waiting.remove(&ticket);
        assert!(taken.is_some(), "watch line-up: a waiting watcher stands in its line");
        self.waiting -= 1;
        self.settle(stream);
    }

    /// The next watcher to serve. Its stream goes to the end of the rotation.
    pub(crate) fn next(&mut self) -> Option<Turn> {
        let (turn, stream) = self.turns.pop_first()?;
        let line = self.lines.get_mut(&stream).expect("watch line-up: a turn is a line's");
        line.turn = None;
        let (ticket, slot) =
            line.waiting.pop_first().expect("watch line-up: a stream with a turn has a watcher");
        self.waiting -= 1;
        self.settle(stream);
        Some(Turn { slot, ticket, turn })
    }

    /// Restores the invariant for a stream that changed, and forgets a line without state.
    fn settle(&mut self, stream: StreamId) {
        let Some(line) = self.lines.get_mut(&stream) else { return };
        let wants_turn = !line.blocked && !line.waiting.is_empty();
        match (wants_turn, line.turn) {
            (true, None) => {
                self.last += 1;
                line.turn = Some(self.last);
                self.turns.insert(self.last, stream);
            }
            (false, Some(turn)) => {
                line.turn = None;
                self.turns.remove(&turn);
            }
            (true, Some(_)) | (false, None) => {}
        }
        if !line.blocked && line.waiting.is_empty() {
            self.lines.remove(&stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(lineup: &mut Lineup) -> Vec<u32> {
        std::iter::from_fn(|| lineup.next()).map(|turn| turn.slot.0).collect()
    }

    #[test]
    fn streams_take_turns_however_many_watchers_they_have() {
        let mut lineup = Lineup::default();
        for slot in 0..4 {
            lineup.join(StreamId(1), Slot(slot));
        }
        lineup.join(StreamId(2), Slot(10));
        assert_eq!(order(&mut lineup), [0, 10, 1, 2, 3]);
        assert_eq!(lineup.len(), 0);
        assert!(lineup.lines.is_empty());
    }

    #[test]
    fn one_that_was_not_served_keeps_its_turn() {
        let mut lineup = Lineup::default();
        for (stream, slot) in [(1, 0), (1, 1), (2, 10), (2, 11), (3, 20)] {
            lineup.join(StreamId(stream), Slot(slot));
        }
        let turns: Vec<Turn> = (0..4).map(|_| lineup.next().unwrap()).collect();
        assert_eq!(turns.iter().map(|turn| turn.slot.0).collect::<Vec<_>>(), [0, 10, 20, 1]);
        // Only the first is served, and has more to read.
        lineup.join(StreamId(1), Slot(0));
        for (turn, stream) in turns[1..].iter().zip([2, 3, 1]) {
            lineup.put_back(StreamId(stream), *turn);
        }
        assert_eq!(order(&mut lineup), [10, 20, 1, 11, 0]);
    }

    #[test]
    fn a_blocked_stream_stands_aside_and_keeps_its_order() {
        let mut lineup = Lineup::default();
        lineup.join(StreamId(1), Slot(0));
        lineup.join(StreamId(1), Slot(1));
        let last = lineup.join(StreamId(1), Slot(2));
        let first = lineup.next().unwrap();
        assert_eq!(first.slot, Slot(0));
        lineup.block(StreamId(1));
        lineup.put_back(StreamId(1), first);
        assert_eq!(lineup.next(), None);
        assert!(!lineup.is_ready() && lineup.len() == 3);
        assert_eq!(lineup.blocked().collect::<Vec<_>>(), [StreamId(1)]);
        lineup.leave(StreamId(1), last);
        lineup.unblock(StreamId(1));
        assert_eq!(order(&mut lineup), [0, 1]);
    }
}
