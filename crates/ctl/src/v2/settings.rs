//! What global flags and the environment say of a cluster.

use std::{path::PathBuf, time::Duration};

use client::{discovery, dns::Resolver};

use super::{
    app::Context,
    cluster::{Cluster, Options},
    error::{Code, Ended, Error},
    transport::Transport,
    url::Url,
};
use crate::{gotext::quote::quote, prompt};

/// Endpoints when there are none.
const DEFAULT_ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";
/// Bound on opening a connection, if the command may take longer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A variable of the environment; one that is not set is empty.
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// A flag, or else a variable.
fn flag_or(context: &Context, flag: &str, name: &str) -> String {
    match context.global.text(flag) {
        "" => variable(name),
        text => text.to_owned(),
    }
}

/// The client, with the endpoints that the members tell unless `--no-sync` is given.
pub(super) fn cluster(context: &Context) -> Result<Cluster, Ended> {
    let cluster = cluster_as_given(context, transport(context).map_err(Ended::line)?)?;
    let debug = context.global.bool("debug");
    if !context.global.bool("no-sync") {
        let before = cluster.endpoints();
        if debug {
            eprintln!("start to sync cluster using endpoints({})", before.join(","));
        }
        match cluster.sync() {
            Err(error @ Error::NoEndpoints) => {
                eprintln!("etcd cluster has no published client endpoints.");
                eprintln!(
                    "Try '--no-sync' if you want to access non-published client endpoints({}).",
                    before.join(",")
                );
                return Err(Ended::error(Code::Server, &error));
            }
            Err(error) if error.is_connection() => {
                return Err(Ended::error(Code::BadConnection, &error));
            }
            // The command itself will fail, or not.
            Ok(()) | Err(_) => {}
        }
        if debug {
            eprintln!("got endpoints({}) after sync", cluster.endpoints().join(","));
        }
    }
    if debug {
        eprintln!("Cluster-Endpoints: {}", cluster.endpoints().join(", "));
    }
    Ok(cluster)
}

/// The client, with the endpoints as they are given.
pub(super) fn cluster_as_given(context: &Context, transport: Transport) -> Result<Cluster, Ended> {
    let endpoints = endpoints(context).map_err(Ended::line)?;
    let options = Options {
        debug: context.global.bool("debug"),
        header_timeout: Some(context.global.duration("timeout")).filter(|time| !time.is_zero()),
        total_timeout: context.global.duration("total-timeout"),
        credentials: credentials(context)?,
    };
    Ok(Cluster::new(transport, options, endpoints))
}

fn credentials(context: &Context) -> Result<Option<(String, String)>, Ended> {
    let user = flag_or(context, "username", "ETCDCTL_USERNAME");
    if user.is_empty() {
        return Ok(None);
    }
    let (name, password) = name_and_password("Password: ", &user).map_err(Ended::line)?;
    Ok(Some((name, password)).filter(|(name, _)| !name.is_empty()))
}

/// Reads `name[:password]`; asks for the password when there is none.
pub(super) fn name_and_password(question: &str, text: &str) -> std::io::Result<(String, String)> {
    match text.split_once(':') {
        Some((name, password)) => Ok((name.to_owned(), password.to_owned())),
        None => Ok((text.to_owned(), prompt::password(question)?)),
    }
}

/// The domain of `--discovery-srv`, and whether members without TLS are fine.
fn discovery_domain(context: &Context) -> (String, bool) {
    let insecure = context.global.bool("insecure-discovery")
        || !variable("ETCDCTL_INSECURE_DISCOVERY").is_empty();
    (flag_or(context, "discovery-srv", "ETCDCTL_DISCOVERY_SRV"), insecure)
}

fn endpoints(context: &Context) -> Result<Vec<Url>, String> {
    let mut endpoints = discovered(context)?;
    if endpoints.is_empty() {
        endpoints = given(context).split(',').map(str::to_owned).collect();
    }
    let parsed = endpoints.iter().map(|text| {
        let mut url = Url::parse(text)?;
        if url.scheme.is_empty() {
            "http".clone_into(&mut url.scheme);
        }
        Url::parse(&url.to_string())
    });
    parsed.collect()
}

fn given(context: &Context) -> String {
    let places = [
        ("endpoints", "ETCDCTL_ENDPOINTS"),
        ("endpoint", "ETCDCTL_ENDPOINT"),
        ("peers", "ETCDCTL_PEERS"),
    ];
    let mut found = places.iter().map(|(flag, name)| flag_or(context, flag, name));
    found.find(|text| !text.is_empty()).unwrap_or_else(|| DEFAULT_ENDPOINTS.to_owned())
}

fn discovered(context: &Context) -> Result<Vec<String>, String> {
    let (domain, insecure) = discovery_domain(context);
    if domain.is_empty() {
        return Ok(Vec::new());
    }
    let resolver = Resolver::of_system().map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let name = variable("ETCDCTL_DISCOVERY_SRV_NAME");
    let mut found = runtime.block_on(discovery::endpoints(&resolver, &domain, &name))?;
    if !insecure {
        found.retain(|endpoint| {
            let secure = !endpoint.starts_with("http://");
            if !secure {
                eprintln!("ignoring discovered insecure endpoint {}", quote(endpoint));
            }
            secure
        });
    }
    Ok(found)
}

/// What connections are opened with.
pub(super) fn transport(context: &Context) -> Result<Transport, String> {
    let path = |flag: &str, name: &str| {
        let text = flag_or(context, flag, name);
        (!text.is_empty()).then(|| PathBuf::from(text))
    };
    let ca_file = path("ca-file", "ETCDCTL_CA_FILE");
    let cert = path("cert-file", "ETCDCTL_CERT_FILE");
    let key = path("key-file", "ETCDCTL_KEY_FILE");
    let key_pair = match (cert, key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((cert, key)),
        (cert, key) => {
            let show = |path: Option<PathBuf>| path.unwrap_or_default().display().to_string();
            return Err(format!(
                "KeyFile and CertFile must both be present[key: {}, cert: {}]",
                show(key),
                show(cert)
            ));
        }
    };
    let (domain, insecure) = discovery_domain(context);
    let total = context.global.duration("total-timeout");
    let dial_timeout = if total.is_zero() { DIAL_TIMEOUT } else { DIAL_TIMEOUT.min(total) };
    Transport::new(tls::ClientOptions {
        trusted_ca_file: ca_file,
        key_pair,
        server_name: Some(domain).filter(|name| !name.is_empty() && !insecure),
        dial_timeout,
        ..tls::ClientOptions::default()
    })
}
