//! `user`.

use super::{
    auth::{cluster, cluster_and_name},
    no_arguments, plain,
};
use crate::{
    prompt,
    v2::{
        app::Context,
        auth::{self, Kind},
        cluster::Cluster,
        error::{Ended, Outcome},
        say,
        settings::name_and_password,
    },
};

const QUESTION: &str = "New password: ";

fn user(context: &Context) -> Result<(Cluster, String), Ended> {
    cluster_and_name(context, "username")
}

fn no_password(error: std::io::Error) -> Ended {
    Ended::line(format_args!("Error reading password: {error}"))
}

/// `user list`.
pub(in crate::v2) fn list(context: &Context) -> Outcome {
    no_arguments(context)?;
    let users = auth::list(&cluster(context)?, Kind::Users).map_err(plain)?;
    users.iter().try_for_each(say)
}

/// `user add`.
pub(in crate::v2) fn add(context: &Context) -> Outcome {
    let (cluster, user) = user(context)?;
    let (name, password) = name_and_password(QUESTION, &user).map_err(no_password)?;
    auth::add_user(&cluster, &name, &password).map_err(plain)?;
    say(format!("User {name} created"))
}

/// `user get`.
pub(in crate::v2) fn get(context: &Context) -> Outcome {
    let (cluster, name) = user(context)?;
    let user = auth::user(&cluster, &name).map_err(plain)?;
    say(format!("User: {}\nRoles: {}", user.name, user.roles.join(" ")))
}

/// `user remove`.
pub(in crate::v2) fn remove(context: &Context) -> Outcome {
    let (cluster, name) = user(context)?;
    auth::remove(&cluster, Kind::Users, &name).map_err(plain)?;
    say(format!("User {name} removed"))
}

/// `user passwd`.
pub(in crate::v2) fn passwd(context: &Context) -> Outcome {
    let (cluster, name) = user(context)?;
    let password = prompt::password(QUESTION).map_err(no_password)?;
    auth::change_password(&cluster, &name, &password).map_err(plain)?;
    say("Password updated")
}

/// `user grant`.
pub(in crate::v2) fn grant(context: &Context) -> Outcome {
    change(context, true)
}

/// `user revoke`.
pub(in crate::v2) fn revoke(context: &Context) -> Outcome {
    change(context, false)
}

fn change(context: &Context, grant: bool) -> Outcome {
    let roles = context.flags.list("roles");
    if roles.is_empty() {
        return Err(Ended::line("No roles specified; please use `--roles`"));
    }
    let (cluster, name) = user(context)?;
    auth::change_user(&cluster, &name, grant, roles).map_err(plain)?;
    say(format!("User {name} updated"))
}
