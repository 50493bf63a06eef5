//! How many handshakes may be under way at once.
//!
//! A handshake costs memory and arithmetic before anything is known of the other side. So there is
//! a number of places. When all are taken, the one that entered first gives its place up once it
//! has had it for [`PATIENCE`]: connections that say nothing cannot keep others out, and those that
//! make progress are done long before.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// How long a handshake may keep its place while others wait for one.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The places.
pub(crate) struct Handshakes {
    max: usize,
    patience: Duration,
    inside: Mutex<Inside>,
    /// Somebody left.
    freed: Notify,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// In the order of entering.
    places: BTreeMap<u64, (Instant, Arc<Notify>)>,
}

/// A place that was taken; dropping it leaves.
pub(crate) struct Place {
    handshakes: Arc<Handshakes>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Handshakes {
    /// `max` places.
    pub(crate) fn new(max: usize, patience: Duration) -> Handshakes {
        assert!(max > 0, "there is a place for a handshake");
        Handshakes { max, patience, inside: Mutex::default(), freed: Notify::new() }
    }

    /// Takes a place, waiting for one if all are taken.
    pub(crate) async fn enter(self: &Arc<Handshakes>) -> Place {
        loop {
            let freed = self.freed.notified();
            let oldest_until = match self.try_enter() {
                Ok(place) => return place,
                Err(until) => until,
            };
            tokio::select! {
                () = freed => {}
                () = tokio::time::sleep_until(oldest_until) => {}
            }
        }
    }

    /// Takes a place, or says until when the oldest handshake may keep its own.
    fn try_enter(self: &Arc<Handshakes>) -> Result<Place, Instant> {
        let now = Instant::now();
        let mut inside = self.inside.lock();
        if inside.places.len() >= self.max {
            let (entered, _) = inside.places.values().next().expect("all places are taken");
            let until = *entered + self.patience;
            if until > now {
                return Err(until);
            }
            let (_, (_, evicted)) = inside.places.pop_first().expect("all places are taken");
            evicted.notify_one();
        }
        let number = inside.next;
        inside.next += 1;
        let evicted = Arc::new(Notify::new());
        inside.places.insert(number, (now, evicted.clone()));
        Ok(Place { handshakes: self.clone(), number, evicted })
    }
}

impl Place {
    /// Resolves when another handshake took this place.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.handshakes.inside.lock().places.remove(&self.number).is_some() {
            self.handshakes.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_gives_way_only_after_a_while() {
        let handshakes = Arc::new(Handshakes::new(2, PATIENCE));
        let (first, second) = (handshakes.enter().await, handshakes.enter().await);
        let before = Instant::now();
        let third = handshakes.enter().await;
        assert!(Instant::now() - before >= PATIENCE);
        first.evicted().await;
        // The place of an evicted one is not freed again when it leaves.
        drop(first);
        assert_eq!(handshakes.inside.lock().places.len(), 2);
        drop(second);
        let _fourth = handshakes.enter().await;
        assert_eq!(handshakes.inside.lock().places.len(), 2);
        drop(third);
    }

    #[tokio::test(start_paused = true)]
    async fn a_freed_place_is_taken_at_once() {
        let handshakes = Arc::new(Handshakes::new(1, PATIENCE));
        let first = handshakes.enter().await;
        let waiting = tokio::spawn({
            let handshakes = handshakes.clone();
            async move {
                let before = Instant::now();
                drop(handshakes.enter().await);
                Instant::now() - before
            }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(first);
        assert_eq!(waiting.await.unwrap(), Duration::from_millis(10));
    }
}
