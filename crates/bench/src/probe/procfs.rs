//! Figures of a process and of the machine from `/proc` (proc(5)).

use serde::{Deserialize, Serialize};
use std::{fs, time::Duration};

/// Processor time of a process, user and system, its ended threads included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime(pub(crate) Duration);

impl CpuTime {
    /// Time since an earlier reading.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Processor time that the machine spent on anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MachineTime {
    /// All but idle and waiting for disks; stolen time counts as busy.
    pub(crate) busy: Duration,
}

impl MachineTime {
    /// Busy time since an earlier reading.
    pub(crate) fn busy_since(self, earlier: Self) -> Duration {
        self.busy.saturating_sub(earlier.busy)
    }
}

/// Memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Largest resident set so far (`VmHWM`).
    pub(crate) peak_rss_kib: u64,
    /// Resident set (`VmRSS`).
    pub(crate) rss_kib: u64,
    /// Its private, anonymous part (`RssAnon`): what cannot be dropped under pressure.
    pub(crate) rss_anon_kib: u64,
}

impl std::ops::Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            peak_rss_kib: self.peak_rss_kib + other.peak_rss_kib,
            rss_kib: self.rss_kib + other.rss_kib,
            rss_anon_kib: self.rss_anon_kib + other.rss_anon_kib,
        }
    }
}

/// Processor time of process `pid`.
pub(crate) fn cpu_time(pid: u32) -> Option<CpuTime> {
    parse_cpu_ticks(&read(pid, "stat")?).map(|ticks| CpuTime(of_ticks(ticks)))
}

/// Bytes process `pid` sent to the block layer; needs the rights of its owner.
pub(crate) fn write_bytes(pid: u32) -> Option<u64> {
    parse_io(&read(pid, "io")?, "write_bytes:")
}

/// Bytes process `pid` had the block layer read, by calls and by faults; needs the rights of its owner.
pub(crate) fn read_bytes(pid: u32) -> Option<u64> {
    parse_io(&read(pid, "io")?, "read_bytes:")
}

/// Memory of process `pid`.
pub(crate) fn memory(pid: u32) -> Option<Memory> {
    parse_memory(&read(pid, "status")?)
}

/// Makes the largest resident set of process `pid` count from now on; needs the rights of its owner.
pub(crate) fn reset_peak(pid: u32) -> bool {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

/// Processor time of the machine.
pub(crate) fn machine_time() -> Option<MachineTime> {
    let ticks = parse_busy_ticks(&fs::read_to_string("/proc/stat").ok()?)?;
    Some(MachineTime { busy: of_ticks(ticks) })
}

fn read(pid: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

fn of_ticks(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second();
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// `utime + stime` of `/proc/PID/stat`. The second field, the name, may hold spaces and brackets:
/// counting starts after its last bracket.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let utime: u64 = fields.next()?.parse().ok()?;
    let stime: u64 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

fn parse_io(io: &str, name: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

fn parse_memory(status: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some(Memory {
        peak_rss_kib: field("VmHWM")?,
        rss_kib: field("VmRSS")?,
        rss_anon_kib: field("RssAnon")?,
    })
}

/// Ticks of the line `cpu` but for idle (4th) and iowait (5th); guest time is within user time.
fn parse_busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Option<Vec<u64>> =
        line.split_ascii_whitespace().take(8).map(|field| field.parse().ok()).collect();
    let ticks = ticks?;
    (ticks.len() >= 5).then(|| {
        ticks.iter().enumerate().filter(|(i, _)| !matches!(i, 3 | 4)).map(|(_, t)| t).sum()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cpu_past_a_hostile_name() {
        let stat = "4242 (a) b (c)) S 1 4242 4242 0 -1 4194560 10 0 0 0 150 27 0 0 20 0 9 0 99";
        assert_eq!(parse_cpu_ticks(stat), Some(177));
        assert_eq!(parse_cpu_ticks("4242 (short) S 1"), None);
        assert_eq!(parse_cpu_ticks(""), None);
    }

    #[test]
    fn reads_io_and_memory() {
        let io = "rchar: 1\nwchar: 2\nread_bytes: 3\nwrite_bytes: 4096\ncancelled_write_bytes: 5\n";
        assert_eq!(parse_io(io, "write_bytes:"), Some(4096));
        assert_eq!(parse_io(io, "read_bytes:"), Some(3));
        assert_eq!(parse_io("rchar: 1\n", "read_bytes:"), None);
        let status = "Name:\tx\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t  100 kB\n";
        let wanted = Memory { peak_rss_kib: 300, rss_kib: 200, rss_anon_kib: 100 };
        assert_eq!(parse_memory(status), Some(wanted));
        assert_eq!(parse_memory("VmHWM:\t 300 kB\n"), None);
    }

    #[test]
    fn reads_busy_time_of_the_machine() {
        let stat = "cpu  100 1 20 5000 300 4 5 6 50 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_busy_ticks(stat), Some(136));
        assert_eq!(parse_busy_ticks("cpu  1 2\n"), None);
    }

    #[test]
    fn this_process_has_figures() {
        let pid = std::process::id();
        assert!(cpu_time(pid).is_some());
        assert!(memory(pid).is_some_and(|memory| memory.rss_kib > 0));
        assert!(machine_time().is_some_and(|time| time.busy > Duration::ZERO));
        assert_eq!(cpu_time(u32::MAX), None);
    }
}
