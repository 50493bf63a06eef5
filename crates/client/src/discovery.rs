//! Endpoints of a domain, from its SRV records: `_etcd-client-ssl._tcp` and `_etcd-client._tcp`.

use crate::dns::Resolver;

/// The endpoints that `domain` names, those with TLS first; `name` is a suffix of the service, or
/// empty. An error when neither service has records.
pub async fn endpoints(
    resolver: &Resolver,
    domain: &str,
    name: &str,
) -> Result<Vec<String>, String> {
    let suffix = if name.is_empty() { String::new() } else { format!("-{name}") };
    let mut endpoints = Vec::new();
    let mut errors = Vec::new();
    for (scheme, service) in [("https", "etcd-client-ssl"), ("http", "etcd-client")] {
        match resolver.srv(&format!("{service}{suffix}"), domain).await {
            Ok(records) => endpoints.extend(
                records
                    .iter()
                    .map(|record| format!("{scheme}://{}:{}", record.target, record.port)),
            ),
            Err(error) => errors.push(error),
        }
    }
    match &errors[..] {
        [with_tls, without] => Err(format!("dns lookup errors: {with_tls} and {without}")),
        _ => Ok(endpoints),
    }
}
