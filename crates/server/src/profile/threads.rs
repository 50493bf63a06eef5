//! The threads of this process, in the place of Go's goroutines.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use super::format::Profile;

/// A thread as `/proc` shows it.
struct Thread {
    id: u32,
    name: String,
    /// `R` runs, `S` waits, `D` waits for a disk.
    state: char,
    /// What it waits for in the kernel.
    waits_in: String,
}

fn all() -> Vec<Thread> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut threads: Vec<Thread> = entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (before, after) = stat.rsplit_once(')')?;
            let name = before.split_once('(')?.1.to_owned();
            let state = after.trim_start().chars().next()?;
            let waits_in = fs::read_to_string(entry.path().join("wchan")).unwrap_or_default();
            Some(Thread { id, name, state, waits_in })
        })
        .collect();
    threads.sort_by_key(|thread| thread.id);
    threads
}

/// A profile that counts threads by their names.
pub(crate) fn threads(kind: &str) -> Vec<u8> {
    let mut profile = Profile::new(&[(kind, "count")]);
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for thread in all() {
        *counts.entry(thread.name).or_default() += 1;
    }
    for (name, count) in counts {
        profile.add_named(&name, vec![count]);
    }
    profile.gzipped()
}

/// The threads as text, one a line.
pub(crate) fn list(kind: &str) -> String {
    let threads = all();
    let mut text = format!("{kind} profile: total {}\n", threads.len());
    for Thread { id, name, state, waits_in } in threads {
        let waits = if waits_in.is_empty() || waits_in == "0" { "-" } else { &*waits_in };
        writeln!(text, "{id} [{state}] {name} {waits}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_listed_by_its_name() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let named = std::thread::Builder::new().name("listed".into());
        let thread = named.spawn(move || ended.recv()).unwrap();
        let listed = || list("goroutine").lines().any(|line| line.contains("] listed "));
        // A thread gives itself its name when it runs.
        while !listed() {
            std::thread::yield_now();
        }
        drop(end);
        assert!(thread.join().unwrap().is_err());
    }
}
