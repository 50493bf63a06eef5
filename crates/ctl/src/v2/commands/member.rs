//! `member`.

use super::{no_arguments, plain};
use crate::{
    gotext::quote::quote,
    v2::{
        app::Context,
        error::{Ended, Outcome},
        members, say,
        settings::cluster,
    },
};

/// `member list`.
pub(in crate::v2) fn list(context: &Context) -> Outcome {
    no_arguments(context)?;
    let cluster = cluster(context)?;
    let deadline = cluster.deadline();
    let members = members::list(&cluster, deadline).map_err(plain)?;
    let leader = members::leader(&cluster, deadline);
    let leader =
        leader.map_err(|error| Ended::line(format_args!("Failed to get leader:  {error}")))?;
    for member in members {
        let (id, peers) = (&member.id, member.peer_urls.join(","));
        if member.name.is_empty() {
            say(format!("{id}[unstarted]: peerURLs={peers}"))?;
            continue;
        }
        let (name, clients) = (&member.name, member.client_urls.join(","));
        let leads = *id == leader.id;
        say(format!("{id}: name={name} peerURLs={peers} clientURLs={clients} isLeader={leads}"))?;
    }
    Ok(())
}

/// `member add`.
pub(in crate::v2) fn add(context: &Context) -> Outcome {
    if context.args.len() != 2 {
        return Err(Ended::line("Provide a name and a single member peerURL"));
    }
    let cluster = cluster(context)?;
    let deadline = cluster.deadline();
    let (name, url) = (context.arg(0), context.arg(1));
    let added = members::add(&cluster, &url, deadline).map_err(plain)?;
    say(format!("Added member named {name} with ID {} to cluster", added.id))?;
    let members = members::list(&cluster, deadline).map_err(plain)?;
    let initial = members.iter().flat_map(|member| {
        let name = if member.id == added.id { &name } else { &member.name };
        member.peer_urls.iter().map(move |url| format!("{name}={url}"))
    });
    let initial = initial.collect::<Vec<_>>().join(",");
    say(format!("\nETCD_NAME={}", quote(&name)))?;
    say(format!("ETCD_INITIAL_CLUSTER={}", quote(initial)))?;
    say("ETCD_INITIAL_CLUSTER_STATE=\"existing\"")
}

/// `member remove`.
pub(in crate::v2) fn remove(context: &Context) -> Outcome {
    if context.args.len() != 1 {
        return Err(Ended::line("Provide a single member ID"));
    }
    let id = context.arg(0);
    let cluster = cluster(context)?;
    let deadline = cluster.deadline();
    let members = members::list(&cluster, deadline).map_err(|error| {
        Ended::line(format_args!("Error while verifying ID against known members: {error}"))
    })?;
    for member in members.iter().filter(|member| member.name == id) {
        eprintln!(
            "Found a member named {}; if this is correct, please use its ID, eg:\n\tetcdctl member \
             remove {}",
            member.name, member.id
        );
        eprintln!(
            "For more details, read the documentation at https://github.com/etcd-io/etcd/blob/\
             master/Documentation/runtime-configuration.md#remove-a-member\n"
        );
    }
    if !members.iter().any(|member| member.id == id) {
        let text = format!("Couldn't find a member in the cluster with an ID of {id}.");
        return Err(Ended::line(text));
    }
    members::remove(&cluster, &id, deadline).map_err(|error| Ended {
        code: 1,
        message: format!("Received an error trying to remove member {id}: {error}"),
    })?;
    say(format!("Removed member {id} from cluster"))
}

/// `member update`.
pub(in crate::v2) fn update(context: &Context) -> Outcome {
    if context.args.len() != 2 {
        return Err(Ended::line(
            "Provide an ID and a list of comma separated peerURL (0xabcd \
             http://example.com,http://example1.com)",
        ));
    }
    let cluster = cluster(context)?;
    let (id, urls) = (context.arg(0), context.arg(1));
    let urls: Vec<&str> = urls.split(',').collect();
    members::update(&cluster, &id, &urls, cluster.deadline()).map_err(plain)?;
    say(format!("Updated member with ID {id} in cluster"))
}
