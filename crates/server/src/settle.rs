//! What the start needed and nothing needs later is let go of.
//!
//! A start goes through much of the program once: settings, recovery, the tables of relocations. The
//! kernel maps files in windows of many pages, and keeps them mapped. They are unmapped once; what is
//! needed again comes back from the page cache, a window at a time.
//!
//! Invariant: only mappings of files are unmapped that cannot be written and of whose pages none has
//! become the process's own, so that all of them read the same afterwards.

use std::{fs, ops::Range, time::Duration};

/// How long a member serves before its start is over: peers, clients and monitors have come by then.
const SETTLED: Duration = Duration::from_secs(2);

/// Waits until the start is over, and lets go of what it needed; `give_back` has the allocator do so.
pub(crate) async fn settle(give_back: fn()) {
    tokio::time::sleep(SETTLED).await;
    let_go();
    give_back();
}

/// Unmaps the pages of the program and its libraries.
fn let_go() {
    // Without the list everything stays as it is, which is no error.
    let Ok(list) = fs::read_to_string("/proc/self/smaps") else { return };
    for Range { start, end } in unowned(&list) {
        // SAFETY: the pages are those of a private mapping of a file that this process cannot write,
        // and has none of its own in it: whoever reads them again reads the file, as before.
        let _same_as_before = unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                end - start,
                libc::MADV_DONTNEED,
            )
        };
    }
}

/// The private mappings of files, in the kernel's list, that are not writable and have no page of the
/// process's own.
fn unowned(list: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in list.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
        match first.split_once('-') {
            Some((start, end)) => {
                let file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                let read_only = second.starts_with("r-") && second.ends_with('p');
                let place = || Some(address(start)?..address(end)?);
                mapping = (file && read_only).then(place).flatten();
            }
            // It comes after the pages that are counted, which have to be looked at as a whole.
            None if first == "Anonymous:" && second == "0" => found.extend(mapping.take()),
            None => {}
        }
    }
    found
}

fn address(text: &str) -> Option<usize> {
    usize::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_process_has_no_part_of_is_let_go_of() {
        let list = "\
1000-2000 r--p 00000000 fe:00 17    /usr/bin/some program
Rss:                   4 kB
Anonymous:             0 kB
AnonHugePages:         0 kB
2000-5000 r-xp 00001000 fe:00 17    /usr/bin/some program
Anonymous:             0 kB
5000-6000 r--p 00004000 fe:00 17    /usr/bin/some program
Anonymous:             4 kB
6000-7000 rw-p 00005000 fe:00 17    /usr/bin/some program
Anonymous:             0 kB
7000-8000 r--s 00000000 fe:00 18    /var/lib/etcd/data.mdb
Anonymous:             0 kB
8000-9000 r--p 00000000 00:00 0
Anonymous:             0 kB
9000-a000 r-xp 00000000 00:00 0     [vdso]
Anonymous:             0 kB
a000-b000 ---p 00000000 fe:00 19    /usr/lib/libm.so.6
Anonymous:             0 kB
ffffffffff600000-ffffffffff601000 r-xp 00000000 fe:00 19    /usr/lib/libm.so.6
Anonymous:             0 kB
";
        let last = 0xffff_ffff_ff60_0000_usize;
        let expected = [0x1000..0x2000, 0x2000..0x5000, last..last + 0x1000];
        assert_eq!(unowned(list), expected);
        assert!(unowned("").is_empty());
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        let text = ["constants", "of", "the", "program"];
        let before = fs::read("/proc/self/exe").unwrap().len();
        let_go();
        assert_eq!(text.concat(), "constantsoftheprogram");
        assert_eq!(fs::read("/proc/self/exe").unwrap().len(), before);
        let list = fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(unowned(&list).len() > 1, "{list}");
    }
}
