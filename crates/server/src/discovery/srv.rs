//! Discovery by DNS: the SRV records of a domain name the members; which of them is this one is
//! told by its addresses.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
};

use client::dns::{Resolver, SrvRecord};
use config::Url;

/// What the records say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// `name=url` of each member.
    pub(super) members: Vec<String>,
    /// What went wrong with one scheme or the other; of no account if there are members.
    pub(super) errors: Vec<String>,
}

/// Looks up the members of `domain`, with TLS and without; `suffix` is of `--discovery-srv-name`,
/// `name` and `advertised` are this member's.
pub(super) async fn members(
    resolver: &Resolver,
    domain: &str,
    suffix: &str,
    name: &str,
    advertised: &[String],
) -> Found {
    let suffix = if suffix.is_empty() { String::new() } else { format!("-{suffix}") };
    let mut found = Found::default();
    for (scheme, service) in [("https", "etcd-server-ssl"), ("http", "etcd-server")] {
        let service = format!("{service}{suffix}");
        let members = members_of(resolver, domain, scheme, &service, name, advertised).await;
        tracing::info!(
            "service-scheme" = scheme,
            "service-name" = %service,
            "server-name" = name,
            "discovery-srv" = domain,
            "found-cluster" = ?members,
            "looked up members by SRV"
        );
        match members {
            Ok(members) => found.members.extend(members),
            Err(error) => found.errors.push(error),
        }
    }
    found
}

async fn members_of(
    resolver: &Resolver,
    domain: &str,
    scheme: &str,
    service: &str,
    name: &str,
    advertised: &[String],
) -> Result<Vec<String>, String> {
    let mut own = HashMap::new();
    for text in advertised {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        let address = resolve(url.host()).await.map_err(|error| error.to_string())?;
        own.insert(address, url);
    }
    let wrapped = |error: String| format!("error querying DNS SRV records for _{service} {error}");
    let records = resolver.srv(service, domain).await.map_err(wrapped)?;
    let mut resolved = Vec::new();
    for record in records {
        let address = resolve(&host_port(&record.target, record.port)).await;
        resolved.push((record, address));
    }
    name_members(scheme, service, name, &own, resolved).map_err(wrapped)
}

/// Names the members: this one by its name, all others by a count. A record that does not resolve,
/// or is this member under another scheme, is left out; that is an error if nothing is left.
fn name_members(
    scheme: &str,
    service: &str,
    name: &str,
    own: &HashMap<SocketAddr, Url>,
    records: Vec<(SrvRecord, io::Result<SocketAddr>)>,
) -> Result<Vec<String>, String> {
    let mut members = Vec::new();
    let mut count = 0;
    let mut last = None;
    for (record, address) in records {
        let address = match address {
            Ok(address) => address,
            Err(error) => {
                last = Some(error.to_string());
                continue;
            }
        };
        let advertised = own.get(&address);
        let member = match advertised {
            Some(_) if !name.is_empty() => name.to_owned(),
            _ => {
                count += 1;
                (count - 1).to_string()
            }
        };
        let host = host_port(&record.target, record.port);
        match advertised.filter(|url| url.scheme() != scheme) {
            Some(url) => {
                last = Some(format!(
                    "bootstrap at {scheme}://{host} from DNS for {service} has scheme mismatch \
                     with expected peer {url}"
                ));
            }
            None => members.push(format!("{member}={scheme}://{host}")),
        }
    }
    match last {
        Some(error) if members.is_empty() => Err(error),
        _ => Ok(members),
    }
}

/// A host and a port as they stand in a URL.
fn host_port(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// The address of `host:port`, by preference one of IPv4.
async fn resolve(host: &str) -> io::Result<SocketAddr> {
    let mut addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let first = addresses.into_iter().next();
    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(target: &str, address: &str) -> (SrvRecord, io::Result<SocketAddr>) {
        let address: SocketAddr = address.parse().unwrap();
        let (target, port) = (target.to_owned(), address.port());
        (SrvRecord { priority: 0, weight: 0, port, target }, Ok(address))
    }

    fn unknown(target: &str) -> (SrvRecord, io::Result<SocketAddr>) {
        let record = record(target, "10.0.0.9:2380").0;
        (record, Err(io::Error::other(format!("lookup {target}: no such host"))))
    }

    fn name(
        scheme: &str,
        own: &str,
        records: Vec<(SrvRecord, io::Result<SocketAddr>)>,
    ) -> Result<Vec<String>, String> {
        let url = Url::parse(own).unwrap();
        let own = HashMap::from([("10.0.0.1:2380".parse().unwrap(), url)]);
        name_members(scheme, "etcd-server", "dnsClusterTest", &own, records)
    }

    #[test]
    fn the_own_record_gets_the_name_and_others_a_count() {
        let records = vec![
            record("2.example.com", "10.0.0.2:2480"),
            record("1.example.com", "10.0.0.1:2380"),
            record("3.example.com", "10.0.0.3:2580"),
        ];
        let expected = [
            "0=http://2.example.com:2480",
            "dnsClusterTest=http://1.example.com:2380",
            "1=http://3.example.com:2580",
        ];
        assert_eq!(name("http", "http://1.example.com:2380", records).unwrap(), expected);
    }

    #[test]
    fn records_that_do_not_fit_are_left_out() {
        let records = || {
            vec![
                unknown("x.example.com"),
                record("1.example.com", "10.0.0.1:2380"),
                record("2.example.com", "10.0.0.2:2380"),
            ]
        };
        // The own one by another scheme, too: its count is not used by others.
        let members = name("https", "http://1.example.com:2380", records()).unwrap();
        assert_eq!(members, ["0=https://2.example.com:2380"]);
        let mut only_own = records();
        only_own.truncate(2);
        let error = name("https", "http://1.example.com:2380", only_own).unwrap_err();
        let expected = "bootstrap at https://1.example.com:2380 from DNS for etcd-server has scheme \
                        mismatch with expected peer http://1.example.com:2380";
        assert_eq!(error, expected);
        let error = name("http", "http://1:2", vec![unknown("x.example.com")]).unwrap_err();
        assert_eq!(error, "lookup x.example.com: no such host");
        assert_eq!(name("http", "http://1:2", Vec::new()), Ok(Vec::new()));
    }

    #[test]
    fn addresses_of_version_6_stand_in_brackets() {
        assert_eq!(host_port("a.example.com", 1), "a.example.com:1");
        assert_eq!(host_port("::1", 1), "[::1]:1");
    }
}
