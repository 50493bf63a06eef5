//! Which member a connection goes to: the best priority that is left, in it by weight (RFC 2782),
//! without weights in turn.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use client::dns::SrvRecord;
use rand::Rng;

use crate::hosts;

/// Where some have a weight, one connection in this many goes to a member that has none.
const WEIGHTLESS: u32 = 100;

/// A member.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) record: SrvRecord,
    pub(crate) address: String,
    active: AtomicBool,
}

impl Remote {
    /// The member of a record.
    pub(crate) fn new(record: SrvRecord) -> Remote {
        let address = hosts::join(&record.target, record.port);
        Remote { record, address, active: AtomicBool::new(true) }
    }

    /// A member without priority and weight.
    pub(crate) fn at(host: &str, port: u16) -> Remote {
        Remote::new(SrvRecord { priority: 0, weight: 0, port, target: host.to_owned() })
    }

    /// Whether it can be connected to, as far as is known.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Says whether it can be connected to.
    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active, Ordering::Relaxed);
    }
}

/// All members.
pub(crate) struct Remotes {
    all: Vec<Arc<Remote>>,
    turn: AtomicUsize,
}

impl Remotes {
    /// Members in the order of their turns.
    pub(crate) fn new(all: Vec<Remote>) -> Remotes {
        Remotes { all: all.into_iter().map(Arc::new).collect(), turn: AtomicUsize::new(0) }
    }

    /// Those that failed.
    pub(crate) fn inactive(&self) -> Vec<Arc<Remote>> {
        self.all.iter().filter(|remote| !remote.is_active()).cloned().collect()
    }

    /// The member for the next connection; `None` when all have failed.
    pub(crate) fn pick(&self, rng: &mut impl Rng) -> Option<Arc<Remote>> {
        let active: Vec<&Arc<Remote>> = self.all.iter().filter(|r| r.is_active()).collect();
        let best = active.iter().map(|remote| remote.record.priority).min()?;
        let best = active.into_iter().filter(|remote| remote.record.priority == best);
        let (weighted, weightless): (Vec<_>, Vec<_>) =
            best.partition(|remote| remote.record.weight > 0);
        let by_turn =
            weighted.is_empty() || (!weightless.is_empty() && rng.random_range(0..WEIGHTLESS) == 0);
        if by_turn {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            return Some(weightless[turn % weightless.len()].clone());
        }
        let sum: u32 = weighted.iter().map(|remote| u32::from(remote.record.weight)).sum();
        let mut chosen = rng.random_range(0..sum);
        for remote in &weighted {
            let weight = u32::from(remote.record.weight);
            if chosen < weight {
                return Some((*remote).clone());
            }
            chosen -= weight;
        }
        unreachable!("what was chosen is below the sum of all weights")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn remotes(records: &[(&str, u16, u16)]) -> Remotes {
        let remote = |(host, priority, weight): &(&str, u16, u16)| {
            let target = (*host).to_owned();
            Remote::new(SrvRecord { priority: *priority, weight: *weight, port: 1, target })
        };
        Remotes::new(records.iter().map(remote).collect())
    }

    fn picks(remotes: &Remotes, count: usize) -> BTreeMap<String, usize> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut picks = BTreeMap::new();
        for _ in 0..count {
            let picked = remotes.pick(&mut rng).expect("one is active");
            *picks.entry(picked.record.target.clone()).or_default() += 1;
        }
        picks
    }

    #[test]
    fn without_weights_members_take_turns() {
        let remotes = remotes(&[("a", 0, 0), ("b", 0, 0), ("c", 0, 0)]);
        assert!(picks(&remotes, 300).values().all(|count| *count == 100));
        remotes.all[1].set_active(false);
        let picks = picks(&remotes, 300);
        assert_eq!((picks["a"], picks["c"], picks.len()), (150, 150, 2));
    }

    #[test]
    fn a_lower_priority_waits_until_the_better_ones_have_failed() {
        let remotes = remotes(&[("spare", 9, 5), ("a", 1, 0), ("b", 1, 0), ("last", 65535, 0)]);
        assert_eq!(picks(&remotes, 10).keys().collect::<Vec<_>>(), ["a", "b"]);
        for at in [1, 2] {
            remotes.all[at].set_active(false);
        }
        assert_eq!(picks(&remotes, 10).keys().collect::<Vec<_>>(), ["spare"]);
        remotes.all[0].set_active(false);
        assert_eq!(picks(&remotes, 10).keys().collect::<Vec<_>>(), ["last"]);
        remotes.all[3].set_active(false);
        assert!(remotes.pick(&mut StdRng::seed_from_u64(1)).is_none());
        assert_eq!(remotes.inactive().len(), 4);
    }

    #[test]
    fn weights_are_shares_and_those_without_get_a_little() {
        let picks = picks(&remotes(&[("a", 0, 30), ("b", 0, 10), ("c", 0, 0)]), 40_000);
        assert!((29_000..30_500).contains(&picks["a"]), "{picks:?}");
        assert!((9_200..10_500).contains(&picks["b"]), "{picks:?}");
        assert!((200..700).contains(&picks["c"]), "{picks:?}");
    }
}
