//! Which executables members run.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Names the executable under test; without it, the one that was built beside this program.
const UNDER_TEST: &str = "OXETCD_BIN";
/// Names a real etcd.
const REFERENCE: &str = "OXETCD_REFERENCE_ETCD";
/// Where the real etcd is when nothing else is said, below the home directory.
const REFERENCE_BELOW_HOME: &str = ".cache/etcd-peers/3.5/bin/etcd";

/// Whose program an executable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours: the server is the subcommand `server`.
    Oxetcd,
    /// A real etcd: the server is the program.
    Etcd,
}

/// An executable that can serve.
#[derive(Clone, Debug)]
pub struct Binary {
    path: PathBuf,
    kind: Kind,
    version: String,
}

impl Binary {
    /// The executable under test: `OXETCD_BIN`, or `oxetcd` of the same build.
    pub fn under_test() -> Result<Binary> {
        match std::env::var_os(UNDER_TEST) {
            Some(path) => Binary::at(Path::new(&path)),
            None => Binary::at(&built_beside_us()?),
        }
    }

    /// The real etcd: `OXETCD_REFERENCE_ETCD`, or the one under `~/.cache/etcd-peers`.
    pub fn reference() -> Result<Binary> {
        match std::env::var_os(REFERENCE) {
            Some(path) => Binary::at(Path::new(&path)),
            None => {
                let home = std::env::var_os("HOME").context("HOME is not set")?;
                Binary::at(&Path::new(&home).join(REFERENCE_BELOW_HOME))
            }
        }
    }

    /// By a word of a command line: `oxetcd`, `etcd` or a path.
    pub fn named(name: &str) -> Result<Binary> {
        match name {
            "oxetcd" => Binary::under_test(),
            "etcd" => Binary::reference(),
            path => Binary::at(Path::new(path)),
        }
    }

    /// The executable at `path`; asks it for its version.
    pub fn at(path: &Path) -> Result<Binary> {
        ensure!(path.is_file(), "no executable at {}: build it first: cargo build", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = if name.contains("oxetcd") { Kind::Oxetcd } else { Kind::Etcd };
        let mut command = Command::new(path);
        command.args(leading(kind)).arg("--version");
        let output = command.output().with_context(|| format!("run {}", path.display()))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let version = printed.lines().find_map(|line| line.strip_prefix("etcd Version: "));
        let version =
            version.with_context(|| format!("{} --version printed {printed:?}", path.display()))?;
        Ok(Binary { path: path.to_owned(), kind, version: version.trim().to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The etcd version that it says it is.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// For reports.
    pub fn describe(&self) -> String {
        match self.kind {
            Kind::Oxetcd => format!("oxetcd ({})", self.version),
            Kind::Etcd => format!("etcd {}", self.version),
        }
    }

    /// Flags of a short log: a snapshot every `count` entries, `keep` entries before it kept for
    /// slow followers.
    pub fn short_log_flags(&self, count: u64, keep: u64) -> Vec<String> {
        let old = ["3.4.", "3.5."].iter().any(|release| self.version.starts_with(release));
        let prefix = if old { "experimental-" } else { "" };
        vec![
            format!("--snapshot-count={count}"),
            format!("--{prefix}snapshot-catchup-entries={keep}"),
        ]
    }

    /// What stands before the flags on the command line.
    pub fn leading_arguments(&self) -> &'static [&'static str] {
        leading(self.kind)
    }
}

fn leading(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Oxetcd => &["server"],
        Kind::Etcd => &[],
    }
}

/// `oxetcd` in the target directory that holds the running program: tests lie in
/// `target/<profile>/deps`, programs in `target/<profile>`.
fn built_beside_us() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    let mut directory = own.parent().context("a program lies in a directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().context("deps lies in a directory")?;
    }
    Ok(directory.join("oxetcd"))
}
