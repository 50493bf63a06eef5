//! `role`.

use super::{
    auth::{cluster, cluster_and_name},
    no_arguments, plain,
};
use crate::v2::{
    app::Context,
    auth::{self, Kind},
    cluster::Cluster,
    error::{Ended, Outcome},
    print, say, url,
};

fn role(context: &Context) -> Result<(Cluster, String), Ended> {
    cluster_and_name(context, "role name")
}

/// `role list`.
pub(in crate::v2) fn list(context: &Context) -> Outcome {
    no_arguments(context)?;
    let roles = auth::list(&cluster(context)?, Kind::Roles).map_err(plain)?;
    roles.iter().try_for_each(say)
}

/// `role add`.
pub(in crate::v2) fn add(context: &Context) -> Outcome {
    let (cluster, name) = role(context)?;
    if auth::role(&cluster, &name).is_ok() {
        return Err(Ended::line(format_args!("Role {name} already exists")));
    }
    auth::add_role(&cluster, &name).map_err(plain)?;
    say(format!("Role {name} created"))
}

/// `role get`.
pub(in crate::v2) fn get(context: &Context) -> Outcome {
    let (cluster, name) = role(context)?;
    let role = auth::role(&cluster, &name).map_err(plain)?;
    say(format!("Role: {}\nKV Read:", role.role))?;
    role.reads().iter().try_for_each(|path| say(format!("\t{path}")))?;
    say("KV Write:")?;
    role.writes().iter().try_for_each(|path| say(format!("\t{path}")))
}

/// `role remove`.
pub(in crate::v2) fn remove(context: &Context) -> Outcome {
    let (cluster, name) = role(context)?;
    auth::remove(&cluster, Kind::Roles, &name).map_err(plain)?;
    say(format!("Role {name} removed"))
}

/// `role grant`.
pub(in crate::v2) fn grant(context: &Context) -> Outcome {
    change(context, true)
}

/// `role revoke`.
pub(in crate::v2) fn revoke(context: &Context) -> Outcome {
    change(context, false)
}

fn change(context: &Context, grant: bool) -> Outcome {
    let path = context.flags.text("path");
    if path.is_empty() {
        return Err(Ended::line("No path specified; please use `--path`"));
    }
    let canonical = String::from_utf8_lossy(&url::canonical(path.as_bytes())).into_owned();
    if canonical != path {
        return Err(Ended::line(format_args!(
            "Not canonical path; please use `--path={canonical}`"
        )));
    }
    let wanted = ["read", "write", "readwrite"].map(|name| context.flags.bool(name));
    if wanted.iter().filter(|wanted| **wanted).count() != 1 {
        let text = "Please specify exactly one of --read, --write or --readwrite";
        return Err(Ended::line(text));
    }
    let [read, write, both] = wanted;
    let (cluster, name) = role(context)?;
    let before = auth::role(&cluster, &name).map_err(plain)?;
    let what = [read || both, write || both];
    let after = auth::change_role(&cluster, &name, grant, path, what).map_err(plain)?;
    if before == after {
        let text = if grant { "granted" } else { "revoked" };
        // Without an end of the line: scripts have read it so for years.
        print(format!("Role unchanged; already {text}").as_bytes())?;
    }
    say(format!("Role {name} updated"))
}
