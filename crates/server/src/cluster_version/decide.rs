//! What versions mean: which cluster version to set, which downgrade is allowed, when one is over.

use api::version;
use membership::{Downgrade, Version};
use thiserror::Error;

/// A downgrade was asked for that leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invalid downgrade target")]
pub(crate) struct InvalidTarget;

/// This release.
pub(crate) fn server() -> Version {
    Version::parse(version::SERVER).expect("the release names a version")
}

/// The oldest cluster version: that of a cluster whose members do not all answer yet.
pub(crate) fn minimum() -> Version {
    Version::parse(version::MIN_CLUSTER).expect("the release names a version")
}

/// The lowest of the members' server versions; `None` as soon as one is not known.
pub(crate) fn lowest(servers: impl IntoIterator<Item = Option<Version>>) -> Option<Version> {
    servers.into_iter().collect::<Option<Vec<Version>>>()?.into_iter().min()
}

/// The cluster version to set now; `None` to leave it. `lowest` is the lowest server version, if all
/// members are known.
pub(crate) fn cluster_version(
    current: Option<Version>,
    lowest: Option<Version>,
    downgrade: &Downgrade,
) -> Result<Option<Version>, InvalidTarget> {
    let Some(current) = current else {
        return Ok(Some(lowest.unwrap_or_else(minimum).minor_only()));
    };
    let Some(lowest) = lowest else { return Ok(None) };
    if downgrade.enabled {
        let target = Version::parse(&downgrade.target_version).ok_or(InvalidTarget)?;
        if target == current {
            return Ok(None);
        }
        if Some(target) != below(current) || Some(target) != below(lowest) {
            return Err(InvalidTarget);
        }
        return Ok(Some(target.minor_only()));
    }
    let lowest = lowest.minor_only();
    let rises = current < lowest && current.major == lowest.major;
    Ok(rises.then_some(lowest))
}

/// One minor version below; `None` below X.0.
pub(crate) fn below(version: Version) -> Option<Version> {
    let minor = version.minor.checked_sub(1)?;
    Some(Version { minor, ..version.minor_only() })
}

/// Whether a downgrade to `target` has been completed: every member is of that version.
pub(crate) fn is_complete(
    target: Version,
    servers: impl IntoIterator<Item = Option<Version>>,
) -> bool {
    let target = target.minor_only();
    servers.into_iter().all(|server| server.is_some_and(|server| server.minor_only() == target))
}

/// Reads the version of a downgrade request, `X.Y` or `X.Y.Z` with what semantic versions may have
/// after it, as a cluster version.
pub(crate) fn parse_target(text: &str) -> Option<Version> {
    semantic(text).or_else(|| semantic(&format!("{text}.0")))
}

/// `X.Y.Z-pre+meta` as Go's semver library takes it: leading zeros are no fault.
fn semantic(text: &str) -> Option<Version> {
    let (text, meta) = text.split_once('+').unwrap_or((text, ""));
    let (text, pre) = text.split_once('-').unwrap_or((text, ""));
    let is_identifier = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    if !meta.bytes().chain(pre.bytes()).all(is_identifier) {
        return None;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i64>().ok())?.map(i64::unsigned_abs)
    };
    let numbers: Option<Vec<u64>> = text.split('.').map(number).collect();
    let [major, minor, _patch] = numbers?[..] else { return None };
    Some(Version { major, minor, patch: 0 })
}

/// The cluster version as RPCs show it: `X.Y`.
pub(crate) fn shown(version: Version) -> String {
    format!("{}.{}", version.major, version.minor)
}

/// Whether a member of this release may join a cluster whose known members are at these cluster
/// versions: at least one is known, and each lies between the oldest and this release's own; during
/// a downgrade to this release, each is exactly one minor above it.
pub(crate) fn may_join(
    clusters: impl IntoIterator<Item = Option<Version>>,
    downgrading: bool,
) -> bool {
    let own = server().minor_only();
    let (lowest, highest) = match downgrading {
        true => {
            let above = Version { minor: own.minor + 1, ..own };
            (above, above)
        }
        false => (minimum(), own),
    };
    let mut known = clusters.into_iter().flatten().peekable();
    known.peek().is_some() && known.all(|version| lowest <= version && version <= highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        Version::parse(text).expect("a version")
    }

    fn enabled(target: &str) -> Downgrade {
        Downgrade { enabled: true, target_version: target.into() }
    }

    #[test]
    fn an_undecided_cluster_takes_what_it_knows() {
        let decide = |lowest| cluster_version(None, lowest, &Downgrade::default());
        assert_eq!(decide(Some(v("3.5.30"))), Ok(Some(v("3.5.0"))));
        assert_eq!(decide(Some(v("3.7.1"))), Ok(Some(v("3.7.0"))));
        assert_eq!(decide(None), Ok(Some(v("3.0.0"))));
    }

    #[test]
    fn the_version_rises_when_all_members_have_risen() {
        let decide = |current, lowest: Option<&str>| {
            cluster_version(Some(v(current)), lowest.map(v), &Downgrade::default())
        };
        assert_eq!(decide("3.0.0", Some("3.7.1")), Ok(Some(v("3.7.0"))));
        assert_eq!(decide("3.5.0", Some("3.6.4")), Ok(Some(v("3.6.0"))));
        assert_eq!(decide("3.5.0", None), Ok(None));
        assert_eq!(decide("3.7.0", Some("3.7.1")), Ok(None), "the patch does not count");
        assert_eq!(decide("3.7.0", Some("3.6.4")), Ok(None), "it does not fall of itself");
        assert_eq!(decide("3.7.0", Some("4.0.0")), Ok(None));
    }

    #[test]
    fn a_downgrade_lowers_by_one_minor() {
        let decide = |current, lowest: Option<&str>, target| {
            cluster_version(Some(v(current)), lowest.map(v), &enabled(target))
        };
        assert_eq!(decide("3.7.0", Some("3.7.1"), "3.6.0"), Ok(Some(v("3.6.0"))));
        assert_eq!(decide("3.6.0", Some("3.6.9"), "3.6.0"), Ok(None), "done");
        assert_eq!(decide("3.7.0", None, "3.6.0"), Ok(None));
        assert_eq!(decide("3.7.0", Some("3.7.1"), "3.5.0"), Err(InvalidTarget));
        assert_eq!(decide("3.7.0", Some("3.8.0"), "3.6.0"), Err(InvalidTarget));
        assert_eq!(decide("3.7.0", Some("3.7.1"), "x"), Err(InvalidTarget));
    }

    #[test]
    fn a_downgrade_ends_when_all_have_it() {
        let servers = |list: &[&str]| list.iter().map(|s| Version::parse(s)).collect::<Vec<_>>();
        assert!(is_complete(v("3.6.0"), servers(&["3.6.1", "3.6.12"])));
        assert!(!is_complete(v("3.6.0"), servers(&["3.6.1", "3.7.1"])));
        assert!(!is_complete(v("3.6.0"), servers(&["3.6.1", "unknown"])));
    }

    #[test]
    fn targets_and_their_forms() {
        assert_eq!(parse_target("3.6"), Some(v("3.6.0")));
        assert_eq!(parse_target("3.6.4"), Some(v("3.6.0")));
        assert_eq!(parse_target("3.06.0-rc.1+x"), Some(v("3.6.0")));
        for bad in
            ["", "3", "3.6.0.1", "v3.6", "3.6-rc", "3.-6", "3.6.0-_", "99999999999999999999.1"]
        {
            assert_eq!(parse_target(bad), None, "{bad}");
        }
        assert_eq!(shown(v("3.6.0")), "3.6");
        assert_eq!(below(v("3.7.1")), Some(v("3.6.0")));
        assert_eq!(below(v("4.0.0")), None);
        assert_eq!(lowest([Some(v("3.7.1")), Some(v("3.5.2"))]), Some(v("3.5.2")));
        assert_eq!(lowest([Some(v("3.7.1")), None]), None);
    }

    #[test]
    fn who_may_join() {
        let clusters = |list: &[&str]| list.iter().map(|s| Version::parse(s)).collect::<Vec<_>>();
        assert!(may_join(clusters(&["3.5.0", "3.7.0"]), false));
        assert!(may_join(clusters(&["not_decided", "3.7.0"]), false));
        assert!(!may_join(clusters(&["not_decided"]), false));
        assert!(!may_join(clusters(&[]), false));
        assert!(!may_join(clusters(&["3.8.0"]), false));
        assert!(!may_join(clusters(&["2.3.0"]), false));
        assert!(may_join(clusters(&["3.8.0"]), true));
        assert!(!may_join(clusters(&["3.7.0"]), true));
    }
}
