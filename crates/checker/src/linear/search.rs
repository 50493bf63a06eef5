//! The search: depth first over orders, with a list from which placed operations are lifted.
//!
//! Calls and returns of answered operations form one list in time. A call before the first return
//! of the list may come next; placing it lifts both its entries out, undoing puts them back.
//! Invariant: the list without the lifted entries is in the order of time.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, DefaultHasher},
};

use super::{Limits, Model, Timed};

/// How a search ended.
pub(super) enum Outcome {
    Order,
    None,
    Limit(String),
}

/// A search and the longest order it had.
pub(super) struct Searched {
    pub(super) outcome: Outcome,
    /// The most operations placed at once, in order; filled only when asked for.
    pub(super) longest: Vec<usize>,
}

/// Judges the beginning of a history up to `end`: what was answered later counts as unanswered.
/// The longest order is remembered when `record` asks for it.
pub(super) fn run<M: Model>(
    model: &M,
    operations: &[Timed<'_, M::Op>],
    end: u64,
    limits: Limits,
    record: bool,
) -> Searched {
    let mut search = Search::new(model, operations, end, limits);
    search.record = record;
    let outcome = search.run();
    Searched { outcome, longest: search.longest }
}

/// A place in the list of calls and returns; 0 is the head.
#[derive(Clone, Copy)]
struct Node {
    before: usize,
    after: usize,
    /// The operation (as a slot), and whether this is its call.
    slot: usize,
    is_call: bool,
    time: u64,
}

/// Where to look for the next operation to place.
#[derive(Clone, Copy)]
enum Cursor {
    /// This node of the list.
    Answered(usize),
    /// This one of the unanswered operations.
    Unanswered(usize),
}

/// An operation to place: of which kind, which slot.
#[derive(Clone, Copy)]
struct Candidate {
    answered: bool,
    slot: usize,
    /// Where to go on when it does not fit.
    then: Cursor,
}

struct Frame<S> {
    placed: Candidate,
    /// The state before it.
    before: S,
    /// Other states that it may leave behind.
    others: Vec<S>,
    /// The highest answered slot that was placed before.
    highest: usize,
}

/// Which answered operations were placed, and the state they left.
#[derive(PartialEq, Eq, Hash)]
struct Configuration<S> {
    placed: Box<[u64]>,
    state: S,
}

/// For each configuration that was met, the sets of unanswered operations that had been placed. One
/// that contains another has fewer operations to go on with and the same to explain: it is no
/// better, and not looked at.
type Met<S> = HashMap<Configuration<S>, Vec<Box<[u64]>>, BuildHasherDefault<DefaultHasher>>;

struct Search<'a, M: Model> {
    model: &'a M,
    operations: &'a [Timed<'a, M::Op>],
    limits: Limits,
    /// Slot to operation, in the order of calls.
    answered: Vec<usize>,
    unanswered: Vec<usize>,
    nodes: Vec<Node>,
    /// Call and return of each answered slot.
    places: Vec<(usize, usize)>,
    answered_bits: Bits,
    unanswered_bits: Bits,
    ranks: Ranks,
    left: usize,
    highest: usize,
    stack: Vec<Frame<M::State>>,
    met: Met<M::State>,
    memory: usize,
    record: bool,
    longest: Vec<usize>,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: &'a [Timed<'a, M::Op>], end: u64, limits: Limits) -> Self {
        let mut order: Vec<usize> = (0..operations.len()).collect();
        order.retain(|&i| operations[i].invoked <= end);
        order.sort_by_key(|&i| operations[i].invoked);
        let is_answered = |&i: &usize| operations[i].returned.is_some_and(|at| at <= end);
        let (answered, unanswered): (Vec<_>, Vec<_>) = order.into_iter().partition(is_answered);
        let ranks = Ranks::new(answered.iter().map(|&i| model.rank(operations[i].op)));
        let mut marks = Vec::with_capacity(answered.len() * 2);
        for (slot, &i) in answered.iter().enumerate() {
            // At equal times calls come before returns: the operations count as concurrent.
            marks.push((operations[i].invoked, 0, slot));
            marks.push((operations[i].returned.expect("answered"), 1, slot));
        }
        marks.sort_unstable();
        let mut nodes = Vec::with_capacity(marks.len() + 1);
        nodes.push(Node { before: 0, after: 0, slot: usize::MAX, is_call: false, time: 0 });
        let mut places = vec![(0, 0); answered.len()];
        for (at, &(time, kind, slot)) in marks.iter().enumerate() {
            let node = at + 1;
            let is_call = kind == 0;
            nodes.push(Node { before: at, after: 0, slot, is_call, time });
            nodes[at].after = node;
            if is_call { places[slot].0 = node } else { places[slot].1 = node }
        }
        nodes[0].before = marks.len();
        Search {
            model,
            operations,
            limits,
            left: answered.len(),
            ranks,
            answered_bits: Bits::new(answered.len()),
            unanswered_bits: Bits::new(unanswered.len()),
            answered,
            unanswered,
            nodes,
            places,
            highest: 0,
            stack: Vec::new(),
            met: Met::default(),
            memory: 0,
            record: false,
            longest: Vec::new(),
        }
    }

    fn run(&mut self) -> Outcome {
        let mut state = self.model.initial();
        let mut cursor = Cursor::Answered(self.nodes[0].after);
        let mut steps = 0_u64;
        let mut next = Vec::new();
        while self.left > 0 {
            steps += 1;
            if steps > self.limits.steps {
                return Outcome::Limit(format!("{} steps were not enough", self.limits.steps));
            }
            if self.memory > self.limits.memory {
                return Outcome::Limit(format!("{} bytes were not enough", self.limits.memory));
            }
            let Some(candidate) = self.candidate(cursor) else {
                let Some((earlier, then)) = self.backtrack() else { return Outcome::None };
                (state, cursor) = (earlier, then);
                continue;
            };
            self.try_step(&state, candidate, &mut next);
            match next.pop() {
                None => cursor = candidate.then,
                Some(after) => {
                    let others = std::mem::take(&mut next);
                    let before = std::mem::replace(&mut state, after);
                    self.place(Frame { placed: candidate, before, others, highest: self.highest });
                    cursor = Cursor::Answered(self.nodes[0].after);
                }
            }
        }
        Outcome::Order
    }

    /// The next operation that may come next in time, from `cursor` on.
    fn candidate(&self, cursor: Cursor) -> Option<Candidate> {
        let from = match cursor {
            Cursor::Answered(at) => {
                let mut at = at;
                while at != 0 && self.nodes[at].is_call {
                    let Node { slot, after, .. } = self.nodes[at];
                    if self.ranks.is_due(slot) {
                        let then = Cursor::Answered(after);
                        return Some(Candidate { answered: true, slot, then });
                    }
                    at = after;
                }
                0
            }
            Cursor::Unanswered(slot) => slot,
        };
        let first_return = self.first_return();
        let slot = (from..self.unanswered.len()).find(|&slot| !self.unanswered_bits.get(slot))?;
        let invoked = self.operations[self.unanswered[slot]].invoked;
        let then = Cursor::Unanswered(slot + 1);
        (invoked <= first_return).then_some(Candidate { answered: false, slot, then })
    }

    /// The time of the first return in the list: nothing sent later can come before it.
    fn first_return(&self) -> u64 {
        let mut at = self.nodes[0].after;
        while self.nodes[at].is_call {
            at = self.nodes[at].after;
        }
        self.nodes[at].time
    }

    /// Fills `next` with the states that the candidate may leave behind and that, with what is
    /// then placed, were not met before.
    fn try_step(&mut self, state: &M::State, candidate: Candidate, next: &mut Vec<M::State>) {
        let Candidate { answered, slot, .. } = candidate;
        let index = if answered { self.answered[slot] } else { self.unanswered[slot] };
        next.clear();
        self.model.step(state, self.operations[index].op, answered, next);
        if next.is_empty() {
            return;
        }
        self.bits(answered).set(slot, true);
        let highest = if answered { self.highest.max(slot) } else { self.highest };
        let placed = self.placed_key(highest);
        let unanswered = self.unanswered_bits.used();
        self.bits(answered).set(slot, false);
        next.retain(|state| {
            let key = Configuration { placed: placed.clone(), state: state.clone() };
            let sets = self.met.entry(key).or_default();
            if sets.iter().any(|set| is_subset(set, &unanswered)) {
                return false;
            }
            let key_size = placed.len() * 8 + size_of::<Configuration<M::State>>() + 64;
            self.memory += unanswered.len() * 8 + if sets.is_empty() { key_size } else { 16 };
            sets.push(unanswered.clone());
            true
        });
    }

    fn bits(&mut self, answered: bool) -> &mut Bits {
        if answered { &mut self.answered_bits } else { &mut self.unanswered_bits }
    }

    /// Which answered ones are placed, in few words: all slots below a word's bound are, so that word's index and
    /// the words up to the highest slot tell everything.
    fn placed_key(&self, highest: usize) -> Box<[u64]> {
        let words = &self.answered_bits.words;
        let base = self.answered_bits.full;
        let upto = (highest / 64 + 1).clamp(base, words.len());
        let mut key = Vec::with_capacity(2 + upto - base);
        key.extend_from_slice(&[base as u64, upto as u64]);
        key.extend_from_slice(&words[base..upto]);
        key.into()
    }

    fn place(&mut self, frame: Frame<M::State>) {
        let Candidate { answered, slot, .. } = frame.placed;
        self.bits(answered).set(slot, true);
        if answered {
            let (call, ret) = self.places[slot];
            self.unlink(call);
            self.unlink(ret);
            self.left -= 1;
            self.ranks.set(slot, true);
            self.highest = self.highest.max(slot);
        }
        self.stack.push(frame);
    }

    /// Takes back operations until another state or candidate is to be tried.
    fn backtrack(&mut self) -> Option<(M::State, Cursor)> {
        if self.record && self.stack.len() > self.longest.len() {
            let placed = self.stack.iter().map(|frame| self.index(frame.placed));
            self.longest = placed.collect();
        }
        let mut frame = self.stack.pop()?;
        if let Some(other) = frame.others.pop() {
            self.stack.push(frame);
            return Some((other, Cursor::Answered(self.nodes[0].after)));
        }
        let Candidate { answered, slot, then } = frame.placed;
        self.bits(answered).set(slot, false);
        if answered {
            let (call, ret) = self.places[slot];
            self.relink(ret);
            self.relink(call);
            self.left += 1;
            self.ranks.set(slot, false);
            self.highest = frame.highest;
        }
        Some((frame.before, then))
    }

    fn index(&self, candidate: Candidate) -> usize {
        let Candidate { answered, slot, .. } = candidate;
        if answered { self.answered[slot] } else { self.unanswered[slot] }
    }

    fn unlink(&mut self, at: usize) {
        let Node { before, after, .. } = self.nodes[at];
        self.nodes[before].after = after;
        self.nodes[after].before = before;
    }

    fn relink(&mut self, at: usize) {
        let Node { before, after, .. } = self.nodes[at];
        self.nodes[before].after = at;
        self.nodes[after].before = at;
    }
}

/// A set of slots that knows how many of its first words are full.
struct Bits {
    words: Vec<u64>,
    full: usize,
}

impl Bits {
    fn new(slots: usize) -> Bits {
        Bits { words: vec![0; slots.div_ceil(64)], full: 0 }
    }

    /// The words up to the last that is not zero.
    fn used(&self) -> Box<[u64]> {
        let last = self.words.iter().rposition(|&word| word != 0);
        self.words[..last.map_or(0, |last| last + 1)].into()
    }

    fn get(&self, slot: usize) -> bool {
        self.words[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn set(&mut self, slot: usize, on: bool) {
        let (word, bit) = (slot / 64, 1 << (slot % 64));
        if on {
            self.words[word] |= bit;
            while self.words.get(self.full) == Some(&u64::MAX) {
                self.full += 1;
            }
        } else {
            self.words[word] &= !bit;
            self.full = self.full.min(word);
        }
    }
}

/// Whether all bits of `small` are in `large`; both without zero words at the end.
fn is_subset(small: &[u64], large: &[u64]) -> bool {
    small.len() <= large.len() && small.iter().zip(large).all(|(small, large)| small & !large == 0)
}

/// Slots by rank: only such of the lowest rank that is not placed may come next.
struct Ranks {
    /// The rank of each slot.
    of: Vec<Option<u64>>,
    /// Slots with a rank, by rank.
    order: Vec<usize>,
    /// The place of each slot in `order`.
    place: Vec<usize>,
    placed: Vec<bool>,
    /// The first place in `order` that is not placed.
    lowest: usize,
}

impl Ranks {
    fn new(ranks: impl Iterator<Item = Option<u64>>) -> Ranks {
        let of: Vec<Option<u64>> = ranks.collect();
        let mut order: Vec<usize> = (0..of.len()).filter(|&slot| of[slot].is_some()).collect();
        order.sort_by_key(|&slot| of[slot]);
        let mut place = vec![0; of.len()];
        order.iter().enumerate().for_each(|(at, &slot)| place[slot] = at);
        Ranks { placed: vec![false; order.len()], of, order, place, lowest: 0 }
    }

    fn is_due(&self, slot: usize) -> bool {
        let lowest = self.order.get(self.lowest);
        self.of[slot].is_none() || lowest.is_none_or(|&lowest| self.of[slot] == self.of[lowest])
    }

    fn set(&mut self, slot: usize, placed: bool) {
        if self.of[slot].is_none() {
            return;
        }
        self.placed[self.place[slot]] = placed;
        if placed {
            while self.placed.get(self.lowest) == Some(&true) {
                self.lowest += 1;
            }
        } else {
            self.lowest = self.lowest.min(self.place[slot]);
        }
    }
}
