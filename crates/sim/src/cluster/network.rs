//! Messages between members: delayed, lost, doubled, overtaken, and cut off.

use api::{ids::MemberId, raftpb::MessageType};
use rand::Rng;

use super::{Event, World, member::Letter};

impl World {
    pub(super) fn send(&mut self, from: u64, letter: Letter) {
        let to = letter.message.to;
        let is_snapshot = letter.database.is_some();
        let lossy = self.faulty && self.rng.random_range(0..1000) < self.swarm.loss;
        if lossy {
            self.count("messages lost");
        }
        let lost = lossy || self.cut.contains(&(from, to)) || !self.slots.contains_key(&to);
        if is_snapshot {
            // The answer that it has arrived may be lost.
            let unheard = self.faulty && self.rng.random_bool(0.2);
            let (took, delivered) = (self.delay(), !lost && !unheard);
            self.count("snapshots sent");
            self.after(2 * took, Event::SnapshotStatus { from, to, delivered });
        }
        if lost {
            return;
        }
        let is_proposal = letter.message.r#type == MessageType::MsgProp as i32;
        let twice =
            self.faulty && !is_proposal && self.rng.random_range(0..1000) < self.swarm.duplication;
        if twice {
            self.count("messages doubled");
            let delay = self.delay();
            self.after(delay, Event::Deliver(Box::new(letter.clone())));
        }
        let delay = self.delay();
        self.after(delay, Event::Deliver(Box::new(letter)));
    }

    pub(super) fn delay(&mut self) -> u64 {
        let (least, most) = self.swarm.delay_us;
        let most = if self.faulty { most } else { most.min(2_000) };
        self.rng.random_range(least..most)
    }

    pub(super) fn deliver(&mut self, letter: Letter) -> Result<(), String> {
        let (from, to) = (letter.message.from, letter.message.to);
        if self.cut.contains(&(from, to)) || self.is_removed(to, from) {
            return Ok(());
        }
        self.report.messages += 1;
        self.mix(from << 32 | to);
        let now_ms = self.clock(to);
        self.with(to, |live| live.receive(letter, now_ms))
    }

    /// Whether a member knows that another one was removed: it does not listen to it any more.
    pub(super) fn is_removed(&self, member: u64, other: u64) -> bool {
        let live = self.slots.get(&member).and_then(|slot| slot.live.as_ref());
        live.is_some_and(|live| live.machine.shared().membership.read().is_removed(MemberId(other)))
    }
}
