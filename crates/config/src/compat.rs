//! What this server does about each flag.
//!
//! Rule: a flag is passed over only where that loses nothing, and the table says why.

use std::fmt::Write as _;

use crate::flags::{self, Flag, Kind};
use crate::settings::Config;

/// What becomes of a flag, with the reason that the compatibility page gives.
#[derive(Clone, Copy)]
pub(crate) enum Status {
    /// Works as in etcd.
    Built(&'static str),
    /// Accepted; why nothing is lost by it.
    Harmless(&'static str),
}

/// The rows of the compatibility page: flag, status word, note. A status is `built` or
/// `harmless`.
pub fn compat_rows() -> Vec<(&'static str, &'static str, String)> {
    flags::all().map(row).collect()
}

fn row(flag: &Flag) -> (&'static str, &'static str, String) {
    let (status, mut note) = match flag.status {
        Status::Built(note) => ("built", note.to_string()),
        Status::Harmless(note) => ("harmless", note.to_string()),
    };
    match flag.kind {
        Kind::OlderName(modern) => note = format!("older name of `{modern}`; {note}"),
        Kind::OlderGate(gate) => note = format!("stands for `feature-gates={gate}`; {note}"),
        _ => {}
    }
    (flag.name, status, note)
}

/// The compatibility page of the flags, in Markdown.
pub fn compat_page() -> String {
    let mut page = String::from(
        "# Flags\n\n\
         Every flag of etcd 3.7.1, and the older names that are still accepted. This page is made\n\
         from the table in `crates/config/src/flags`; `UPDATE=1 cargo test -p config` rewrites it.\n\n\
         - **built**: works as in etcd.\n\
         - **harmless**: accepted without an effect; the note says why nothing is lost.\n\n\
         The environment (`ETCD_*`) and the configuration file follow the same table.\n",
    );
    let mut group = None;
    for flag in flags::all() {
        if group != Some(flag.group) {
            group = Some(flag.group);
            let title = flag.group.title();
            write!(page, "\n## {title}\n\n| flag | default | status | note |\n|---|---|---|---|\n")
                .expect("a string takes everything");
        }
        let (name, status, note) = row(flag);
        let default = match flag.shown(&mut Config::default()) {
            text if text.is_empty() => String::new(),
            text => format!("`{text}`"),
        };
        let line = format!("| `{name}` | {default} | {status} | {note} |\n");
        page.push_str(&line.replace("|  |", "| |"));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_row() {
        let rows = compat_rows();
        assert_eq!(rows.len(), flags::all().count());
        for (flag, status, note) in rows {
            assert!(["built", "harmless"].contains(&status));
            assert!(status == "built" || !note.is_empty(), "{flag} needs a note");
        }
    }

    /// The page in the tree is the one that the table makes; `UPDATE=1` writes it.
    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compat/flags.md");
        let page = compat_page();
        if std::env::var_os("UPDATE").is_some() {
            let folder = std::path::Path::new(path).parent().expect("a folder");
            std::fs::create_dir_all(folder).expect("docs/compat is made");
            std::fs::write(path, &page).expect("the page is written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == page, "docs/compat/flags.md is stale: UPDATE=1 cargo test -p config");
    }
}
