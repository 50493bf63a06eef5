//! `Maintenance.Downgrade`: whether the cluster can go to an older version, beginning that, ending it.

use api::{
    error::{Code, Error},
    etcdserverpb::{
        DowngradeRequest, DowngradeResponse, InternalRaftRequest,
        downgrade_request::DowngradeAction,
    },
    membershippb::DowngradeInfoSetRequest,
};
use membership::{Downgrade, Version};

use super::decide;
use crate::{handle::Handle, status::Failure};

/// Answers a request; the header is filled in.
pub(crate) async fn downgrade(
    handle: &Handle,
    request: DowngradeRequest,
) -> Result<DowngradeResponse, Failure> {
    let answered = match DowngradeAction::try_from(request.action) {
        Ok(DowngradeAction::Validate) => validate(handle, &request.version).await,
        Ok(DowngradeAction::Enable) => enable(handle, &request.version).await,
        Ok(DowngradeAction::Cancel) => cancel(handle).await,
        Err(_) => {
            let message = "etcdserver: unknown method".into();
            return Err(Failure { code: Code::Unknown, message });
        }
    };
    let version = decide::shown(answered?);
    Ok(DowngradeResponse { header: Some(handle.header(0)), version })
}

/// Whether the cluster can go to this version; returns the one it has.
async fn validate(handle: &Handle, target: &str) -> Result<Version, Failure> {
    let target = parse(target)?;
    let current = cluster_version(handle)?;
    check(handle, target).await?;
    Ok(current)
}

async fn enable(handle: &Handle, target: &str) -> Result<Version, Failure> {
    let enabled = async {
        let target = parse(target)?;
        check(handle, target).await?;
        set(handle, Some(target)).await
    };
    if let Err(failure) = enabled.await {
        tracing::warn!(error = %failure.message, "reject downgrade request");
        return Err(failure);
    }
    cluster_version(handle)
}

/// Ends a downgrade. That there is none is no failure to the client.
async fn cancel(handle: &Handle) -> Result<Version, Failure> {
    let cancelled = async {
        handle.linearizable().await?;
        if !handle.shared.membership.read().downgrade().enabled {
            return Err(Error::NoInflightDowngrade.into());
        }
        set(handle, None).await
    };
    if let Err(failure) = cancelled.await {
        tracing::warn!(error = %failure.message, "failed to cancel downgrade");
    }
    cluster_version(handle)
}

/// Proposes that a downgrade to this version begins, or that the one under way is over.
pub(crate) async fn set(handle: &Handle, target: Option<Version>) -> Result<(), Failure> {
    let ver = target.map(|target| target.to_string()).unwrap_or_default();
    let downgrade_info_set = Some(DowngradeInfoSetRequest { enabled: target.is_some(), ver });
    handle.propose(InternalRaftRequest { downgrade_info_set, ..Default::default() }).await?;
    Ok(())
}

fn parse(target: &str) -> Result<Version, Failure> {
    decide::parse_target(target).ok_or_else(|| Error::WrongDowngradeVersionFormat.into())
}

fn cluster_version(handle: &Handle) -> Result<Version, Failure> {
    let version = handle.shared.membership.read().cluster_version();
    version.ok_or_else(|| Error::ClusterVersionUnavailable.into())
}

/// Judges a target by what the cluster has committed.
async fn check(handle: &Handle, target: Version) -> Result<(), Failure> {
    handle.linearizable().await?;
    let current = cluster_version(handle)?;
    let under_way = handle.shared.membership.read().downgrade().clone();
    Ok(judge(target, current, &under_way)?)
}

fn judge(target: Version, current: Version, under_way: &Downgrade) -> Result<(), Error> {
    if Some(target) != decide::below(current) {
        return Err(Error::InvalidDowngradeTargetVersion);
    }
    if under_way.enabled {
        return Err(Error::DowngradeInProcess);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_judged_before_what_is_under_way() {
        let v = |text| Version::parse(text).expect("a version");
        let none = Downgrade::default();
        let under_way = Downgrade { enabled: true, target_version: "3.6.0".into() };
        let current = v("3.7.0");
        assert_eq!(judge(v("3.6.0"), current, &none), Ok(()));
        for target in ["3.7.0", "3.5.0", "3.8.0", "2.6.0"] {
            let refused = Err(Error::InvalidDowngradeTargetVersion);
            assert_eq!(judge(v(target), current, &none), refused);
            assert_eq!(judge(v(target), current, &under_way), refused);
        }
        assert_eq!(judge(v("3.6.0"), current, &under_way), Err(Error::DowngradeInProcess));
    }
}
