//! `endpoint`: what the members behind the endpoints say of themselves.

use std::time::Instant;

use api::etcdserverpb::{AlarmType, HashKvRequest, MemberListRequest, StatusRequest};
use client::{client::Client, kv};

use super::alarm;
use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    exit::{Code, Failure, Outcome},
    gotext::duration,
    printer::{Answer, Hash, Health, Status},
    session::Session,
};

/// `endpoint`.
pub(crate) static COMMAND: Command = Command {
    usage: "endpoint <subcommand>",
    short: "Looks at members: `etcdctl endpoint --help` lists subcommands",
    long: "Looks at the members behind --endpoints",
    group: Some(Group::Maintenance),
    persistent: CLUSTER,
    children: &[&HEALTH, &STATUS, &HASH_KV],
    ..Command::BASE
};

/// The flag of commands that go to each member.
pub(super) const CLUSTER: &[Flag] =
    &[Flag::new("cluster", Kind::Bool, "go to all members of the cluster")];

static HEALTH: Command = Command {
    usage: "health",
    short: "Tells whether members are healthy",
    run: Some(health),
    ..Command::BASE
};

static STATUS: Command = Command {
    usage: "status",
    short: "Shows the status of members",
    long: "Shows the status of members. In the simple format a line has: endpoint, ID, version, \
           storage\nversion, db size, in use, percentage not in use, quota, is leader, is learner, \
           raft term,\nraft index, raft applied index, errors, downgrade target version, downgrade \
           enabled.",
    run: Some(status),
    ..Command::BASE
};

static HASH_KV: Command = Command {
    usage: "hashkv",
    short: "Shows a hash over the keys of members",
    persistent: &[Flag::new("rev", Kind::Int, "last revision to hash (0: all)")],
    run: Some(hash_kv),
    ..Command::BASE
};

fn health(invocation: &Invocation) -> Outcome {
    let session = Session::open(invocation)?;
    let endpoints = endpoints(&session)?;
    let mut configs = Vec::new();
    for endpoint in &endpoints {
        let mut spec = session.spec.clone();
        spec.endpoints = vec![endpoint.clone()];
        configs.push(spec.config()?);
    }
    let timeout = session.timeout();
    let list: Vec<_> = session.run(async {
        let checks: Vec<_> = configs
            .into_iter()
            .zip(&endpoints)
            .map(|(config, endpoint)| {
                let endpoint = endpoint.clone();
                tokio::spawn(async move {
                    match Client::new(config).await {
                        Ok(client) => check(&client.with_timeout(timeout), endpoint).await,
                        Err(error) => Health {
                            endpoint,
                            healthy: false,
                            took: String::new(),
                            error: error.to_string(),
                        },
                    }
                })
            })
            .collect();
        let mut list = Vec::new();
        for check in checks {
            list.push(check.await.expect("a check does not panic"));
        }
        list
    });
    session.print(&Answer::EndpointHealth(&list))?;
    if list.iter().any(|health| !health.error.is_empty()) {
        return Err(Failure::new(Code::Error, "unhealthy cluster"));
    }
    Ok(())
}

/// Reads any key through consensus, then asks for alarms. A member that refuses the read for want
/// of permission is healthy: it came through consensus to say so.
async fn check(client: &Client, endpoint: String) -> Health {
    let start = Instant::now();
    let read = client.range(kv::get("health")).await;
    let took = duration::format(start.elapsed());
    let mut health = Health { endpoint, healthy: true, took, error: String::new() };
    match read {
        Err(error) if !error.is(api::error::Error::PermissionDenied) => {
            health.error = error.to_string();
        }
        _ => match client.alarm(alarm::all()).await {
            Err(_) => health.error = "Unable to fetch the alarm list".to_owned(),
            Ok(answer) if !answer.alarms.is_empty() => {
                health.error = "Active Alarm(s): ".to_owned();
                for alarm in answer.alarms {
                    health.error.push_str(match AlarmType::try_from(alarm.alarm) {
                        Ok(AlarmType::Nospace) => "NOSPACE ",
                        Ok(AlarmType::Corrupt) => "CORRUPT ",
                        _ => "UNKNOWN ",
                    });
                }
            }
            Ok(_) => {}
        },
    }
    health.healthy = health.error.is_empty();
    health
}

fn status(invocation: &Invocation) -> Outcome {
    let session = Session::open(invocation)?;
    let mut list = Vec::new();
    let mut failed = false;
    for endpoint in endpoints(&session)? {
        let client = session.client_at(&endpoint)?.with_timeout(session.timeout());
        match session.run(client.status(StatusRequest {})) {
            Ok(response) => list.push(Status { endpoint, response }),
            Err(error) => {
                eprintln!("Failed to get the status of endpoint {endpoint} ({error})");
                failed = true;
            }
        }
    }
    session.print(&Answer::EndpointStatus(&list))?;
    if failed { Err(Failure::silent(Code::Error as u8)) } else { Ok(()) }
}

fn hash_kv(invocation: &Invocation) -> Outcome {
    let session = Session::open(invocation)?;
    let revision = session.flags.int("rev");
    let mut list = Vec::new();
    let mut failure = None;
    for endpoint in endpoints(&session)? {
        let client = session.client_at(&endpoint)?.with_timeout(session.timeout());
        match session.run(client.hash_kv(HashKvRequest { revision })) {
            Ok(response) => list.push(Hash { endpoint, response }),
            Err(error) => {
                eprintln!("Failed to get the hash of endpoint {endpoint} ({error})");
                failure = Some(error);
            }
        }
    }
    session.print(&Answer::EndpointHashKv(&list))?;
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// The endpoints to go to one by one: the configured ones, or those that the cluster's members
/// advertise.
pub(super) fn endpoints(session: &Session) -> Result<Vec<String>, Failure> {
    if !session.flags.bool("cluster") {
        return Ok(session.flags.list("endpoints").to_vec());
    }
    let mut spec = session.spec.clone();
    (spec.max_request_bytes, spec.max_recv_bytes) = (0, 0);
    let failed = |error: String| Failure::new(Code::Error, error);
    let client = session.client_of(&spec).map_err(|failure| Failure { code: 1, ..failure })?;
    let client = client.with_timeout(session.timeout());
    let request = MemberListRequest { linearizable: true };
    let answer = session.run(client.member_list(request)).map_err(|error| {
        failed(format!("failed to fetch endpoints from etcd cluster member list: {error}"))
    })?;
    Ok(answer.members.into_iter().flat_map(|member| member.client_urls).collect())
}
