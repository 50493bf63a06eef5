//! Versions as `major.minor.patch`.

/// A version of a server or a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Changes with the protocol.
    pub major: u64,
    /// Clusters agree on major and minor.
    pub minor: u64,
    /// 0 in cluster versions.
    pub patch: u64,
}

impl Version {
    /// Reads `X.Y` or `X.Y.Z` in decimal, with a suffix after `-` or `+` passed over.
    pub fn parse(text: &str) -> Option<Version> {
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = core.split('.').map(number);
        let major = numbers.next()??;
        let minor = numbers.next()??;
        let patch = match numbers.next() {
            Some(patch) => patch?,
            None => 0,
        };
        numbers.next().is_none().then_some(Version { major, minor, patch })
    }

    /// The same version with patch 0.
    pub fn minor_only(self) -> Version {
        Version { patch: 0, ..self }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if digits && !padded { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_parse_order_and_print() {
        let parse = |text| Version::parse(text).map(|version| version.to_string());
        assert_eq!(parse("3.7.1").as_deref(), Some("3.7.1"));
        assert_eq!(parse("3.7").as_deref(), Some("3.7.0"));
        assert_eq!(parse("3.6.0-alpha.0").as_deref(), Some("3.6.0"));
        for bad in ["", "3", "3.", "3.x", "3.7.1.0", "v3.7", "3.07", "-3.7"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert!(Version::parse("3.10.0") > Version::parse("3.9.9"));
        assert_eq!(Version::parse("3.7.1").unwrap().minor_only(), Version::parse("3.7").unwrap());
    }
}
