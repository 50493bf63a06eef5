//! The memory that a view has read: pages of the file that the process has mapped.

use std::{fs::File, os::unix::fs::MetadataExt};

use super::LmdbBackend;

impl LmdbBackend {
    /// Lets go of the pages of the file that were read, as far as only this mapping holds them. What is
    /// touched again comes from the page cache. The caller holds the gate, so the map stays where it is.
    /// Pages that are locked in memory stay.
    pub(super) fn forget_pages(&self) {
        self.advise(libc::MADV_DONTNEED);
    }

    /// Whether what lies around a page that is read and not in memory is read with it, as it is at
    /// first. The caller holds the gate.
    pub(super) fn read_around(&self, around: bool) {
        self.advise(if around { libc::MADV_NORMAL } else { libc::MADV_RANDOM });
    }

    fn advise(&self, advice: libc::c_int) {
        let info = self.env.info();
        let used = (info.last_page_number + 1) * self.env.stat().page_size as usize;
        let Some(start) = self.map_start() else { return };
        // SAFETY: `start` is where the file is mapped, shared and only read, with `map_size` bytes:
        // neither dropping pages of such a mapping nor how they are read changes a byte that can be
        // read through it. A failure leaves everything as it was.
        unsafe {
            let start = start as *mut libc::c_void;
            libc::madvise(start, used.min(info.map_size), advice);
        }
    }

    /// Where the file is mapped, from the kernel's list: the engine does not tell.
    pub(super) fn map_start(&self) -> Option<usize> {
        let file = File::open(&self.data_file).and_then(|file| file.metadata()).ok()?;
        let device = (libc::major(file.dev()), libc::minor(file.dev()));
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        maps.lines().find_map(|line| start_of(line, device, file.ino()))
    }
}

/// The start of a mapping, if it is that of a file, from its beginning and shared.
/// `7f00-7f10 r--s 00000000 fe:00 1234 /path`: addresses, rights, offset, device, file.
fn start_of(line: &str, device: (u32, u32), inode: u64) -> Option<usize> {
    let mut fields = line.split_ascii_whitespace();
    let start = fields.next()?.split('-').next()?;
    let is_shared = fields.next()?.ends_with('s');
    let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let is_same =
        (number(major)?, number(minor)?) == device && fields.next()?.parse::<u64>().ok()? == inode;
    let start = usize::from_str_radix(start, 16).ok()?;
    (is_same && is_shared && offset == 0).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shared_mapping_of_the_file_is_found() {
        let of = |line| start_of(line, (0xfe, 1), 77);
        assert_eq!(of("7f00ab-7f0100 r--s 00000000 fe:01 77 /d/data.mdb"), Some(0x7f00ab));
        let others = [
            "7f00ab-7f0100 r--p 00000000 fe:01 77 /d/data.mdb",
            "7f00ab-7f0100 r--s 00001000 fe:01 77 /d/data.mdb",
            "7f00ab-7f0100 r--s 00000000 fe:02 77 /d/data.mdb",
            "7f00ab-7f0100 r--s 00000000 fe:01 78 /d/lock.mdb",
            "7f00ab-7f0100 rw-p 00000000 00:00 0",
            "",
        ];
        for line in others {
            assert_eq!(of(line), None);
        }
    }
}
