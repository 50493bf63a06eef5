//! Whether a certificate is made out to a host, by the rules of Go's `VerifyHostname`: addresses
//! against addresses, names against names with a wildcard for the leftmost label only. The common
//! name does not count.

use std::net::IpAddr;

use crate::x509::Certificate;

/// Whether `certificate` names `host`, a name or an address (in brackets or not).
pub(crate) fn names_host(certificate: &Certificate<'_>, host: &str) -> bool {
    let unwrapped = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(address) = unwrapped.unwrap_or(host).parse::<IpAddr>() {
        return names_address(certificate, address);
    }
    certificate.dns_names.iter().any(|pattern| matches(pattern, host))
}

/// Whether `certificate` names the address.
pub(crate) fn names_address(certificate: &Certificate<'_>, address: IpAddr) -> bool {
    certificate.ip_addresses.contains(&address.to_canonical())
}

/// Whether a name of a certificate stands for `host`.
fn matches(pattern: &str, host: &str) -> bool {
    if !is_valid(host, false) || !is_valid(pattern, true) {
        return !host.is_empty() && pattern.eq_ignore_ascii_case(host) && host != ".";
    }
    let pattern = pattern.strip_suffix('.').unwrap_or(pattern);
    let host = host.strip_suffix('.').unwrap_or(host);
    let (patterns, labels): (Vec<_>, Vec<_>) =
        (pattern.split('.').collect(), host.split('.').collect());
    patterns.len() == labels.len()
        && patterns.iter().zip(&labels).enumerate().all(|(at, (pattern, label))| {
            (at == 0 && *pattern == "*") || pattern.eq_ignore_ascii_case(label)
        })
}

/// Whether the text looks like a host name; a pattern may begin with a `*` label.
fn is_valid(text: &str, is_pattern: bool) -> bool {
    let text = if is_pattern { text } else { text.strip_suffix('.').unwrap_or(text) };
    !text.is_empty()
        && text.split('.').enumerate().all(|(at, label)| {
            let wildcard = is_pattern && at == 0 && label == "*";
            wildcard || (!label.is_empty() && !label.starts_with('-') && is_label(label))
        })
}

fn is_label(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_one_label_at_the_left() {
        for (pattern, host) in [
            ("etcd.example", "ETCD.example"),
            ("*.example", "a.example"),
            ("etcd.example", "etcd.example."),
            ("under_score", "under_score"),
            ("odd name", "odd name"),
        ] {
            assert!(matches(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.example", "a.b.example"),
            ("*.example", "example"),
            ("a.*.example", "a.b.example"),
            ("*", ""),
            ("", ""),
            (".", "."),
            ("*a.example", "ba.example"),
            ("*.example", ".example"),
        ] {
            assert!(!matches(pattern, host), "{pattern} {host}");
        }
    }
}
