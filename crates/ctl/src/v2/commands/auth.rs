//! `auth`, and the client of commands about users and roles.

use super::{no_arguments, plain};
use crate::v2::{
    app::Context,
    auth,
    cluster::Cluster,
    error::{Ended, Outcome},
    say, settings,
};

/// `auth enable`.
pub(in crate::v2) fn enable(context: &Context) -> Outcome {
    switch(context, true)
}

/// `auth disable`.
pub(in crate::v2) fn disable(context: &Context) -> Outcome {
    switch(context, false)
}

fn switch(context: &Context, on: bool) -> Outcome {
    no_arguments(context)?;
    let cluster = cluster(context)?;
    auth::switch(&cluster, on).map_err(plain)?;
    say(if on { "Authentication Enabled" } else { "Authentication Disabled" })
}

/// The client.
pub(super) fn cluster(context: &Context) -> Result<Cluster, Ended> {
    let cluster = settings::cluster(context)?;
    if context.global.bool("debug") {
        eprintln!("Cluster-Endpoints: {}", cluster.endpoints().join(", "));
    }
    Ok(cluster)
}

/// The client and the one argument, a name.
pub(super) fn cluster_and_name(context: &Context, what: &str) -> Result<(Cluster, String), Ended> {
    if context.args.len() != 1 {
        return Err(Ended::line(format_args!("Please provide a {what}")));
    }
    Ok((cluster(context)?, context.arg(0)))
}
