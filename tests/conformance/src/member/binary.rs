//! Which executable to start, and how its command line differs.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Names the executable under test; without it, the one that was built beside the test.
const UNDER_TEST: &str = "OXETCD_BIN";
/// Names the real etcd to compare with.
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

/// An executable that can serve, with the version it reports.
#[derive(Clone, Debug)]
pub struct Binary {
    path: PathBuf,
    kind: Kind,
    version: (u32, u32),
}

impl Binary {
    /// The executable under test: `OXETCD_BIN`, or `oxetcd` of the build that this test is of.
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

    /// The executable at `path`; asks it for its version.
    pub fn at(path: &Path) -> Result<Binary> {
        ensure!(path.is_file(), "no executable at {}: build it first: cargo build", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kind = if name.contains("oxetcd") { Kind::Oxetcd } else { Kind::Etcd };
        let mut command = Command::new(path);
        if kind == Kind::Oxetcd {
            command.arg("server");
        }
        let output = command.arg("--version").output().context("ask for the version")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let version = parse_version(&printed)
            .with_context(|| format!("{} --version printed {printed:?}", path.display()))?;
        Ok(Binary { path: path.to_owned(), kind, version })
    }

    /// Where the executable is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose program it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Major and minor of the etcd version that it says it is.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// The flag that sets the period of watch progress notifications, which was renamed in 3.6.
    pub fn progress_notify_flag(&self, period: &str) -> String {
        let prefix = if self.version < (3, 6) { "experimental-" } else { "" };
        format!("--{prefix}watch-progress-notify-interval={period}")
    }

    /// What stands before the flags on the command line.
    pub(super) fn leading_arguments(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Oxetcd => &["server"],
            Kind::Etcd => &[],
        }
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

/// Reads `3` and `5` out of `etcd Version: 3.5.30`.
fn parse_version(printed: &str) -> Option<(u32, u32)> {
    let version = printed.lines().find_map(|line| line.strip_prefix("etcd Version: "))?;
    let mut parts = version.trim().split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_first_two_numbers() {
        let printed = "etcd Version: 3.5.30\nGit SHA: abc\n";
        assert_eq!(parse_version(printed), Some((3, 5)));
        assert_eq!(parse_version("usage: ..."), None);
    }
}
