//! The kinds of faults.

use std::fmt;

use rand::{rngs::SmallRng, seq::IndexedRandom};

/// What is done to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// One member is killed and started again later.
    Kill,
    /// The leader is.
    KillLeader,
    /// More than half are.
    KillMajority,
    /// All are, at once.
    KillAll,
    /// One member is asked to end and started again later.
    Terminate,
    /// One member stands still for a while.
    Pause,
    /// The leader does.
    PauseLeader,
    /// More than half do.
    PauseMajority,
    /// The disk of one member hangs.
    Freeze,
    /// The disk of the leader does.
    FreezeLeader,
    /// The machine of one member loses power: what it had not synced may be gone.
    PowerLoss,
    /// That of the leader does.
    PowerLossLeader,
    /// Those of more than half do.
    PowerLossMajority,
    /// All do, at once.
    PowerLossAll,
    /// The disk of one member is full.
    FullDisk,
    /// Syncs of one member are slow.
    SlowSync,
    /// Those of the leader are.
    SlowSyncLeader,
    /// Syncs of one member fail.
    FailSync,
    /// One member is cut off from the others; clients still reach it.
    Isolate,
    /// The leader is.
    IsolateLeader,
    /// The members are cut into two parts.
    Halves,
    /// Nothing that one member sends arrives, though it hears the others.
    Mute,
    /// Nothing arrives at one member, though the others hear it.
    Deaf,
    /// The leader hears nobody and is heard.
    DeafLeader,
    /// Each member reaches only some of the others.
    Ring,
    /// One member loses its cable: neither members nor clients reach it.
    Unplug,
    /// Packets are late, each by its own.
    Slow,
    /// Packets are lost.
    Lossy,
    /// The leadership is moved.
    MoveLeader,
    /// A learner is added, promoted, and another member removed.
    Rotate,
    /// A member is removed, wiped and comes back as a new one.
    Replace,
    /// A learner joins a member that was on its own.
    Grow,
    /// That learner becomes a voter.
    Promote,
    /// One of two members is removed and wiped.
    Shrink,
    /// The store of one member is made compact, whatever else happens meanwhile.
    Defragment,
}

/// Faults of processes.
pub const PROCESS: &[Fault] = &[
    Fault::Kill,
    Fault::KillLeader,
    Fault::KillLeader,
    Fault::KillMajority,
    Fault::KillAll,
    Fault::Terminate,
    Fault::Pause,
    Fault::PauseLeader,
    Fault::PauseLeader,
    Fault::PauseMajority,
];

/// Faults of processes whose disks are their own.
pub const DISK: &[Fault] = &[Fault::Freeze, Fault::FreezeLeader];

/// Faults of members on disks that lose what was not synced.
pub const VOLATILE: &[Fault] = &[
    Fault::PowerLoss,
    Fault::PowerLoss,
    Fault::PowerLossLeader,
    Fault::PowerLossLeader,
    Fault::PowerLossMajority,
    Fault::PowerLossMajority,
    Fault::PowerLossAll,
    Fault::PowerLossAll,
    Fault::FullDisk,
    Fault::SlowSync,
    Fault::SlowSyncLeader,
    Fault::FailSync,
];

/// Faults of the network.
pub const NETWORK: &[Fault] = &[
    Fault::Isolate,
    Fault::IsolateLeader,
    Fault::IsolateLeader,
    Fault::Halves,
    Fault::Mute,
    Fault::Deaf,
    Fault::DeafLeader,
    Fault::Ring,
    Fault::Unplug,
    Fault::Slow,
    Fault::Lossy,
];

/// Changes that an operator makes.
pub const OPERATOR: &[Fault] =
    &[Fault::MoveLeader, Fault::MoveLeader, Fault::Rotate, Fault::Replace];

/// One of `faults` that makes sense with so many members. With two or more this is one draw, whatever
/// their number.
pub fn draw(faults: &[Fault], members: usize, rng: &mut SmallRng) -> Fault {
    loop {
        let fault = *faults.choose(rng).expect("there are some");
        if members > 1 || fault.suits_one() {
            return fault;
        }
    }
}

impl Fault {
    /// Whether it makes sense with a single member, and differs there from the other faults.
    pub fn suits_one(self) -> bool {
        match self {
            Fault::Kill
            | Fault::Terminate
            | Fault::Pause
            | Fault::Freeze
            | Fault::PowerLoss
            | Fault::FullDisk
            | Fault::SlowSync
            | Fault::FailSync
            | Fault::Unplug
            | Fault::Slow
            | Fault::Lossy
            | Fault::Grow
            | Fault::Defragment => true,
            Fault::KillLeader
            | Fault::KillMajority
            | Fault::KillAll
            | Fault::PauseLeader
            | Fault::PauseMajority
            | Fault::FreezeLeader
            | Fault::PowerLossLeader
            | Fault::PowerLossMajority
            | Fault::PowerLossAll
            | Fault::SlowSyncLeader
            | Fault::Isolate
            | Fault::IsolateLeader
            | Fault::Halves
            | Fault::Mute
            | Fault::Deaf
            | Fault::DeafLeader
            | Fault::Ring
            | Fault::MoveLeader
            | Fault::Rotate
            | Fault::Replace
            | Fault::Promote
            | Fault::Shrink => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Fault::Kill => "kill",
            Fault::KillLeader => "kill the leader",
            Fault::KillMajority => "kill a majority",
            Fault::KillAll => "kill all",
            Fault::Terminate => "stop in order",
            Fault::Pause => "pause",
            Fault::PauseLeader => "pause the leader",
            Fault::PauseMajority => "pause a majority",
            Fault::Freeze => "disk hangs",
            Fault::FreezeLeader => "disk of the leader hangs",
            Fault::PowerLoss => "power loss",
            Fault::PowerLossLeader => "power loss of the leader",
            Fault::PowerLossMajority => "power loss of a majority",
            Fault::PowerLossAll => "power loss of all",
            Fault::FullDisk => "disk full",
            Fault::SlowSync => "slow syncs",
            Fault::SlowSyncLeader => "slow syncs of the leader",
            Fault::FailSync => "syncs fail",
            Fault::Isolate => "isolate",
            Fault::IsolateLeader => "isolate the leader",
            Fault::Halves => "split in two",
            Fault::Mute => "one way: mute",
            Fault::Deaf => "one way: deaf",
            Fault::DeafLeader => "one way: deaf leader",
            Fault::Ring => "ring",
            Fault::Unplug => "unplug",
            Fault::Slow => "slow network",
            Fault::Lossy => "lossy network",
            Fault::MoveLeader => "move the leadership",
            Fault::Rotate => "learner in, member out",
            Fault::Replace => "wipe and replace",
            Fault::Grow => "learner joins one member",
            Fault::Promote => "learner becomes a voter",
            Fault::Shrink => "one of two removed",
            Fault::Defragment => "defragment",
        };
        f.pad(text)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const LISTS: &[&[Fault]] = &[PROCESS, DISK, VOLATILE, NETWORK];

    #[test]
    fn several_members_get_what_a_seed_has_always_given_them() {
        for &faults in LISTS.iter().chain(&[OPERATOR]) {
            for members in [2, 3, 5] {
                let (mut drawn, mut chosen) =
                    (SmallRng::seed_from_u64(44), SmallRng::seed_from_u64(44));
                for _ in 0..100 {
                    assert_eq!(
                        draw(faults, members, &mut drawn),
                        *faults.choose(&mut chosen).unwrap()
                    );
                }
            }
        }
    }

    #[test]
    fn one_member_gets_each_fault_that_needs_no_other_and_none_else() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut drawn = std::collections::BTreeSet::new();
        for &faults in LISTS {
            drawn.extend((0..500).map(|_| draw(faults, 1, &mut rng)));
        }
        let expected = [
            Fault::Kill,
            Fault::Terminate,
            Fault::Pause,
            Fault::Freeze,
            Fault::PowerLoss,
            Fault::FullDisk,
            Fault::SlowSync,
            Fault::FailSync,
            Fault::Unplug,
            Fault::Slow,
            Fault::Lossy,
        ];
        assert_eq!(drawn, expected.into());
    }
}
