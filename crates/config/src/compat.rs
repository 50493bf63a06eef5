//! What this server does about each flag, and the refusal of what it cannot do yet.
//!
//! Rule: a flag that asks for a function which is not built stops the start with a clear error. A
//! flag is passed over only where that loses nothing, and the table says why.

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
    /// Any value but the default is refused; the function that it asks for.
    Refused(&'static str),
}

impl Config {
    /// What the configuration asks for and is not built yet, one line for each flag.
    pub fn unsupported(&self) -> Vec<String> {
        flags::all().filter_map(|flag| asks(flag, self)).collect()
    }
}

fn asks(flag: &Flag, config: &Config) -> Option<String> {
    let what = match flag.status {
        Status::Built(_) | Status::Harmless(_) => return None,
        Status::Refused(what) => {
            let asked = flag.shown(&mut config.clone());
            if asked == flag.shown(&mut Config::default()) {
                return None;
            }
            what.to_string()
        }
    };
    Some(refusal(flag.name, &what))
}

fn refusal(flag: &str, what: &str) -> String {
    format!("--{flag} asks for {what}, which is not built yet")
}

/// The rows of the compatibility page: flag, status word, note. A status is `built`, `harmless`
/// or `refused`.
pub fn compat_rows() -> Vec<(&'static str, &'static str, String)> {
    flags::all().map(row).collect()
}

fn row(flag: &Flag) -> (&'static str, &'static str, String) {
    let (status, mut note) = match flag.status {
        Status::Built(note) => ("built", note.to_string()),
        Status::Harmless(note) => ("harmless", note.to_string()),
        Status::Refused(what) => ("refused", format!("asks for {what}")),
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
         - **harmless**: accepted without an effect; the note says why nothing is lost.\n\
         - **refused**: any value but the default stops the start with an error.\n\n\
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

    fn asked(args: &[&str]) -> Vec<String> {
        let mut config = Config::default();
        let words: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        crate::argv::parse(&words, &mut config).expect("good flags");
        config.unsupported()
    }

    #[test]
    fn defaults_and_built_flags_pass() {
        assert_eq!(asked(&[]), [""; 0]);
        let args = [
            "--name=a",
            "--listen-client-urls=http://127.0.0.1:1",
            "--listen-metrics-urls=http://127.0.0.1:2",
            "--cors=*",
            "--enable-log-rotation",
            "--log-outputs=systemd/journal",
            "--auth-token=jwt,sign-method=RS256",
            "--bcrypt-cost=4",
            "--auto-compaction-retention=0h",
            "--max-snapshots=9",
            "--initial-cluster=a=http://a:1,b=http://b:1",
            "--initial-cluster-state=existing",
            "--force-new-cluster",
            "--cert-file=x",
            "--peer-auto-tls",
            "--listen-peer-urls=https://127.0.0.1:3",
            "--listen-client-http-urls=unixs:///a",
            "--feature-gates=LeaseCheckpoint=true",
            "--experimental-initial-corrupt-check",
            "--feature-gates=AllAlpha=true",
            "--auto-compaction-retention=1",
            "--corrupt-check-time=1h",
            "--discovery-srv=x",
            "--discovery-token=t",
            "--discovery-endpoints=https://a:1",
            "--discovery-cacert=x",
        ];
        assert_eq!(asked(&args), [""; 0]);
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let text = "--memory-mlock asks for locked memory, which is not built yet";
        assert_eq!(asked(&["--memory-mlock"]), [text]);
    }

    #[test]
    fn every_flag_has_a_row() {
        let rows = compat_rows();
        assert_eq!(rows.len(), flags::all().count());
        for (flag, status, note) in rows {
            assert!(["built", "harmless", "refused"].contains(&status));
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
