//! Getting an image from a peer: over the port for clients, as `etcdctl snapshot save` does.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use api::{
    etcdserverpb::StatusRequest,
    ids::{ClusterId, MemberId},
};
use client::{
    client::Client,
    config::{Config, Credentials},
    endpoint::Endpoint,
};

use crate::{Failure, console, exit::io, progress::Progress};

const PLACE: &str = "utl/rebuild/fetch.rs";
/// How long a member may take to answer at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Where the other members are, and how they are spoken to.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    /// Endpoints for clients, tried in order.
    pub endpoints: String,
    /// The authority that peers' certificates are checked with.
    pub ca: Option<PathBuf>,
    /// The certificate and key to show.
    pub key_pair: Option<(PathBuf, PathBuf)>,
    /// `name:password` of a user who may take snapshots.
    pub user: Option<String>,
}

impl Peers {
    fn config(&self, endpoint: Endpoint) -> Result<Config, Failure> {
        let mut config = Config::new(vec![endpoint]);
        config.dial_timeout = Some(ANSWER_LIMIT);
        if self.ca.is_some() || self.key_pair.is_some() {
            let options = tls::ClientOptions {
                trusted_ca_file: self.ca.clone(),
                key_pair: self.key_pair.clone(),
                ..tls::ClientOptions::default()
            };
            config.tls = Some(client::config::connector(options).map_err(Failure::error)?);
        }
        if let Some(user) = &self.user {
            let Some((name, password)) = user.split_once(':') else {
                return Err(Failure::bad_args("--user wants name:password"));
            };
            let (name, password) = (name.to_owned(), password.to_owned());
            config.credentials = Some(Credentials::Password { name, password });
        }
        Ok(config)
    }
}

/// Writes the image of the first peer that gives one to `path`.
pub(super) fn fetch(peers: &Peers, own: (ClusterId, MemberId), path: &Path) -> Result<(), Failure> {
    let endpoints = Endpoint::parse_list(&peers.endpoints);
    if endpoints.is_empty() {
        return Err(Failure::bad_args("--endpoints names no peer"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::error(format!("start a runtime: {error}")))?;
    let mut last = None;
    for endpoint in endpoints {
        let name = endpoint.as_str().to_owned();
        match runtime.block_on(fetch_from(peers.config(endpoint)?, own, path)) {
            Ok(()) => return Ok(()),
            Err(failure) => {
                let fields = [("endpoint", name.into()), ("error", failure.message.clone().into())];
                console::warn(PLACE, "no image from this peer", &fields);
                last = Some(failure);
            }
        }
    }
    Err(last.expect("there was an endpoint"))
}

async fn fetch_from(
    config: Config,
    (cluster, member): (ClusterId, MemberId),
    path: &Path,
) -> Result<(), Failure> {
    let failed = |error: client::error::Error| Failure::error(error.message());
    let client = Client::new(config).await.map_err(failed)?;
    let status = client.with_timeout(ANSWER_LIMIT).status(StatusRequest {}).await;
    let header = status.map_err(failed)?.header.unwrap_or_default();
    if header.cluster_id != cluster.0 {
        let other = ClusterId(header.cluster_id);
        return Err(Failure::error(format!("it belongs to cluster {other}, not to {cluster}")));
    }
    if header.member_id == member.0 {
        return Err(Failure::error("it is the member that is to be rebuilt"));
    }
    let mut answers = client.snapshot().await.map_err(failed)?;
    let mut file = File::create(path).map_err(|error| io("create", path, &error))?;
    let mut progress = None;
    while let Some(piece) = answers.next().await.map_err(failed)? {
        let done = piece.blob.len() as u64;
        let progress = progress.get_or_insert_with(|| {
            Progress::new("receiving the image", done + piece.remaining_bytes)
        });
        file.write_all(&piece.blob).map_err(|error| io("write", path, &error))?;
        progress.add(done);
    }
    file.sync_all().map_err(|error| io("sync", path, &error))
}
