//! Places for databases that are being received: each takes disk and bandwidth, so they are counted.
//!
//! A member of the cluster has a place of its own, which nobody else can hold. Who is not known to be
//! one (a member that is just being added hears from others that it has not heard of) shares a
//! few. Who sends is what the request says: where that must be certain, TLS sees to it.
//!
//! A place is left to nobody who does not use it: see [`Patience`].

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use api::ids::MemberId;
use parking_lot::Mutex;

use crate::config::{SNAPSHOT_RATE_MIN, SNAPSHOTS_OF_STRANGERS_MAX};

/// Who is sending a database.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    members: BTreeSet<MemberId>,
    strangers: usize,
}

/// A place, held until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    /// `None` for a stranger.
    member: Option<MemberId>,
}

impl Places {
    /// A place for a member, or for a stranger; `None` when there is none left.
    pub(crate) fn take(self: &Arc<Self>, member: Option<MemberId>) -> Option<Place> {
        let mut taken = self.0.lock();
        let is_free = match member {
            Some(id) => taken.members.insert(id),
            None => {
                let is_free = taken.strangers < SNAPSHOTS_OF_STRANGERS_MAX;
                taken.strangers += usize::from(is_free);
                is_free
            }
        };
        drop(taken);
        is_free.then(|| Place { places: self.clone(), member })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        match self.member {
            Some(id) => drop(taken.members.remove(&id)),
            None => taken.strangers -= 1,
        }
    }
}

/// Waits for a sender as long as it sends at a reasonable rate. Only the time that is spent waiting
/// for it counts, not that of the own disk.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    waited: Duration,
    bytes: u64,
}

/// How long a sender may take to get going.
const GRACE: Duration = Duration::from_secs(10);

impl Patience {
    /// So many bytes came after a wait since `began`; `false` when that is too slow altogether.
    pub(crate) fn is_left(&mut self, began: Instant, bytes: usize) -> bool {
        self.add(began.elapsed(), bytes)
    }

    fn add(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        let needed = self.waited.saturating_sub(GRACE).as_secs_f64() * SNAPSHOT_RATE_MIN as f64;
        self.bytes as f64 >= needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_members_their_places() {
        let places = Arc::<Places>::default();
        let held: Vec<_> = std::iter::from_fn(|| places.take(None)).collect();
        assert_eq!(held.len(), SNAPSHOTS_OF_STRANGERS_MAX);
        let first = places.take(Some(MemberId(1)));
        assert!(first.is_some() && places.take(Some(MemberId(2))).is_some());
        assert!(places.take(Some(MemberId(1))).is_none(), "one each");
        drop(first);
        assert!(places.take(Some(MemberId(1))).is_some());
        drop(held);
        assert!(places.take(None).is_some());
    }

    #[test]
    fn who_drips_is_waited_for_no_longer() {
        let second = Duration::from_secs(1);
        let mut patience = Patience::default();
        assert!((0..10).all(|_| patience.add(second, 1)));
        assert!(!patience.add(second, 1));
        let mut patience = Patience::default();
        assert!((0..1000).all(|_| patience.add(second, SNAPSHOT_RATE_MIN as usize)));
    }
}
