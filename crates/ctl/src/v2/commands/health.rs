//! `cluster-health`.

use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::v2::{
    app::Context,
    error::{Code, Ended, Error, Outcome, json_error},
    members::{self, Member},
    say,
    settings::{cluster_as_given, transport},
    transport::{Ask, Bounds, Transport},
    url::Url,
};

/// The time between two rounds.
const PAUSE: Duration = Duration::from_secs(10);

/// Asks each member over and over, or once.
pub(in crate::v2) fn cluster_health(context: &Context) -> Outcome {
    let transport =
        transport(context).map_err(|why| Ended::error(Code::Server, &Error::Other(why)))?;
    let cluster = cluster_as_given(context, transport)?;
    let forever = context.flags.bool("forever");
    if forever {
        cluster.transport().spawn(async {
            if let Ok(mut interrupt) = signal(SignalKind::interrupt()) {
                interrupt.recv().await;
                std::process::exit(0);
            }
        });
    }
    if context.global.bool("debug") {
        eprintln!("Cluster-Endpoints: {}", cluster.endpoints().join(", "));
    }
    let members = match members::list(&cluster, None) {
        Ok(members) => members,
        Err(error) => {
            say("cluster may be unhealthy: failed to list members")?;
            return Err(Ended::error(Code::Server, &error));
        }
    };
    loop {
        let mut healthy = 0;
        for member in &members {
            healthy += usize::from(is_healthy(cluster.transport(), member)?);
        }
        let all = healthy == members.len();
        say(match healthy {
            _ if all => "cluster is healthy",
            0 => "cluster is unavailable",
            _ => "cluster is degraded",
        })?;
        if !forever {
            let failed = Ended { code: Code::NotHealthy as u8, message: String::new() };
            return if all { Ok(()) } else { Err(failed) };
        }
        say("\nnext check after 10 second...\n")?;
        std::thread::sleep(PAUSE);
    }
}

/// Asks one member at one URL after the other.
fn is_healthy(transport: &Transport, member: &Member) -> Result<bool, Ended> {
    let id = &member.id;
    if member.client_urls.is_empty() {
        say(format!("member {id} is unreachable: no available published client urls"))?;
        return Ok(false);
    }
    for url in &member.client_urls {
        match health(transport, url) {
            Ok(true) => {
                say(format!("member {id} is healthy: got healthy result from {url}"))?;
                return Ok(true);
            }
            Ok(false) => {
                say(format!("member {id} is unhealthy: got unhealthy result from {url}"))?;
                return Ok(false);
            }
            Err(why) => {
                say(format!("failed to check the health of member {id} on {url}: {why}"))?;
            }
        }
    }
    let urls = member.client_urls.join(" ");
    say(format!("member {id} is unreachable: [{urls}] are all unreachable"))?;
    Ok(false)
}

/// What a member says of its health, as a text or a truth value.
fn health(transport: &Transport, client_url: &str) -> Result<bool, String> {
    let place = format!("{client_url}/health");
    let url = Url::parse(&place)?;
    let ask = Ask {
        method: "GET",
        host: url.host.clone(),
        url,
        content_type: "",
        authorization: String::new(),
        body: None,
    };
    let answer = transport.exchange(&ask, Bounds::default());
    let answer =
        answer.map_err(|error| format!("Get {}: {error}", crate::gotext::quote::quote(&place)))?;
    let told: Value =
        serde_json::from_slice(&answer.body).map_err(|error| json_error(&answer.body, &error))?;
    let field = told
        .as_object()
        .and_then(|object| object.iter().find(|(name, _)| name.eq_ignore_ascii_case("health")));
    Ok(field.is_some_and(|(_, value)| value == "true" || value == &Value::Bool(true)))
}
