//! What a first start makes of the configuration: the initial members, and automatic compaction.
//!
//! Source: etcd's checks of `--initial-cluster` against `--initial-advertise-peer-urls`, in their
//! order and with their texts.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::duration::GoDuration;
use crate::goconv::Quoted;
use crate::settings::{Config, DEFAULT_NAME};
use crate::url::Url;
use crate::urls::{UrlList, UrlsMap};

/// How long a host name may be unknown.
const RESOLVE_FOR: Duration = Duration::from_secs(30);

/// How much history automatic compaction keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// All revisions younger than this.
    Periodic(GoDuration),
    /// This many revisions.
    Revisions(i64),
}

impl Retention {
    /// Whether automatic compaction is off.
    pub fn is_off(self) -> bool {
        matches!(self, Retention::Periodic(GoDuration::ZERO) | Retention::Revisions(0))
    }
}

impl Config {
    /// The members of `--initial-cluster`. The error is the one with which etcd fails to start.
    pub fn initial_members(&self) -> Result<UrlsMap, String> {
        UrlsMap::parse(&self.initial_cluster)
            .map_err(|error| format!("error setting up initial cluster: {error}"))
    }

    /// Checks that `--initial-cluster` names this member, with the URLs that it advertises, and no
    /// URL twice. Host names are resolved where the texts differ.
    pub fn verify_bootstrap(&self) -> Result<UrlsMap, String> {
        let members = self.initial_members()?;
        self.verify_advertised(self.require_local(&members)?)?;
        verify_unique(&members)?;
        Ok(members)
    }

    /// Checks that `--initial-cluster` names this member and no URL twice, which is all that joining
    /// an existing cluster asks of it: the cluster knows the URLs.
    pub fn verify_join(&self) -> Result<UrlsMap, String> {
        let members = self.initial_members()?;
        self.require_local(&members)?;
        verify_unique(&members)?;
        Ok(members)
    }

    fn require_local<'a>(&self, members: &'a UrlsMap) -> Result<&'a [Url], String> {
        let own = members.0.get(&self.name).map(Vec::as_slice);
        own.ok_or_else(|| {
            let name = Quoted(&self.name);
            format!("couldn't find local name {name} in the initial cluster configuration")
        })
    }

    fn verify_advertised(&self, in_cluster: &[Url]) -> Result<(), String> {
        let mut advertised = self.initial_advertise_peer_urls.texts();
        advertised.sort();
        let in_cluster: Vec<String> = in_cluster.iter().map(Url::to_string).collect();
        let Err(why) = same_addresses(&advertised, &in_cluster) else {
            return Ok(());
        };
        let own = |url: &&String| format!("{}={url}", self.name);
        let missing: Vec<String> = in_cluster
            .iter()
            .filter(|url| !advertised.contains(url))
            .map(|url| own(&url))
            .collect();
        if !missing.is_empty() {
            let (missing, advertised) = (missing.join(","), advertised.join(","));
            let flag = "--initial-advertise-peer-urls";
            return Err(format!(
                "--initial-cluster has {missing} but missing from {flag}={advertised} ({why})"
            ));
        }
        let extra: Vec<&str> =
            advertised.iter().filter(|url| !in_cluster.contains(url)).map(String::as_str).collect();
        let cluster = advertised.iter().map(|url| own(&url)).collect::<Vec<_>>().join(",");
        if !extra.is_empty() {
            let extra = extra.join(",");
            return Err(format!(
                "--initial-advertise-peer-urls has {extra} but missing from \
                 --initial-cluster={cluster}"
            ));
        }
        let advertised = advertised.join(",");
        Err(format!("failed to resolve {advertised} to match --initial-cluster={cluster} ({why})"))
    }

    /// The history that automatic compaction keeps: a plain number counts hours or, in mode
    /// `revision`, revisions. The error is etcd's.
    pub fn auto_compaction_retention(&self) -> Result<Retention, String> {
        let text = match self.auto_compaction_retention.as_str() {
            "" => "0",
            text => text,
        };
        let by_revision = self.auto_compaction_mode == "revision";
        let nanos = match text.parse::<i64>() {
            Ok(number) if number >= 0 && by_revision => return Ok(Retention::Revisions(number)),
            Ok(hours) if hours >= 0 => hours.wrapping_mul(3_600_000_000_000),
            _ => GoDuration::parse(text)
                .map_err(|error| format!("error parsing CompactionRetention: {error}"))?
                .nanos(),
        };
        // In mode `revision` etcd reads the nanoseconds of a duration as a count.
        Ok(if by_revision {
            Retention::Revisions(nanos)
        } else {
            Retention::Periodic(GoDuration::from_nanos(nanos))
        })
    }

    /// The value of `--initial-cluster` for a member of this name with the advertised peer URLs.
    pub fn initial_cluster_from_name(&self, name: &str) -> String {
        let name = if name.is_empty() { DEFAULT_NAME } else { name };
        let urls = self.initial_advertise_peer_urls.texts();
        urls.iter().map(|url| format!("{name}={url}")).collect::<Vec<_>>().join(",")
    }

    /// Puts this machine's address in the place of default advertised URLs where the listener is on
    /// every address, and lets the default cluster follow the name. Returns whether the address was
    /// used.
    pub(crate) fn adopt_default_host(&mut self, host: Option<&str>) -> bool {
        let default_cluster = Config::default().initial_cluster;
        let mut used = false;
        if let Some(host) = host {
            let default = Config::default().initial_advertise_peer_urls;
            let listen = &self.listen_peer_urls;
            used |= adopt_host(&mut self.initial_advertise_peer_urls, &default, listen, host);
        }
        if self.name != DEFAULT_NAME && self.initial_cluster == default_cluster {
            self.initial_cluster = self.initial_cluster_from_name(&self.name);
        }
        if let Some(host) = host {
            let default = Config::default().advertise_client_urls;
            let listen = &self.listen_client_urls;
            used |= adopt_host(&mut self.advertise_client_urls, &default, listen, host);
        }
        used
    }
}

fn verify_unique(members: &UrlsMap) -> Result<(), String> {
    if members.urls().windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(format!("initial cluster {} has duplicate url", members.joined()));
    }
    Ok(())
}

fn adopt_host(advertised: &mut UrlList, default: &UrlList, listen: &UrlList, host: &str) -> bool {
    let Some(first) = listen.first() else { return false };
    if advertised.texts() != default.texts() || first.hostname() != "0.0.0.0" {
        return false;
    }
    let scheme = advertised[0].scheme().to_string();
    advertised.replace_first(Url::from_parts(&scheme, &format!("{host}:{}", first.port())));
    true
}

/// Whether two sorted lists of URLs name the same addresses; the error says what differs. May look
/// names up.
pub fn same_addresses(ours: &[String], theirs: &[String]) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("len({}) != len({})", quoted_list(ours), quoted_list(theirs)));
    }
    if ours == theirs {
        return Ok(());
    }
    let resolve = |urls: &[String]| {
        let mut all = urls.iter().map(|url| resolve(url)).collect::<Result<Vec<_>, _>>()?;
        all.sort();
        Ok::<_, String>(all)
    };
    let (ours, theirs) = (resolve(ours)?, resolve(theirs)?);
    match ours.iter().zip(&theirs).find(|(our, their)| our != their) {
        Some((our, their)) => Err(format!("resolved urls: {} != {}", Quoted(our), Quoted(their))),
        None => Ok(()),
    }
}

fn resolve(text: &str) -> Result<String, String> {
    let url = Url::parse(text)?;
    if url.is_unix() || url.hostname() == "localhost" {
        return Ok(text.to_string());
    }
    let failed = |why: String| format!("failed to resolve {} ({why})", Quoted(text));
    let mut addresses =
        look_up(url.host(), RESOLVE_FOR).map_err(|error| failed(error.to_string()))?;
    let address = addresses.next().ok_or_else(|| failed("no address".to_string()))?;
    Ok(Url::from_parts(url.scheme(), &address.to_string()).to_string())
}

/// Looks a name up; one that is not known yet may become so (a member starts before its own record
/// is out), so that failures are tried again each second for as long as `limit`.
fn look_up(host: &str, limit: Duration) -> std::io::Result<std::vec::IntoIter<SocketAddr>> {
    let began = Instant::now();
    loop {
        match host.to_socket_addrs() {
            Err(_) if began.elapsed() < limit => std::thread::sleep(Duration::from_secs(1)),
            answer => return answer,
        }
    }
}

/// A list of texts as Go's `%q` shows it.
pub(crate) fn quoted_list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| Quoted(text).to_string()).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, cluster: &str, advertised: &str) -> Config {
        let mut config =
            Config { name: name.into(), initial_cluster: cluster.into(), ..Config::default() };
        config.initial_advertise_peer_urls.set(advertised, "").expect("valid URLs");
        config
    }

    #[test]
    fn a_cluster_must_name_this_member_and_its_urls() {
        let cases = [
            (
                "a",
                "b=http://1.1.1.1:1",
                "http://1.1.1.1:1",
                "couldn't find local name \"a\" in the initial cluster configuration",
            ),
            (
                "a",
                "a=http://1.1.1.1:1,a=http://1.1.1.1:2",
                "http://1.1.1.1:1",
                "--initial-cluster has a=http://1.1.1.1:2 but missing from \
              --initial-advertise-peer-urls=http://1.1.1.1:1 (len([\"http://1.1.1.1:1\"]) != \
              len([\"http://1.1.1.1:1\" \"http://1.1.1.1:2\"]))",
            ),
            (
                "a",
                "a=http://1.1.1.1:2",
                "http://1.1.1.1:1",
                "--initial-cluster has a=http://1.1.1.1:2 but missing from \
              --initial-advertise-peer-urls=http://1.1.1.1:1 (resolved urls: \"http://1.1.1.1:1\" \
              != \"http://1.1.1.1:2\")",
            ),
            (
                "a",
                "a=http://1.1.1.1:1",
                "http://1.1.1.1:1,http://1.1.1.1:2",
                "--initial-advertise-peer-urls has http://1.1.1.1:2 but missing from \
              --initial-cluster=a=http://1.1.1.1:1,a=http://1.1.1.1:2",
            ),
            (
                "a",
                "a=http://1.1.1.1:1,b=http://1.1.1.1:1",
                "http://1.1.1.1:1",
                "initial cluster a=http://1.1.1.1:1,b=http://1.1.1.1:1 has duplicate url",
            ),
            (
                "a",
                "a=foo",
                "http://1.1.1.1:1",
                "error setting up initial cluster: URL scheme must be http, https, unix, or \
                 unixs: foo",
            ),
        ];
        for (name, cluster, advertised, error) in cases {
            let answer = config(name, cluster, advertised).verify_bootstrap();
            assert_eq!(answer, Err(error.to_string()));
        }
        let answer = config("a", "a=http://localhost:1", "http://localhost:1").verify_bootstrap();
        assert_eq!(answer.expect("consistent").joined(), "a=http://localhost:1");
    }

    #[test]
    fn retention_reads_hours_revisions_and_durations() {
        let read = |mode: &str, text: &str| {
            let (mode, text) = (mode.to_string(), text.to_string());
            let config = Config {
                auto_compaction_mode: mode,
                auto_compaction_retention: text,
                ..Config::default()
            };
            config.auto_compaction_retention()
        };
        let hours = |h: i64| Ok(Retention::Periodic(GoDuration::from_secs(h * 3600)));
        assert_eq!(read("periodic", "2"), hours(2));
        assert_eq!(read("periodic", "2h"), hours(2));
        assert_eq!(read("revision", "1000"), Ok(Retention::Revisions(1000)));
        assert!(read("periodic", "").is_ok_and(Retention::is_off));
        assert!(read("periodic", "0s").is_ok_and(Retention::is_off));
        let error = "error parsing CompactionRetention: time: invalid duration \"x\"";
        assert_eq!(read("periodic", "x"), Err(error.to_string()));
    }

    #[test]
    fn the_default_host_replaces_default_urls_alone() {
        let mut config = Config { name: "n".into(), ..Config::default() };
        config.listen_peer_urls.set("http://0.0.0.0:12380", "").expect("valid");
        config.listen_client_urls.set("http://127.0.0.1:12379", "").expect("valid");
        assert!(config.adopt_default_host(Some("10.0.0.9")));
        assert_eq!(config.initial_advertise_peer_urls.texts(), ["http://10.0.0.9:12380"]);
        assert_eq!(config.advertise_client_urls.texts(), ["http://localhost:2379"]);
        assert_eq!(config.initial_cluster, "n=http://10.0.0.9:12380");

        let mut config = Config { name: "n".into(), ..Config::default() };
        assert!(!config.adopt_default_host(None));
        assert_eq!(config.initial_cluster, "n=http://localhost:2380");
    }
}
