//! Versions in headers and the rule of who may talk to whom (spec http.md section 4.1).

use std::fmt;

/// A version as two numbers that decide compatibility, and the text that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    major: u64,
    minor: u64,
    text: String,
}

/// What a member says of itself when it does not say it: etcd 2.0 sent no header.
pub const UNSAID: &str = "2.0.0";
/// The first version with streams.
const STREAMS_SINCE: (u64, u64) = (2, 1);

impl Version {
    /// Reads `major.minor.patch`, with a pre-release or build part or without.
    pub fn parse(text: &str) -> Option<Version> {
        let numbers = text.split(['-', '+']).next()?;
        let mut parts = numbers.split('.');
        let mut number = || -> Option<u64> {
            let part = parts.next()?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let (major, minor, _patch) = (number()?, number()?, number()?);
        parts.next().is_none().then(|| Version { major, minor, text: text.to_owned() })
    }

    fn major_minor(&self) -> (u64, u64) {
        (self.major, self.minor)
    }

    /// True when a member of this version opens streams.
    pub(crate) fn has_streams(&self) -> bool {
        self.major_minor() >= STREAMS_SINCE
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The versions that a member claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Its own (`X-Server-Version`).
    pub server: Version,
    /// The oldest cluster version that it can talk to (`X-Min-Cluster-Version`).
    pub min_cluster: Version,
}

impl Default for Versions {
    fn default() -> Versions {
        let parse = |text| Version::parse(text).expect("constants of `api::version` are versions");
        Versions {
            server: parse(api::version::SERVER),
            min_cluster: parse(api::version::MIN_CLUSTER),
        }
    }
}

/// Why two members must not talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Incompatible {
    #[error("remote version is too low")]
    RemoteTooLow,
    #[error("local version is too low")]
    LocalTooLow,
}

impl Versions {
    /// Whether a member that claims `remote` may talk to this one: only major and minor count.
    pub(crate) fn check(&self, remote: &Versions) -> Result<(), Incompatible> {
        if remote.server.major_minor() < self.min_cluster.major_minor() {
            return Err(Incompatible::RemoteTooLow);
        }
        if self.server.major_minor() < remote.min_cluster.major_minor() {
            return Err(Incompatible::LocalTooLow);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(server: &str, min_cluster: &str) -> Versions {
        Versions {
            server: Version::parse(server).unwrap(),
            min_cluster: Version::parse(min_cluster).unwrap(),
        }
    }

    #[test]
    fn only_major_and_minor_decide() {
        let ours = versions("3.7.1", "3.0.0");
        let check = |server, min| ours.check(&versions(server, min));
        assert_eq!(check("3.7.9", "3.7.9"), Ok(()));
        assert_eq!(check("3.0.0-rc.1", "3.0.0"), Ok(()));
        assert_eq!(check("4.0.0", "3.0.0"), Ok(()));
        assert_eq!(check("2.3.8", "2.0.0"), Err(Incompatible::RemoteTooLow));
        assert_eq!(check("4.0.0", "3.8.0"), Err(Incompatible::LocalTooLow));
    }

    #[test]
    fn versions_are_read_strictly() {
        for text in ["3.5.0", "3.6.0-alpha.0", "3.7.1+git", "2.0.0"] {
            assert_eq!(Version::parse(text).map(|version| version.to_string()), Some(text.into()));
        }
        for text in ["", "3", "3.5", "3.5.0.1", "a.b.c", "3..0", "-3.5.0", "+3.5.0", "3.+5.0"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert_eq!(Version::parse("99999999999999999999.0.0"), None);
    }
}
