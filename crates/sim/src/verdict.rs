//! Which of the simulator's checkers has found something, told from what it says.

/// What a failure says, and the checker that says so; the first that fits counts.
const CHECKERS: &[(&str, &str)] = &[
    ("not linearizable", "linearizability: order in real time"),
    ("acknowledged change is lost", "no acknowledged write lost"),
    ("was applied twice", "linearizability: every change once"),
    ("took effect at entry", "linearizability: every change once"),
    ("refused and yet applied", "linearizability: every change once"),
    ("answer to entry", "linearizability: answers against the model"),
    ("read RangeRequest", "linearizability: reads against the model"),
    ("lock was given", "locks: a holder holds"),
    ("count under a lock", "locks: no count lost"),
    ("was ended early", "leases: none early"),
    ("was renewed", "leases: none early"),
    ("said to be gone", "leases: none said to be gone that is there"),
    ("are forgotten", "leases: none forgotten"),
    ("has another effect", "equal effect of every entry"),
    ("applied another entry", "one log"),
    ("before those under it", "one log"),
    ("differs from others", "equal hashes at equal index"),
    ("is never even with its log", "equal hashes at equal index"),
    ("members differ", "equal hashes at equal index"),
    ("watcher", "watch: ordered, unique, atomic, complete"),
    ("progress", "watch: bookmarks"),
    ("compacted at", "watch: resumption after a compaction"),
    ("cannot start", "every crash can be recovered from"),
    ("does not recover", "liveness once faults stop"),
    ("do not become even", "liveness once faults stop"),
    ("a broken invariant", "an invariant of the code itself"),
];

/// The checker behind a failure.
pub fn checker(failure: &str) -> &'static str {
    let found = CHECKERS.iter().find(|(text, _)| failure.contains(text));
    found.map_or("damage is never met unannounced", |(_, checker)| checker)
}
