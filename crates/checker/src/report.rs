//! All checks of one history, and a page that tells what they found.

use std::fmt;

use crate::{
    history::{History, Outcome},
    lease, linear,
    serial::{self, Serial},
    verdict::{Verdict, Violation},
    watch,
};

/// What the checks need to know beyond the history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Bounds of each search for an order.
    pub limits: linear::Limits,
    /// When leases must have ended.
    pub leases: lease::Deadline,
    /// The newest revision that history was compacted at; 0: never.
    pub compacted: i64,
}

/// What all checks found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Operations by how they ended: answered, unanswered yet seen, never seen.
    pub outcomes: [usize; 3],
    /// By revisions.
    pub serial: Serial,
    /// By search.
    pub linear: linear::Summary,
    /// Of watchers.
    pub watch: watch::Summary,
    /// Of leases.
    pub lease: lease::Summary,
}

/// Runs every check. The history learns what became of operations without answers.
pub fn check(history: &mut History, options: Options) -> Report {
    let serial = serial::check(history);
    let watch = watch::check(history, &serial.timeline, options.compacted);
    let lease = lease::check(history, &serial, options.leases);
    serial.resolve(history);
    let linear = linear::check_history(history, options.limits);
    let mut outcomes = [0; 3];
    for operation in &history.operations {
        outcomes[match operation.outcome {
            Outcome::Done(_) => 0,
            Outcome::Seen { .. } => 1,
            Outcome::Unknown | Outcome::Never => 2,
        }] += 1;
    }
    Report { outcomes, serial, linear, watch, lease }
}

impl Report {
    /// The checks by name.
    pub fn verdicts(&self) -> [(&'static str, Verdict); 4] {
        [
            ("linearizable by search", self.linear.verdict()),
            ("linearizable by revisions", self.serial.verdict()),
            ("watch guarantees", self.watch.verdict()),
            ("leases", self.lease.verdict()),
        ]
    }

    /// Whether every check passed, with nothing undecided.
    pub fn is_ok(&self) -> bool {
        self.verdicts().iter().all(|(_, verdict)| verdict.is_ok())
    }

    /// Everything found that breaks a rule.
    pub fn violations(&self) -> impl Iterator<Item = &Violation> {
        let Report { serial, linear, watch, lease, .. } = self;
        [&linear.violations, &serial.violations, &watch.violations, &lease.violations]
            .into_iter()
            .flat_map(|violations| violations.kept())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [answered, seen, never] = self.outcomes;
        writeln!(
            f,
            "operations: {answered} answered, {seen} unanswered yet happened, {never} unanswered and not seen"
        )?;
        let Report { serial, linear, watch, lease, .. } = self;
        let counts = [
            format!("{} operations in {} groups of keys", linear.operations, linear.groups),
            format!("{} answers, {} revisions", serial.answers, serial.timeline.last() - 1),
            format!("{} events on {} streams", watch.events, watch.streams),
            format!("{} leases, {} ended by themselves", lease.leases, lease.expired),
        ];
        let found = [&linear.violations, &serial.violations, &watch.violations, &lease.violations];
        for ((name, verdict), (counts, found)) in
            self.verdicts().into_iter().zip(counts.iter().zip(found))
        {
            let word = match &verdict {
                Verdict::Ok => "ok".to_owned(),
                Verdict::Unknown(why) => format!("UNDECIDED ({why})"),
                Verdict::Violation(_) => format!("VIOLATED {} times", found.count()),
            };
            writeln!(f, "{name}: {word} ({counts})")?;
        }
        for violation in self.violations().take(12) {
            writeln!(f, "- {violation}")?;
        }
        Ok(())
    }
}
