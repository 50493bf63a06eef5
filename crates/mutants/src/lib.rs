//! Old sins, each as a defect of our own code that can be switched on: bugs of etcd's record, of
//! Jepsen's reports, and of our own past. The simulator must catch every one of them; what it
//! cannot see it does not test.
//!
//! A place with a defect asks [`is_on`]. Without the cargo feature `switch` that is the constant
//! `false`: there is no cost, and no way to turn a mutant on in what is shipped. Only the simulator
//! has the feature (`cargo xtask tidy` looks after that), and a mutant is on for one thread.

/// Declares the mutants with what `docs/mutants.md` says of them.
macro_rules! mutants {
    ($($name:ident = $text:literal, $origin:literal, $place:literal, $what:literal;)*) => {
        /// One defect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $(
                #[doc = $what]
                $name,
            )*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),*];

            /// Its name on command lines.
            pub fn name(self) -> &'static str {
                match self { $(Mutant::$name => $text,)* }
            }

            /// Where it comes from.
            pub fn origin(self) -> &'static str {
                match self { $(Mutant::$name => $origin,)* }
            }

            /// The code that has it.
            pub fn place(self) -> &'static str {
                match self { $(Mutant::$name => $place,)* }
            }

            /// What goes wrong.
            pub fn what(self) -> &'static str {
                match self { $(Mutant::$name => $what,)* }
            }
        }
    };
}

mutants! {
    IndexAhead = "index-ahead", "etcd 13766", "storage::Window",
        "the consistent index is committed without the last changes";
    AckBeforeSync = "ack-before-sync", "etcd 14370", "wal::Wal::save",
        "entries count as durable before they are synced";
    AuthNotReloaded = "auth-not-reloaded", "etcd 14571", "apply::StateMachine::restore",
        "after a snapshot of the leader a member judges by its old users and roles";
    DefragIndex = "defrag-index", "etcd 14685", "storage::Window",
        "a defragmentation commits the consistent index alone";
    ProgressUnsynced = "progress-unsynced", "etcd 15220", "watch::WatchHub::progress",
        "progress is reported while events before it wait";
    WatchBack = "watch-back-in-time", "etcd 15271", "watch::WatchHub::restored",
        "after a snapshot of the leader watchers begin again in the past";
    EventTwice = "event-twice", "etcd 17247", "mvcc::Store::events",
        "a transaction at the border of two buffers is replayed from both";
    EventsLostWhenFull = "events-lost-when-full", "etcd 17529", "watch::WatchHub::notify",
        "what a full queue refuses is not sent later";
    RevisionFalls = "revision-falls", "etcd 17780", "mvcc::Store::open",
        "the last revision is taken from the keys that a compaction has left";
    DeleteLost = "delete-lost", "etcd 18089", "mvcc index",
        "a compaction at the revision of a delete removes it when the key was put again";
    SecondSnapshotLost = "second-snapshot-lost", "etcd 18055", "driver (as the simulator has it)",
        "installing a snapshot removes the database of the next one that has arrived";
    TxnCheckedWhereAwaited = "txn-checked-where-awaited", "etcd 18667", "apply::txn",
        "only the member that answers looks whether a transaction reads compacted revisions";
    LastDeleteLost = "last-delete-lost", "etcd 19179", "mvcc index",
        "a compaction at the revision of a delete removes it when it is the key's last change";
    FutureProgress = "future-progress", "etcd 20221", "watch::WatchHub",
        "progress is reported to a watcher that begins later";
    FutureEvents = "future-events", "etcd 20221", "watch::WatchHub",
        "a watcher that begins later is sent events of before";
    SnapshotOfTwoViews = "snapshot-of-two-views", "etcd 20271", "peers (as the simulator has it)",
        "a database sent to a member is put together from two states";
    ReadIdReused = "read-id-reused", "etcd 20418", "read gate (as the simulator has it)",
        "an answer to an older round of ReadIndex counts for a newer one";
    LockNotChecked = "lock-not-checked", "Jepsen, etcd 3.4.3", "lock (as the simulator has it)",
        "who waited for a lock does not look whether its own lease has ended meanwhile";
    LockNotFenced = "lock-not-fenced", "Jepsen, etcd 3.4.3", "lock (as the simulator has it)",
        "what is done under a lock is not guarded by its key";
    TxnRetried = "txn-retried", "Jepsen, jetcd", "client retry (as the simulator has it)",
        "a change whose outcome is unknown is sent again";
    LogDirNotSynced = "log-dir-not-synced", "ours", "wal::Wal::create",
        "the directory of a new log is not durable in its parent";
    FoundNotDurable = "found-not-durable", "ours", "wal::Wal::open",
        "what a killed process has written and not synced counts as durable at the next start";
    ExpiryForwarded = "expiry-forwarded", "ours", "replica::Node",
        "a replaced leader's decision that a lease has expired goes to the new leader";
    RenewalUnconfirmed = "renewal-unconfirmed", "ours", "leases (as the simulator has it)",
        "a leader that was replaced renews leases";
    GoneUnconfirmed = "gone-unconfirmed", "ours", "leases (as the simulator has it)",
        "a leader that was replaced says that a lease is gone which it has not heard of";
    PromoteKeepsTime = "promote-keeps-time", "ours", "lease::Lessor::promote",
        "a new leader does not give leases their whole time again";
    PromotedAgain = "promoted-again", "ours", "lease::Lessor::promote",
        "leases whose end is on its way come back with the next empty entry of the term";
    ExpiryForgotten = "expiry-forgotten", "ours", "lease::Lessor",
        "a lease whose end was proposed once is not asked for again";
    AttachmentsLost = "attachments-lost", "ours", "lease::Lessor::restore",
        "after a start leases do not know their keys";
    StaleWindow = "stale-window", "ours", "storage::Window::replace",
        "what waited for the old store is committed to the one that replaced it";
    VoteForgotten = "vote-forgotten", "ours", "wal::Wal::save",
        "term and vote are not synced";
    EarlyAcknowledgement = "early-acknowledgement", "ours", "replica::Node",
        "a follower acknowledges entries before its disk has them";
    UnsavedTerm = "unsaved-term", "ours", "replica::Node",
        "a leader that needs no other vote sends entries before its term is saved";
    ChecksumIgnored = "checksum-ignored", "ours", "wal reader",
        "the log is read without a look at its checksums";
    FailedSyncIgnored = "failed-sync-ignored", "ours", "wal::Wal",
        "a sync that failed is taken for one that did not";
    RecordBeforeStore = "record-before-store", "ours", "driver (as the simulator has it)",
        "a snapshot of the log is recorded before the store is as far";
    ReadWithoutQuorum = "read-without-quorum", "ours", "replica::Node",
        "a leader serves reads without asking whether it still leads";
    ReadBeforeApplied = "read-before-applied", "ours", "replica::Node",
        "a member without others serves reads before it has applied what it once acknowledged";
    AuthRevisionIgnored = "auth-revision-ignored", "ours", "auth::AuthStore",
        "an identity that was found before a change of rights still counts";
    CompactedReadable = "compacted-readable", "ours", "mvcc::Store",
        "what was compacted is read as if it was whole";
    IndexBehind = "index-behind", "ours", "storage::Window",
        "changes are committed without their consistent index, and are applied again";
}

#[cfg(feature = "switch")]
std::thread_local! {
    static ON: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Turns a mutant on for this thread, or all off.
#[cfg(feature = "switch")]
pub fn switch(mutant: Option<Mutant>) {
    ON.set(mutant);
}

/// Whether this place shall be wrong.
#[cfg(feature = "switch")]
#[inline]
pub fn is_on(mutant: Mutant) -> bool {
    ON.get() == Some(mutant)
}

/// Whether this place shall be wrong: never.
#[cfg(not(feature = "switch"))]
#[inline(always)]
pub const fn is_on(_: Mutant) -> bool {
    false
}

#[cfg(not(feature = "switch"))]
const _: () = assert!(!is_on(Mutant::IndexAhead), "mutants exist in the simulator alone");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_tell_them_apart() {
        let names: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        assert!(Mutant::ALL.iter().all(|mutant| !mutant.what().is_empty()));
    }
}
