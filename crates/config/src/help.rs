//! What `--help` and `--version` say.

use std::fmt::Write as _;

use crate::flags::{self, Group};
use crate::gates::{GATES, Stage};
use crate::settings::Config;

/// The forms of the command, shown on stderr after a mistake and with the help.
pub(crate) const USAGE: &str = "\
Usage:

  etcd [flags]
    Start a server.

  etcd --version
    Show the version.

  etcd -h | --help
    Show this help.

  etcd --config-file FILE
    Start a server with the configuration in a YAML or JSON file; other flags and the environment
    are ignored then. Durations in the file are whole nanoseconds (600000000000 for 10m).

";

/// Every flag with its default, by group.
pub(crate) fn flags_help() -> String {
    let mut out = String::new();
    let mut defaults = Config::default();
    let mut group = None;
    for flag in flags::all().filter(|flag| flag.group != Group::Older) {
        if group != Some(flag.group) {
            group = Some(flag.group);
            writeln!(out, "\n{}:", flag.group.title()).expect("a string takes everything");
        }
        let default = match flag.name {
            "data-dir" => "${name}.etcd".to_string(),
            "backend-bbolt-freelist-type" => "map".to_string(),
            _ => flag.shown(&mut defaults),
        };
        writeln!(out, "  --{} '{default}'\n    {}", flag.name, flag.help)
            .expect("a string takes everything");
        if flag.name == "feature-gates" {
            write_gates(&mut out);
        }
    }
    out.push_str("\nAn unsafe flag may break the promises of the consensus protocol.\n\n");
    out
}

fn write_gates(out: &mut String) {
    for gate in GATES {
        let stage = if gate.stage == Stage::Alpha { "ALPHA" } else { "BETA" };
        writeln!(out, "    {}=true|false ({stage} - default={})", gate.name, gate.default)
            .expect("a string takes everything");
    }
}

/// The four lines of `--version`. The line of Go's version says that there is no Go here.
pub(crate) fn version() -> String {
    format!(
        "etcd Version: {}\nGit SHA: {}\nGo Version: none (oxetcd {}, rustc)\nGo OS/Arch: {}/{}\n",
        api::version::SERVER,
        GIT_SHA,
        env!("CARGO_PKG_VERSION"),
        go_os(),
        go_arch(),
    )
}

/// The commit that was built, when the build says so in `OXETCD_GIT_SHA`.
pub const GIT_SHA: &str = match option_env!("OXETCD_GIT_SHA") {
    Some(sha) => sha,
    None => "unknown",
};

/// Go's name of the operating system.
pub fn go_os() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    }
}

/// Go's name of the processor.
pub fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        arch => arch,
    }
}
