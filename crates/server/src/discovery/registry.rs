//! Discovery by another etcd: each member writes a key below the cluster's token, and waits until as
//! many have come as the cluster is to have. Who came first, by create revision, is in.

use std::{path::PathBuf, time::Duration};

use api::{
    etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest},
    ids::MemberId,
    kv::RawKeyValue,
};
use client::{
    client::Client,
    config::{Config as ClientConfig, Credentials},
    endpoint::Endpoint,
};
use config::{DiscoveryConfig, UrlsMap};
use thiserror::Error;

/// Where all clusters register.
const PREFIX: &str = "/_etcd/registry";
/// After this many failures the pauses do not grow any more.
const GROWING_RETRIES: u32 = 8;

/// Why a member found no cluster.
#[derive(Debug, Error)]
pub(super) enum DiscoveryError {
    /// Nobody said how large the cluster is.
    #[error("discovery: size key not found")]
    SizeNotFound,
    /// What was said is no size.
    #[error("discovery: size key is bad")]
    BadSize,
    /// As many others as there is room for came earlier.
    #[error("discovery: cluster is full")]
    Full,
    /// A member registered what is no list of URLs.
    #[error("discovery: invalid peer URL")]
    InvalidUrl,
    /// The registry cannot be used at all.
    #[error("{0}")]
    Client(String),
}

/// One registered member.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Registered {
    key: String,
    /// `name=url[,name=url]`.
    urls: String,
    created: i64,
}

/// The members of one cluster that have registered so far, the first to come first.
#[derive(Debug, Default)]
struct Cluster {
    members: Vec<Registered>,
}

impl Cluster {
    /// Takes note of a key below the members' prefix; the reason when it is none of a member.
    fn add(&mut self, key: &str, urls: &str, created: i64) -> Result<(), &'static str> {
        if !urls.contains('=') {
            return Err("invalid peer info returned from discovery service");
        }
        if self.members.iter().any(|member| member.key == key) {
            return Err("found duplicate peer from discovery service");
        }
        let at = self.members.partition_point(|member| member.created <= created);
        self.members.insert(at, Registered { key: key.to_owned(), urls: urls.to_owned(), created });
        Ok(())
    }

    /// Takes note of keys as they are found.
    fn add_all(&mut self, found: &[RawKeyValue]) {
        for kv in found.iter().filter_map(|kv| kv.decode().ok()) {
            let key = String::from_utf8_lossy(&kv.key).trim().to_owned();
            let value = String::from_utf8_lossy(&kv.value).trim().to_owned();
            match self.add(&key, &value, kv.create_revision) {
                Ok(()) => tracing::info!(
                    memberKey = %key, memberInfo = %value, "found peer from discovery service"
                ),
                Err(why) => tracing::warn!(memberKey = %key, memberInfo = %value, "{why}"),
            }
        }
    }

    /// Whether there is room for this member: it is among the first, or they are not complete.
    fn has_room_for(&self, key: &str, size: usize) -> bool {
        let before = self.members.iter().take_while(|member| member.key != key).count();
        before < size
    }

    /// The first `size` members, as `--initial-cluster` names them.
    fn initial_cluster(&self, size: usize) -> Result<String, DiscoveryError> {
        let first: Vec<&str> =
            self.members.iter().take(size).map(|member| member.urls.as_str()).collect();
        let text = first.join(",");
        UrlsMap::parse(&text).map_err(|_| DiscoveryError::InvalidUrl)?;
        Ok(text)
    }
}

/// Joins a path as Go does: no empty parts, `.` and `..` resolved.
fn join_path(parts: &[&str]) -> String {
    let mut path: Vec<&str> = Vec::new();
    for part in parts.iter().flat_map(|part| part.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            part => path.push(part),
        }
    }
    format!("/{}", path.join("/"))
}

/// Registers this member, `contents` being its name and URLs, and waits for the others. Returns what
/// `--initial-cluster` would be. Failures of the registry are tried again without end.
pub(super) async fn join(
    config: &DiscoveryConfig,
    id: MemberId,
    contents: &str,
) -> Result<String, DiscoveryError> {
    let registry = Registry::open(config, id).await?;
    registry.check().await?;
    registry.register(contents).await;
    let (mut cluster, size, revision) = registry.check().await?;
    if cluster.members.len() < size {
        registry.wait(&mut cluster, size, revision).await;
    }
    cluster.initial_cluster(size)
}

/// The keys of one cluster.
struct Registry {
    client: Client,
    timeout: Duration,
    /// Holds the size of the cluster.
    size_key: String,
    /// All members are below.
    members: String,
    /// This member's.
    own_key: String,
}

impl Registry {
    async fn open(config: &DiscoveryConfig, id: MemberId) -> Result<Registry, DiscoveryError> {
        let failed = |error: client::error::Error| DiscoveryError::Client(error.message());
        let client_config = client_config(config).map_err(DiscoveryError::Client)?;
        let client = Client::new(client_config).await.map_err(failed)?;
        let members = join_path(&[PREFIX, &config.token, "members"]);
        Ok(Registry {
            client,
            timeout: config.request_timeout.to_std(),
            size_key: join_path(&[PREFIX, &config.token, "_config/size"]),
            own_key: join_path(&[&members, &id.to_string()]),
            members,
        })
    }

    /// A client whose next call has the time of one request.
    fn client(&self) -> Client {
        self.client.with_timeout(self.timeout)
    }

    /// Size, members and revision of the registry; an error when there is no room for this member.
    async fn check(&self) -> Result<(Cluster, usize, i64), DiscoveryError> {
        let mut retries = Retries::default();
        loop {
            let looked = async {
                let size = self.client().range(client::kv::get(self.size_key.clone())).await?;
                let members = self.client().range(prefix(&self.members)).await?;
                Ok::<_, client::error::Error>((size, members))
            };
            let (size, members) = match looked.await {
                Ok(looked) => looked,
                Err(error) => {
                    retries.pause("cluster status check", &error).await;
                    continue;
                }
            };
            let size = size.kvs.first().and_then(|kv| kv.decode().ok());
            let size = read_size(size.as_ref().map(|kv| &kv.value[..]))?;
            let mut cluster = Cluster::default();
            cluster.add_all(&members.kvs);
            if !cluster.has_room_for(&self.own_key, size) {
                return Err(DiscoveryError::Full);
            }
            let revision = members.header.map_or(0, |header| header.revision);
            return Ok((cluster, size, revision));
        }
    }

    async fn register(&self, contents: &str) {
        let mut retries = Retries::default();
        loop {
            let request = PutRequest {
                key: self.own_key.clone().into(),
                value: contents.to_owned().into(),
                ..PutRequest::default()
            };
            match self.client().put(request).await {
                Ok(_) => break,
                Err(error) => retries.pause("register member itself", &error).await,
            }
        }
        tracing::info!(
            memberKey = %self.own_key,
            memberInfo = contents,
            "register member itself successfully"
        );
    }

    /// Watches until the cluster is complete.
    async fn wait(&self, cluster: &mut Cluster, size: usize, revision: i64) {
        let found = cluster.members.len();
        tracing::info!(
            clusterSize = size,
            "found-peers" = found,
            "waiting for peers from discovery service"
        );
        let mut next = revision + 1;
        while cluster.members.len() < size {
            let RangeRequest { key, range_end, .. } = prefix(&self.members);
            let request = WatchCreateRequest {
                key,
                range_end,
                start_revision: next,
                ..WatchCreateRequest::default()
            };
            let mut watcher = self.client.watch(request).await;
            while let Some(response) = watcher.next().await {
                next = next.max(response.header.revision + 1);
                let events: Vec<_> =
                    response.events.into_iter().filter_map(|event| event.kv).collect();
                cluster.add_all(&events);
                if cluster.members.len() >= size {
                    break;
                }
            }
        }
        let found = cluster.members.len();
        tracing::info!(
            clusterSize = size,
            "found-peers" = found,
            "found all needed peers from discovery service"
        );
    }
}

fn read_size(value: Option<&[u8]>) -> Result<usize, DiscoveryError> {
    let value = value.ok_or(DiscoveryError::SizeNotFound)?;
    let text = std::str::from_utf8(value).map_err(|_| DiscoveryError::BadSize)?;
    let size = text.parse::<i64>().ok().filter(|size| *size > 0);
    size.and_then(|size| usize::try_from(size).ok()).ok_or(DiscoveryError::BadSize)
}

/// Everything below a prefix.
fn prefix(prefix: &str) -> RangeRequest {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("the prefix of members has letters") += 1;
    RangeRequest { range_end: end.into(), ..client::kv::get(prefix.to_owned()) }
}

/// The pauses between failures.
#[derive(Default)]
struct Retries(u32);

impl Retries {
    async fn pause(&mut self, step: &str, error: &client::error::Error) {
        self.0 += 1;
        let backoff = Duration::from_secs(1 << self.0.min(GROWING_RETRIES));
        let error = error.message();
        tracing::warn!(reason = step, ?backoff, %error, "retry connecting to discovery service");
        tokio::time::sleep(backoff).await;
    }
}

/// TLS as the flags ask for it; certificates are asked for by naming any file.
fn client_tls(config: &DiscoveryConfig) -> Result<Option<tls::Connector>, String> {
    let file = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
    let (cert, key) = (file(&config.cert), file(&config.key));
    let trusted_ca_file = file(&config.cacert);
    let server_name = (!config.server_name.is_empty()).then(|| config.server_name.clone());
    let named = cert.is_some() || key.is_some() || trusted_ca_file.is_some();
    if !named && server_name.is_none() && config.insecure_transport {
        return Ok(None);
    }
    if cert.is_some() != key.is_some() {
        let (key, cert) = (&config.key, &config.cert);
        return Err(format!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"));
    }
    let connector = client::config::connector(tls::ClientOptions {
        trusted_ca_file,
        key_pair: cert.zip(key),
        server_name,
        insecure_skip_verify: config.insecure_skip_tls_verify,
        ..tls::ClientOptions::default()
    });
    connector.map(Some).map_err(|error| error.to_string())
}

fn client_config(config: &DiscoveryConfig) -> Result<ClientConfig, String> {
    let endpoints = config.endpoints.iter().map(|text| Endpoint::parse(text)).collect();
    let mut client = ClientConfig::new(endpoints);
    client.dial_timeout = Some(config.dial_timeout.to_std());
    client.keepalive_time = Some(config.keepalive_time.to_std());
    client.keepalive_timeout = config.keepalive_timeout.to_std();
    let (name, password) = (config.user.clone(), config.password.clone());
    if !config.auth_token.is_empty() {
        client.credentials = Some(Credentials::Token(config.auth_token.clone()));
    } else if !name.is_empty() && !password.is_empty() {
        client.credentials = Some(Credentials::Password { name, password });
    }
    if config.max_request_bytes > 0 {
        client.max_request_bytes = config.max_request_bytes as usize;
    }
    if config.max_recv_bytes > 0 {
        client.max_recv_bytes = config.max_recv_bytes as usize;
    }
    client.tls = client_tls(config)?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "/_etcd/registry/t/members/a";

    #[test]
    fn who_comes_first_is_in() {
        let mut cluster = Cluster::default();
        cluster.add("/k/c", "c=http://c:1", 9).unwrap();
        cluster.add(A, "a=http://a:1,a=http://a:2", 5).unwrap();
        cluster.add("/k/b", "b=http://b:1", 7).unwrap();
        assert_eq!(
            cluster.add(A, "a=http://a:1", 5),
            Err("found duplicate peer from discovery service")
        );
        let invalid = Err("invalid peer info returned from discovery service");
        assert_eq!(cluster.add("/k/d", "http://d:1", 5), invalid);
        let two = cluster.initial_cluster(2).unwrap();
        assert_eq!(two, "a=http://a:1,a=http://a:2,b=http://b:1");
        assert!(cluster.has_room_for("/k/b", 2));
        assert!(!cluster.has_room_for("/k/c", 2));
        assert!(!cluster.has_room_for("/k/new", 3));
        assert!(cluster.has_room_for("/k/new", 4));
        cluster.add("/k/z", "z=nonsense", 1).unwrap();
        assert!(matches!(cluster.initial_cluster(1), Err(DiscoveryError::InvalidUrl)));
    }

    #[test]
    fn sizes_are_positive_numbers() {
        assert_eq!(read_size(Some(b"3")).unwrap(), 3);
        assert!(matches!(read_size(None), Err(DiscoveryError::SizeNotFound)));
        for bad in [&b""[..], b"0", b"-1", b"x", b"3 ", b"\xff", b"99999999999999999999"] {
            assert!(matches!(read_size(Some(bad)), Err(DiscoveryError::BadSize)), "{bad:?}");
        }
    }

    #[test]
    fn certificates_come_in_pairs() {
        let mut config = config::Config::default().discovery;
        assert!(client_tls(&config).unwrap().is_none());
        config.cert = "a.crt".into();
        let text = client_tls(&config).err();
        let expected = "KeyFile and CertFile must both be present[key: , cert: a.crt]";
        assert_eq!(text.as_deref(), Some(expected));
        config.cert.clear();
        config.insecure_transport = false;
        config.insecure_skip_tls_verify = true;
        assert!(client_tls(&config).unwrap().is_some());
    }

    #[test]
    fn keys_are_etcds() {
        assert_eq!(join_path(&[PREFIX, "t", "members", "a"]), A);
        assert_eq!(
            join_path(&[PREFIX, "/t/../u/", "_config/size"]),
            "/_etcd/registry/u/_config/size"
        );
        let RangeRequest { key, range_end, .. } = prefix("/a/members");
        assert_eq!((&key[..], &range_end[..]), (&b"/a/members"[..], &b"/a/membert"[..]));
    }
}
