//! The wire: packets from any device to any other, subject to a rule for each pair and direction.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{Read, Write},
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc, Condvar, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Result;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{CLIENT, SLOTS};

/// What happens to packets from one place to another.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rule {
    /// None arrives.
    pub cut: bool,
    /// This part of them is lost, from 0 to 1.
    pub loss: f64,
    /// Each is late by this much at least.
    pub delay: Duration,
    /// And by up to this much more, each by its own: they overtake each other.
    pub jitter: Duration,
}

type Rules = [[Rule; SLOTS + 1]; SLOTS + 1];

/// Carries packets until it is dropped.
pub struct Wire {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    rules: RwLock<Rules>,
    /// Devices by place.
    devices: Vec<Option<File>>,
    late: Mutex<BinaryHeap<Reverse<Late>>>,
    late_arrived: Condvar,
    stop: AtomicBool,
    carried: AtomicU64,
    dropped: AtomicU64,
}

/// A packet that waits; ordered by when it is due.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    due: Instant,
    sequence: u64,
    to: usize,
    packet: Vec<u8>,
}

/// How long a thread sleeps before it looks whether it is to stop.
const NAP: Duration = Duration::from_millis(100);
/// More than this many late packets are dropped, as a full queue of a router would.
const LATE_LIMIT: usize = 50_000;

impl Wire {
    /// Starts to carry between these ends: places with their devices.
    pub(super) fn start(ends: Vec<(usize, OwnedFd)>, seed: u64) -> Result<Wire> {
        let mut devices: Vec<Option<File>> = (0..=SLOTS).map(|_| None).collect();
        let places: Vec<usize> = ends.iter().map(|(place, _)| *place).collect();
        for (place, device) in ends {
            devices[place] = Some(device.into());
        }
        let shared = Arc::new(Shared {
            rules: RwLock::new(Rules::default()),
            devices,
            late: Mutex::default(),
            late_arrived: Condvar::new(),
            stop: AtomicBool::new(false),
            carried: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let mut threads = Vec::new();
        for place in places {
            let shared = shared.clone();
            let rng = SmallRng::seed_from_u64(seed ^ place as u64);
            let thread = std::thread::Builder::new().name(format!("wire-{place}"));
            threads.push(thread.spawn(move || shared.carry_from(place, rng))?);
        }
        let timer = shared.clone();
        let thread = std::thread::Builder::new().name("wire-late".into());
        threads.push(thread.spawn(move || timer.deliver_late())?);
        Ok(Wire { shared, threads })
    }

    /// Sets the rule for packets from one place to another.
    pub fn set(&self, from: usize, to: usize, rule: Rule) {
        self.change(|rules| rules[from][to] = rule);
    }

    /// Sets the same rule for both directions between two places.
    pub fn set_both(&self, a: usize, b: usize, rule: Rule) {
        self.change(|rules| {
            rules[a][b] = rule;
            rules[b][a] = rule;
        });
    }

    /// Cuts every pair of members of which exactly one is in `side`. Clients reach all.
    pub fn partition(&self, side: &[usize]) {
        self.change(|rules| {
            for (a, from) in rules.iter_mut().enumerate().take(SLOTS) {
                for (b, rule) in from.iter_mut().enumerate().take(SLOTS) {
                    rule.cut |= side.contains(&a) != side.contains(&b);
                }
            }
        });
    }

    /// Takes all rules away.
    pub fn heal(&self) {
        self.change(|rules| *rules = Rules::default());
    }

    /// Cuts a place off from everything, clients included.
    pub fn unplug(&self, place: usize) {
        self.change(|rules| {
            for other in (0..=CLIENT).filter(|&other| other != place) {
                rules[place][other].cut = true;
                rules[other][place].cut = true;
            }
        });
    }

    /// Packets carried and dropped so far.
    pub fn counts(&self) -> (u64, u64) {
        let Shared { carried, dropped, .. } = &*self.shared;
        (carried.load(Ordering::Relaxed), dropped.load(Ordering::Relaxed))
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.rules.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.late_arrived.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed why.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Reads what one place sends and sends it on.
    fn carry_from(&self, from: usize, mut rng: SmallRng) {
        let Some(device) = &self.devices[from] else { return };
        let mut packet = vec![0; 65_536];
        let mut sequence = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let mut device: &File = device;
            let Ok(length) = device.read(&mut packet) else {
                wait_readable(device);
                continue;
            };
            let packet = &packet[..length];
            let Some(to) = destination(packet) else { continue };
            let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            let rule = rules[from][to];
            drop(rules);
            if rule.cut || (rule.loss > 0.0 && rng.random_bool(rule.loss.min(1.0))) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            if rule.delay.is_zero() && rule.jitter.is_zero() {
                self.deliver(to, packet);
                continue;
            }
            let due = Instant::now() + rule.delay + rule.jitter.mul_f64(rng.random());
            sequence += 1;
            self.keep(Late { due, sequence, to, packet: packet.to_vec() });
        }
    }

    fn deliver(&self, to: usize, packet: &[u8]) {
        let Some(mut device) = self.devices[to].as_ref() else { return };
        // A device that does not take the packet has lost it, as a full one would.
        match device.write_all(packet) {
            Ok(()) => self.carried.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.dropped.fetch_add(1, Ordering::Relaxed),
        };
    }

    fn keep(&self, late: Late) {
        let mut queue = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= LATE_LIMIT {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.push(Reverse(late));
        self.late_arrived.notify_one();
    }

    fn deliver_late(&self) {
        let mut queue = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            let due = queue.peek().map(|Reverse(late)| late.due);
            match due {
                Some(due) if due <= now => {
                    let Reverse(late) = queue.pop().expect("peeked");
                    drop(queue);
                    self.deliver(late.to, &late.packet);
                    queue = self.late.lock().unwrap_or_else(PoisonError::into_inner);
                }
                due => {
                    let nap = due.map_or(NAP, |due| (due - now).min(NAP));
                    let waited = self.late_arrived.wait_timeout(queue, nap);
                    queue = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

/// Waits until there is a packet, or a nap long.
fn wait_readable(device: &File) {
    let mut entry = libc::pollfd { fd: device.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `poll` reads and writes the one entry, which outlives the call.
    unsafe { libc::poll(&mut entry, 1, NAP.as_millis() as i32) };
}

/// The place an IPv4 packet is for.
fn destination(packet: &[u8]) -> Option<usize> {
    let [10, 0, 0, last] = packet.get(16..20)? else { return None };
    if packet[0] >> 4 != 4 {
        return None;
    }
    match usize::from(*last) {
        100 => Some(CLIENT),
        last @ 1..=SLOTS => Some(last - 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_go_to_the_place_of_their_address() {
        let mut packet = [0; 20];
        packet[0] = 0x45;
        packet[16..20].copy_from_slice(&[10, 0, 0, 3]);
        assert_eq!(destination(&packet), Some(2));
        packet[19] = 100;
        assert_eq!(destination(&packet), Some(CLIENT));
        packet[19] = 200;
        assert_eq!(destination(&packet), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&packet[..12]), None);
    }
}
