//! Members found by SRV records (`--discovery-srv`).

use std::{path::PathBuf, time::Duration};

use client::dns::{Resolver, SrvRecord};

use crate::{Failure, hosts};

/// How long an endpoint may take to accept a connection.
const DIAL: Duration = Duration::from_secs(5);

/// Where to look, and what to accept.
#[derive(Debug)]
pub(crate) struct Discovery {
    pub(crate) domain: String,
    pub(crate) service: String,
    pub(crate) insecure: bool,
    pub(crate) trusted_ca_file: Option<PathBuf>,
}

/// A member that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) endpoint: String,
    pub(crate) record: SrvRecord,
}

/// The members that the domain names; none without a domain.
pub(crate) async fn discover(discovery: &Discovery) -> Result<Vec<Found>, Failure> {
    if discovery.domain.is_empty() {
        return Ok(Vec::new());
    }
    let found = look_up(&discovery.domain, &discovery.service).await.map_err(Failure::of)?;
    let domain = discovery.domain.as_str();
    tracing::info!("srv-server" = domain, endpoints = %listed(&found), "discovered cluster from SRV");
    if discovery.insecure {
        return Ok(found);
    }
    if let Some(file) = &discovery.trusted_ca_file {
        let options = tls::ClientOptions {
            trusted_ca_file: Some(file.clone()),
            server_name: Some(discovery.domain.clone()),
            ..tls::ClientOptions::default()
        };
        tls::Connector::new(options).map_err(Failure::of)?;
    }
    tracing::info!(
        "srv-server" = domain,
        endpoints = %listed(&found),
        "validating discovered SRV endpoints"
    );
    let mut secure = Vec::new();
    for member in found {
        match validate(&member.endpoint).await {
            Ok(()) => secure.push(member),
            Err(error) => tracing::warn!(
                "srv-server" = domain,
                endpoint = member.endpoint,
                error,
                "failed to validate discovered endpoints"
            ),
        }
    }
    tracing::info!(
        "srv-server" = domain,
        endpoints = %listed(&secure),
        "using validated discovered SRV endpoints"
    );
    Ok(secure)
}

fn listed(found: &[Found]) -> impl std::fmt::Display + use<> {
    let endpoints: Vec<&str> = found.iter().map(|member| member.endpoint.as_str()).collect();
    config::log::strings(&endpoints).to_string()
}

async fn look_up(domain: &str, service: &str) -> Result<Vec<Found>, String> {
    let resolver = Resolver::of_system().map_err(|error| error.to_string())?;
    let suffix = if service.is_empty() { String::new() } else { format!("-{service}") };
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for (scheme, service) in [("https", "etcd-client-ssl"), ("http", "etcd-client")] {
        match resolver.srv(&format!("{service}{suffix}"), domain).await {
            Ok(records) => found.extend(records.into_iter().map(|record| {
                let endpoint = format!("{scheme}://{}", hosts::join(&record.target, record.port));
                Found { endpoint, record }
            })),
            Err(error) => errors.push(error),
        }
    }
    match &errors[..] {
        [with_tls, without] => Err(format!("dns lookup errors: {with_tls} and {without}")),
        _ => Ok(found),
    }
}

/// Whether the endpoint is one with TLS that accepts connections.
async fn validate(endpoint: &str) -> Result<(), String> {
    let Some(address) = endpoint.strip_prefix("https://") else {
        return Err(format!("{endpoint:?} is insecure"));
    };
    match tokio::time::timeout(DIAL, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}
