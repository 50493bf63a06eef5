//! What the disk of a server was given to write, from `/proc/diskstats` (proc(5)).

use std::{fs, os::unix::fs::MetadataExt as _};

/// Bytes of a sector in these figures, whatever the disk has.
const SECTOR_BYTES: u64 = 512;

/// A disk, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    major: u32,
    minor: u32,
}

/// The disk that the write-ahead log of process `pid` is on.
pub(crate) fn of_log(pid: u32) -> Option<Device> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let log = files.filter_map(Result::ok).find(|file| {
        let target = fs::read_link(file.path()).unwrap_or_default();
        target.extension().is_some_and(|extension| extension == "wal")
    })?;
    let device = fs::metadata(log.path()).ok()?.dev();
    Some(Device { major: rustix::fs::major(device), minor: rustix::fs::minor(device) })
}

/// Bytes written to `device` since the machine started.
pub(crate) fn written(device: Device) -> Option<u64> {
    parse(&fs::read_to_string("/proc/diskstats").ok()?, device)
}

fn parse(text: &str, device: Device) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let major: u32 = fields.next()?.parse().ok()?;
        let minor: u32 = fields.next()?.parse().ok()?;
        if (Device { major, minor }) != device {
            return None;
        }
        // After the name: reads, merged, sectors, ms; writes, merged, sectors.
        let sectors: u64 = fields.nth(7)?.parse().ok()?;
        Some(sectors * SECTOR_BYTES)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "   7       0 loop0 1 2 3 4 5 6 7 8 0 1 1\n \
         253       0 vda 4921079 186060 162950146 8549238 12970452 1013317 905462616 9243061 0 1 2\n";

    #[test]
    fn reads_the_sectors_of_one_device() {
        assert_eq!(parse(TEXT, Device { major: 253, minor: 0 }), Some(905_462_616 * 512));
        assert_eq!(parse(TEXT, Device { major: 7, minor: 0 }), Some(7 * 512));
        assert_eq!(parse(TEXT, Device { major: 8, minor: 0 }), None);
        assert_eq!(parse("8 0 sda 1 2", Device { major: 8, minor: 0 }), None);
    }

    #[test]
    fn a_process_without_a_log_has_no_disk() {
        assert_eq!(of_log(std::process::id()), None);
    }
}
