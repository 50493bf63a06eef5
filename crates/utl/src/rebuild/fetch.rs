//! Getting an image from a peer: over the port for clients, as `etcdctl snapshot save` does.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use api::{
    error::Error,
    etcdserverpb::{MemberAddRequest, MemberListRequest, MemberRemoveRequest, StatusRequest},
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
/// How long the others may take to be a healthy cluster, which changes its members.
const HEALTHY_LIMIT: Duration = Duration::from_secs(15);

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
    first(peers, own, async |client| download(&client, path).await)
}

/// Makes a new member of an old one at the first peer that does, and writes its image to `path`;
/// returns the new id.
pub(super) fn exchange(
    peers: &Peers,
    own: (ClusterId, MemberId),
    path: &Path,
) -> Result<MemberId, Failure> {
    let mut removed = false;
    let outcome = first(peers, own, async |client| {
        let member = readd(&client, own.1, &mut removed).await?;
        download(&client, path).await?;
        Ok(member)
    });
    outcome.map_err(|failure| {
        if !removed {
            return failure;
        }
        let what = "the member was removed from the cluster, and this stopped before the end";
        let advice = "add it (etcdctl member add) if it is not in the list of members, and start it \
                      with an empty data dir and --initial-cluster-state=existing";
        Failure::error(format!("{}; {what}: {advice}", failure.message))
    })
}

/// Does something with the first peer that lets it be done.
fn first<T>(
    peers: &Peers,
    own: (ClusterId, MemberId),
    mut act: impl AsyncFnMut(Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let endpoints = Endpoint::parse_list(&peers.endpoints);
    if endpoints.is_empty() {
        return Err(Failure::bad_args("--endpoints names no peer"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::error(format!("start a runtime: {error}")))?;
    let mut last = None;
    for endpoint in endpoints {
        let name = endpoint.as_str().to_owned();
        let config = peers.config(endpoint)?;
        let attempt = async { act(connect(config, own).await?).await };
        match runtime.block_on(attempt) {
            Ok(done) => return Ok(done),
            Err(failure) => {
                let fields = [("endpoint", name.into()), ("error", failure.message.clone().into())];
                console::warn(PLACE, "no image from this peer", &fields);
                last = Some(failure);
            }
        }
    }
    Err(last.expect("there was an endpoint"))
}

fn failed(error: client::error::Error) -> Failure {
    Failure::error(error.message())
}

/// A client of a member of the same cluster that is not this one.
async fn connect(
    config: Config,
    (cluster, member): (ClusterId, MemberId),
) -> Result<Client, Failure> {
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
    Ok(client)
}

/// Removes the member and adds one with its addresses; returns the id of that one.
async fn readd(client: &Client, member: MemberId, removed: &mut bool) -> Result<MemberId, Failure> {
    let client = || client.with_timeout(ANSWER_LIMIT);
    let list = client().member_list(MemberListRequest { linearizable: true }).await;
    let members = list.map_err(failed)?.members;
    let Some(old) = members.iter().find(|known| known.id == member.0) else {
        return Err(Failure::error(format!("member {member} is not part of the cluster any more")));
    };
    let request = MemberRemoveRequest { id: old.id };
    patiently(async || client().member_remove(request).await).await?;
    *removed = true;
    let request = MemberAddRequest { peer_urls: old.peer_urls.clone(), is_learner: old.is_learner };
    let added = patiently(async || client().member_add(request.clone()).await).await?;
    let added = added.member.unwrap_or_default();
    let fields =
        [("old-id", member.to_string().into()), ("new-id", MemberId(added.id).to_string().into())];
    console::info(PLACE, "the member has a new id", &fields);
    Ok(MemberId(added.id))
}

/// Calls again while the members have not been connected with each other for long enough.
async fn patiently<T>(
    mut call: impl AsyncFnMut() -> Result<T, client::error::Error>,
) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        match call().await {
            Err(error) if error.is(Error::UnhealthyCluster) && began.elapsed() < HEALTHY_LIMIT => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return other.map_err(failed),
        }
    }
}

async fn download(client: &Client, path: &Path) -> Result<(), Failure> {
    let mut answers = client.with_v2_keys().snapshot().await.map_err(failed)?;
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
