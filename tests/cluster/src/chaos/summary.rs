//! What a run of chaos was and found, on one page.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use checker::{History, Report};

use super::fault::Fault;

/// The result of a run.
#[derive(Debug)]
pub struct Summary {
    /// The seed of faults and requests.
    pub seed: u64,
    /// What members ran.
    pub members: Vec<String>,
    /// Voters.
    pub voters: usize,
    /// How long faults were made.
    pub raged: Duration,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, usize>,
    /// Changes of membership or leadership that were refused or not answered.
    pub failed_changes: usize,
    /// Removed members that ended by themselves.
    pub removed_ended: usize,
    /// Removed members that did not, within ten seconds.
    pub removed_stayed: usize,
    /// Requests answered and not answered.
    pub requests: (u64, u64),
    /// Changes that were not synced when the power went.
    pub unsynced: usize,
    /// Of those, the ones that were lost in whole or in part.
    pub lost: usize,
    /// Processes that ended because their disk was full or failed: as they should.
    pub ended_for_disk: usize,
    /// Packets carried and dropped.
    pub packets: Option<(u64, u64)>,
    /// Processes that ended by themselves, and panics.
    pub crashes: Vec<String>,
    /// Revision, `HashKV` and number of members with it; or how they differ.
    pub hash: Result<(i64, u32, usize), String>,
    /// What the checkers found.
    pub report: Option<Report>,
    /// How long they took.
    pub checked_in: Duration,
    /// What was recorded.
    pub history: History,
    /// What the checkers were told beside it.
    pub options: checker::Options,
    /// Where logs are.
    pub directory: Option<PathBuf>,
}

impl Default for Summary {
    fn default() -> Summary {
        Summary {
            seed: 0,
            members: Vec::new(),
            voters: 0,
            raged: Duration::ZERO,
            faults: BTreeMap::new(),
            failed_changes: 0,
            removed_ended: 0,
            removed_stayed: 0,
            requests: (0, 0),
            unsynced: 0,
            lost: 0,
            ended_for_disk: 0,
            packets: None,
            crashes: Vec::new(),
            hash: Err("not compared".into()),
            report: None,
            checked_in: Duration::ZERO,
            history: History::default(),
            options: checker::Options::default(),
            directory: None,
        }
    }
}

impl Summary {
    /// Whether nothing was found.
    pub fn is_ok(&self) -> bool {
        let judged = self.report.as_ref().is_some_and(Report::is_ok);
        judged && self.crashes.is_empty() && self.hash.is_ok()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { seed, voters, .. } = self;
        let members = self.members.join(", ");
        writeln!(f, "chaos: seed {seed}, {voters} members ({members}), {:.0?}", self.raged)?;
        let faults: usize = self.faults.values().sum();
        writeln!(f, "faults: {faults}")?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {fault:<24} {count}")?;
        }
        writeln!(f, "changes refused or unanswered, then tried again: {}", self.failed_changes)?;
        let Summary { removed_ended, removed_stayed, .. } = self;
        writeln!(
            f,
            "removed members: {removed_ended} ended by themselves, {removed_stayed} had to be killed"
        )?;
        if self.unsynced + self.ended_for_disk > 0 {
            let Summary { unsynced, lost, ended_for_disk, .. } = self;
            writeln!(
                f,
                "disks: of {unsynced} changes without a sync {lost} lost with the power; \
                 {ended_for_disk} processes ended for a full or failing disk"
            )?;
        }
        let (answered, unanswered) = self.requests;
        writeln!(f, "requests: {answered} answered, {unanswered} unanswered")?;
        if let Some((carried, dropped)) = self.packets {
            writeln!(f, "packets: {carried} carried, {dropped} dropped")?;
        }
        if let Some(report) = &self.report {
            write!(f, "{report}")?;
            writeln!(f, "checked in {:.1?}", self.checked_in)?;
        }
        match &self.hash {
            Ok((revision, hash, members)) => {
                writeln!(f, "HashKV: {hash} at revision {revision} on all {members} members")?;
            }
            Err(error) => writeln!(f, "HashKV: NOT EQUAL: {error}")?,
        }
        writeln!(f, "crashes: {}", self.crashes.len())?;
        for crash in &self.crashes {
            writeln!(f, "- {crash}")?;
        }
        write!(f, "result: {}", if self.is_ok() { "PASSED" } else { "FAILED" })
    }
}
