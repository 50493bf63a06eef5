//! A part of the index to walk without a lock: whoever reads much shares the chunks that it walks,
//! and what changes meanwhile changes copies of them.
//!
//! Invariants:
//! - A piece is what the index had between its bounds when it was cut, whole chunks but for the
//!   first and the last.
//! - A chunk is copied only by a change of it while a piece has it, once for all such pieces.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;

use super::{Bounds, Chunk, Entry, Index, Position};

/// See the module.
#[derive(Default)]
pub(crate) struct Piece {
    /// Ascending, or descending for a walk back.
    chunks: Vec<Arc<Chunk>>,
    /// Where it begins in its lowest chunk.
    from: usize,
    /// Where it ends in its highest chunk.
    to: usize,
    /// What of the bounds lies behind it.
    pub(crate) rest: Option<Bounds>,
}

impl Index {
    /// The first entries of the bounds: chunks until they have `max`, at least one.
    pub(crate) fn piece(&self, bounds: &Bounds, max: usize) -> Piece {
        let (from, to) = (self.seek(&bounds.start), self.seek_end(bounds));
        if from >= to {
            return Piece::default();
        }
        let mut piece = Piece { from: from.slot, ..Piece::default() };
        let (mut entries, mut at) = (0, from);
        while at < to && (entries < max || entries == 0) {
            let chunk = &self.chunks[at.chunk];
            piece.to = if at.chunk == to.chunk { to.slot } else { chunk.len() };
            entries += piece.to - at.slot;
            piece.chunks.push(chunk.clone());
            at = Position { chunk: at.chunk + 1, slot: 0 };
        }
        if at < to {
            let start = Bytes::copy_from_slice(&self.chunks[at.chunk].entries()[0].key);
            piece.rest = Some(Bounds { start, end: bounds.end.clone() });
        }
        piece
    }

    /// The last entries of the bounds.
    pub(crate) fn piece_back(&self, bounds: &Bounds, max: usize) -> Piece {
        let (from, to) = (self.seek(&bounds.start), self.seek_end(bounds));
        if from >= to {
            return Piece::default();
        }
        // A place before the first of a chunk is one behind the last of the chunk before.
        let mut at = match to {
            Position { chunk, slot: 0 } => {
                Position { chunk: chunk - 1, slot: self.chunks[chunk - 1].len() }
            }
            _ => to,
        };
        let mut piece = Piece { to: at.slot, ..Piece::default() };
        let mut entries = 0;
        loop {
            let chunk = &self.chunks[at.chunk];
            piece.from = if at.chunk == from.chunk { from.slot } else { 0 };
            entries += at.slot - piece.from;
            piece.chunks.push(chunk.clone());
            if at.chunk == from.chunk {
                return piece;
            }
            if entries >= max {
                let end = Bytes::copy_from_slice(&chunk.entries()[0].key);
                piece.rest = Some(Bounds { start: bounds.start.clone(), end: Some(end) });
                return piece;
            }
            at = Position { chunk: at.chunk - 1, slot: self.chunks[at.chunk - 1].len() };
        }
    }
}

impl Piece {
    /// Visits the entries in ascending order. When the visitor breaks, nothing is left either.
    pub(crate) fn walk(self, mut visit: impl FnMut(&Entry) -> ControlFlow<()>) -> Option<Bounds> {
        let last = self.chunks.len().saturating_sub(1);
        for (number, chunk) in self.chunks.iter().enumerate() {
            let from = if number == 0 { self.from } else { 0 };
            let to = if number == last { self.to } else { chunk.len() };
            for entry in &chunk.entries()[from..to] {
                if visit(entry).is_break() {
                    return None;
                }
            }
        }
        self.rest
    }

    /// [`Piece::walk`], descending.
    pub(crate) fn walk_back(
        self,
        mut visit: impl FnMut(&Entry) -> ControlFlow<()>,
    ) -> Option<Bounds> {
        let lowest = self.chunks.len().saturating_sub(1);
        for (number, chunk) in self.chunks.iter().enumerate() {
            let from = if number == lowest { self.from } else { 0 };
            let to = if number == 0 { self.to } else { chunk.len() };
            for entry in chunk.entries()[from..to].iter().rev() {
                if visit(entry).is_break() {
                    return None;
                }
            }
        }
        self.rest
    }
}
