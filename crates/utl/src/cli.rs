//! The command line: which commands there are, and what each does with its flags.
//!
//! Commands, flags, exit codes and messages are those of etcdutl; names of commands may be shortened.

mod cobra;
mod flags;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgMatches, Command};
use clap_complete::{Shell, generate};

use crate::{
    Failure, check, defrag, hashkv, migrate,
    open::Timeout,
    print::{Column, Format, render},
    rebuild, snapshot,
};
use cobra::Wrong;
use flags::{command, number, switch, text};

const MMAP_BYTES_DEFAULT: &str = "10737418240";

/// Runs a command line and says how it ended.
pub(crate) fn run(args: Vec<OsString>) -> ExitCode {
    let root = root();
    let words: Vec<OsString> = args.into_iter().skip(1).collect();
    let result = match cobra::parse(&root, &words) {
        Ok(cobra::Parsed::Help(usage)) => {
            print!("{usage}");
            return ExitCode::SUCCESS;
        }
        Ok(cobra::Parsed::Run(matches)) => execute(&matches),
        Err(wrong) => Err(Ended::Wrong(wrong)),
    };
    match result {
        Ok(output) => {
            print!("{output}");
            ExitCode::SUCCESS
        }
        Err(Ended::Failed(failure)) => failure.exit(),
        Err(Ended::Wrong(wrong)) => wrong.exit(),
    }
}

/// Why a command line has no output.
enum Ended {
    Failed(Failure),
    /// The command line is to blame, and its usage is shown.
    Wrong(Wrong),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Ended {
        Ended::Failed(failure)
    }
}

/// All commands.
pub(crate) fn root() -> Command {
    let snapshot = command("snapshot", "snapshot [command]", "Manages etcd node snapshots")
        .subcommand(restore_command())
        .subcommand(command(
            "status",
            "snapshot status <filename> [flags]",
            "Gets backend snapshot status of a given file",
        ));
    let data_dir_of_defrag =
        text("data-dir", "Required. Defragments a data directory not in use by etcd.", "");
    let shells = "completion [bash|zsh|fish|powershell]";
    command("etcdutl", "[command]", "An administrative command line tool for etcd3.")
        .arg(flags::timeout())
        .arg(flags::write_out())
        .subcommand(check_command())
        .subcommand(command("completion", shells, "Generate completion script"))
        .subcommand(
            command("defrag", "defrag [flags]", "Defragments the storage of the etcd")
                .arg(data_dir_of_defrag),
        )
        .subcommand(
            command(
                "hashkv",
                "hashkv <filename> [flags]",
                "Prints the KV history hash of a given file",
            )
            .arg(flags::integer("rev", "maximum revision to hash (default: latest revision)")),
        )
        .subcommand(migrate_command())
        .subcommand(rebuild_command())
        .subcommand(snapshot)
        .subcommand(command("version", "version [flags]", "Prints the version of etcdutl"))
}

/// Not a command of etcd.
fn check_command() -> Command {
    let about = "Reads and compares everything a member that does not run has on its disk";
    command("check", "check --data-dir {data dir} [flags]", about)
        .arg(text("data-dir", "Required. Path to the data directory of the member.", ""))
        .arg(text("wal-dir", "Path to the WAL directory (use --data-dir if none given)", ""))
}

/// Not a command of etcd.
fn rebuild_command() -> Command {
    let usage = "rebuild --data-dir {data dir} --endpoints {peers} [flags]";
    let about = "Makes the damaged store of a member that does not run anew from a healthy peer";
    let user = "name:password of a user who may take snapshots";
    let replace = "Come back as a new member, for one whose log is damaged; with --user, of root";
    command("rebuild", usage, about)
        .arg(text("cacert", "verify certificates of the peers using this CA bundle", ""))
        .arg(text("cert", "identify to the peers using this TLS certificate file", ""))
        .arg(text("data-dir", "Required. Path to the data directory of the member.", ""))
        .arg(text("endpoints", "Required. Client endpoints of other members.", ""))
        .arg(text("key", "identify to the peers using this TLS key file", ""))
        .arg(switch("replace", replace))
        .arg(text("user", user, ""))
        .arg(text("wal-dir", "Path to the WAL directory (use --data-dir if none given)", ""))
}

fn migrate_command() -> Command {
    let about = "Migrates schema of etcd data dir files to make them compatible with different etcd version";
    let target = "Target etcd version to migrate contents of data dir. Minimal value 3.5. Format \"X.Y\" for example 3.6.";
    let force =
        "Ignore migration failure and forcefully override storage version. Not recommended.";
    command("migrate", "migrate [flags]", about)
        .arg(text("data-dir", "Path to the etcd data dir", ""))
        .arg(switch("force", force))
        .arg(text("target-version", target, ""))
}

fn restore_command() -> Command {
    let usage = "snapshot restore <filename> --data-dir {output dir} [options] [flags]";
    let about = "Restores an etcd member snapshot to an etcd directory";
    let mmap = "Initial memory map size of the database in bytes. It uses the default value if not defined or defined to 0";
    let mark = "Mark the latest revision after restore as the point of scheduled compaction (required if --bump-revision > 0, disallowed otherwise)";
    let peers = "List of this member's peer URLs to advertise to the rest of the cluster";
    let skip = "Ignore snapshot integrity hash value (required if copied from data directory)";
    let token = "Initial cluster token for the etcd cluster during restore bootstrap";
    command("restore", usage, about)
        .arg(number("bump-revision", "How much to increase the latest revision after restore", "0"))
        .arg(text("data-dir", "Path to the output data directory", ""))
        .arg(text("initial-advertise-peer-urls", peers, "http://localhost:2380"))
        .arg(text(
            "initial-cluster",
            "Initial cluster configuration for restore bootstrap",
            "default=http://localhost:2380",
        ))
        .arg(text("initial-cluster-token", token, "etcd-cluster"))
        .arg(number("initial-memory-map-size", mmap, MMAP_BYTES_DEFAULT))
        .arg(switch("mark-compacted", mark))
        .arg(text("name", "Human-readable name for this member", "default"))
        .arg(switch("skip-hash-check", skip))
        .arg(text("wal-dir", "Path to the WAL directory (use --data-dir if none given)", ""))
}

/// A command that was understood, with its path.
struct Invocation<'m> {
    path: Vec<&'m str>,
    matches: &'m ArgMatches,
}

impl<'m> Invocation<'m> {
    fn of(matches: &'m ArgMatches) -> Invocation<'m> {
        let mut found = Invocation { path: Vec::new(), matches };
        while let Some((name, below)) = found.matches.subcommand() {
            found.path.push(name);
            found.matches = below;
        }
        found
    }

    fn args(&self) -> Vec<String> {
        self.matches.get_many::<String>("args").into_iter().flatten().cloned().collect()
    }

    fn text(&self, name: &str) -> String {
        self.matches.get_one::<String>(name).cloned().unwrap_or_default()
    }

    fn path_of(&self, name: &str) -> Option<PathBuf> {
        Some(self.text(name)).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    fn number(&self, name: &str) -> u64 {
        self.matches.get_one::<u64>(name).copied().unwrap_or_default()
    }

    fn is_set(&self, name: &str) -> bool {
        self.matches.get_one::<bool>(name).copied().unwrap_or_default()
    }

    /// How long to wait for a lock: zero is for ever.
    fn timeout(&self) -> Timeout {
        let timeout = self.matches.get_one::<Duration>("timeout").copied().unwrap_or_default();
        (!timeout.is_zero()).then_some(timeout)
    }

    fn format(&self) -> Result<Format, Failure> {
        Format::parse(&self.text("write-out"))
    }

    fn wrong(&self, message: String) -> Ended {
        Ended::Wrong(Wrong::new(&root(), &self.path, message))
    }

    /// The only argument of a command that cobra lets have one.
    fn exactly_one(&self) -> Result<String, Ended> {
        let mut args = self.args();
        if args.len() != 1 {
            return Err(self.wrong(format!("accepts 1 arg(s), received {}", args.len())));
        }
        Ok(args.remove(0))
    }

    fn require(&self, names: &[&str]) -> Result<(), Ended> {
        let missing: Vec<String> = names
            .iter()
            .filter(|name| {
                let source = self.matches.value_source(name);
                source != Some(clap::parser::ValueSource::CommandLine)
            })
            .map(|name| format!("{name:?}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(self.wrong(format!("required flag(s) {} not set", missing.join(", "))))
    }

    fn show(&self, columns: &[Column]) -> Result<String, Ended> {
        Ok(render(self.format()?, columns)?)
    }
}

/// Runs a command; returns what goes to standard output.
fn execute(matches: &ArgMatches) -> Result<String, Ended> {
    let invocation = Invocation::of(matches);
    match invocation.path[..] {
        ["snapshot", "status"] => {
            let args = invocation.args();
            let [file] = &args[..] else {
                let message = "snapshot status requires exactly one argument";
                return Err(Failure::bad_args(message).into());
            };
            crate::open::exists(Path::new(file))?;
            invocation.format()?;
            let status = snapshot::status(Path::new(file), invocation.timeout())?;
            invocation.show(&status.columns())
        }
        ["snapshot", "restore"] => restore(&invocation),
        ["hashkv"] => {
            let file = invocation.exactly_one()?;
            invocation.format()?;
            let revision = invocation.matches.get_one::<i64>("rev").copied().unwrap_or_default();
            let hash = hashkv::hash(Path::new(&file), revision, invocation.timeout())?;
            invocation.show(&hashkv::columns(&hash))
        }
        ["defrag"] => {
            invocation.require(&["data-dir"])?;
            let data_dir = invocation.text("data-dir");
            defrag::defrag(Path::new(&data_dir), invocation.timeout())?;
            Ok(String::new())
        }
        ["migrate"] => {
            invocation.require(&["data-dir", "target-version"])?;
            let target = migrate::parse_target(&invocation.text("target-version"))?;
            let data_dir = invocation.text("data-dir");
            let force = invocation.is_set("force");
            migrate::migrate(Path::new(&data_dir), target, force, invocation.timeout())?;
            Ok(String::new())
        }
        ["check"] => {
            invocation.require(&["data-dir"])?;
            let data_dir = invocation.text("data-dir");
            Ok(check::check(Path::new(&data_dir), invocation.path_of("wal-dir"))?)
        }
        ["rebuild"] => {
            invocation.require(&["data-dir", "endpoints"])?;
            let key_pair = invocation.path_of("cert").zip(invocation.path_of("key"));
            let peers = rebuild::Peers {
                endpoints: invocation.text("endpoints"),
                ca: invocation.path_of("cacert"),
                key_pair,
                user: Some(invocation.text("user")).filter(|user| !user.is_empty()),
            };
            let data_dir = invocation.text("data-dir").into();
            let wal_dir = invocation.path_of("wal-dir");
            let config = rebuild::Rebuild { data_dir, wal_dir, peers };
            match invocation.is_set("replace") {
                true => Ok(rebuild::replace(&config)?),
                false => Ok(rebuild::rebuild(&config)?),
            }
        }
        ["completion"] => completion(&invocation),
        ["version"] => Ok(format!(
            "etcdutl version: {}\nAPI version: {}\n",
            api::version::SERVER,
            api::version::SERVER.rsplit_once('.').map_or("", |(minor, _)| minor),
        )),
        ref path => unreachable!("command {path:?} has no function"),
    }
}

fn restore(invocation: &Invocation<'_>) -> Result<String, Ended> {
    let mut args = invocation.args();
    if args.len() != 1 {
        let message = "snapshot restore requires exactly one argument";
        return Err(Failure::bad_args(message).into());
    }
    let path = |name: &str| Some(invocation.text(name)).filter(|path| !path.is_empty());
    let name = invocation.text("name");
    let mmap = invocation.number("initial-memory-map-size");
    snapshot::restore(&snapshot::Restore {
        snapshot: PathBuf::from(args.remove(0)),
        data_dir: path("data-dir").unwrap_or_else(|| format!("{name}.etcd")).into(),
        wal_dir: path("wal-dir").map(PathBuf::from),
        name,
        peer_urls: invocation.text("initial-advertise-peer-urls"),
        initial_cluster: invocation.text("initial-cluster"),
        token: invocation.text("initial-cluster-token"),
        skip_hash_check: invocation.is_set("skip-hash-check"),
        initial_mmap_bytes: mmap,
        bump_revision: invocation.number("bump-revision"),
        mark_compacted: invocation.is_set("mark-compacted"),
    })?;
    Ok(String::new())
}

fn completion(invocation: &Invocation<'_>) -> Result<String, Ended> {
    let word = invocation.exactly_one()?;
    let shell = match word.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        "powershell" => Shell::PowerShell,
        _ => {
            let message = format!("invalid argument {word:?} for \"etcdutl completion\"");
            return Err(invocation.wrong(message));
        }
    };
    let mut script = Vec::new();
    generate(shell, &mut root(), "etcdutl", &mut script);
    Ok(String::from_utf8_lossy(&script).into_owned())
}
