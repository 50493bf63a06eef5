//! Whether a client connects from an address that its certificate names (etcd's `checkCertSAN`).
//!
//! A certificate that names nothing passes. One that names addresses passes if the client's is
//! among them. One that names hosts passes if the client's address has one of those names (a
//! wildcard stands for any number of labels here), or if one of those names has the client's
//! address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use tokio::sync::Semaphore;

use crate::{
    error::Error,
    identity::{PeerIdentity, VerifiedCertificate},
};

/// Look-ups under way: each takes a thread for as long as the name server takes.
const LOOKUPS_MAX: usize = 64;

static LOOKUPS: LazyLock<std::sync::Arc<Semaphore>> =
    LazyLock::new(|| std::sync::Arc::new(Semaphore::new(LOOKUPS_MAX)));

/// Checks the identity of a connection.
pub(crate) async fn check(identity: &PeerIdentity) -> Result<(), Error> {
    let (Some(certificate), Some(remote)) = (&identity.certificate, identity.remote) else {
        return Ok(());
    };
    let address = remote.ip().to_canonical();
    if names_nothing(certificate) || certificate.ip_addresses.contains(&address) {
        return Ok(());
    }
    if certificate.dns_names.is_empty() {
        let valid: Vec<String> = certificate.ip_addresses.iter().map(IpAddr::to_string).collect();
        let valid = valid.join(", ");
        return Err(Error::Address(format!(
            "x509: certificate is valid for {valid}, not {address}"
        )));
    }
    let permit = LOOKUPS.clone().acquire_owned().await.expect("the semaphore is never closed");
    let names = certificate.dns_names.clone();
    let found = tokio::task::spawn_blocking(move || {
        // Held until the look-up ends, even if the connection is given up before.
        let _permit = permit;
        has_name(address, &names, &reverse_lookup(address), forward_lookup)
    });
    if found.await.expect("a look-up does not panic") {
        return Ok(());
    }
    let names = &certificate.dns_names;
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    let names = names.join(" ");
    Err(Error::Address(format!("tls: \"{address}\" does not match any of DNSNames [{names}]")))
}

fn names_nothing(certificate: &VerifiedCertificate) -> bool {
    certificate.ip_addresses.is_empty() && certificate.dns_names.is_empty()
}

/// Whether one of the certificate's names belongs to the address, which itself has `found` names.
fn has_name(
    address: IpAddr,
    names: &[String],
    found: &[String],
    lookup: impl Fn(&str) -> Vec<IpAddr>,
) -> bool {
    let (wildcards, names): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| name.starts_with("*."));
    let reverse = found.iter().any(|found| {
        let found = found.strip_suffix('.').unwrap_or(found);
        wildcards.iter().any(|wildcard| found.ends_with(&wildcard[1..])) || names.contains(&found)
    });
    reverse || names.iter().any(|name| lookup(name).contains(&address))
}

fn forward_lookup(name: &str) -> Vec<IpAddr> {
    use std::net::ToSocketAddrs;
    let addresses = (name, 0).to_socket_addrs().into_iter().flatten();
    addresses.map(|address: SocketAddr| address.ip().to_canonical()).collect()
}

/// The names of an address, from the file of hosts or from a name server.
fn reverse_lookup(address: IpAddr) -> Vec<String> {
    match address {
        IpAddr::V4(v4) => names_of(&v4.octets(), libc::AF_INET),
        IpAddr::V6(v6) => names_of(&v6.octets(), libc::AF_INET6),
    }
}

unsafe extern "C" {
    /// The look-up of glibc and musl that yields aliases too, unlike `getnameinfo`.
    fn gethostbyaddr_r(
        address: *const libc::c_void,
        length: libc::socklen_t,
        family: libc::c_int,
        entry: *mut libc::hostent,
        buffer: *mut libc::c_char,
        buffer_length: libc::size_t,
        result: *mut *mut libc::hostent,
        error: *mut libc::c_int,
    ) -> libc::c_int;
}

/// All names of an address of this family.
fn names_of(octets: &[u8], family: libc::c_int) -> Vec<String> {
    const BUFFER_MAX: usize = 64 * 1024;
    let length = libc::socklen_t::try_from(octets.len()).expect("an address has 4 or 16 bytes");
    let mut buffer = vec![0; 4096];
    loop {
        // SAFETY: all zeros is a value of this plain C structure, and nothing reads it before it
        // is filled.
        let mut entry: libc::hostent = unsafe { std::mem::zeroed() };
        let mut result = std::ptr::null_mut();
        let mut error = 0;
        // SAFETY: every pointer is to a live value of the type and length that is given with it.
        let status = unsafe {
            gethostbyaddr_r(
                octets.as_ptr().cast(),
                length,
                family,
                &raw mut entry,
                buffer.as_mut_ptr(),
                buffer.len(),
                &raw mut result,
                &raw mut error,
            )
        };
        if status == libc::ERANGE && buffer.len() < BUFFER_MAX {
            buffer.resize(buffer.len() * 2, 0);
            continue;
        }
        if status != 0 || result.is_null() {
            return Vec::new();
        }
        // SAFETY: on success `entry` points into `buffer`, which lives until the end of this turn.
        return unsafe { texts(&entry) };
    }
}

/// The name and the aliases of an entry.
///
/// # Safety
/// The entry was filled by a successful look-up, and its buffer is alive.
unsafe fn texts(entry: &libc::hostent) -> Vec<String> {
    // SAFETY: the entry's texts end with a zero byte.
    let text = |text: *const libc::c_char| unsafe {
        std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
    };
    let mut names = Vec::new();
    if !entry.h_name.is_null() {
        names.push(text(entry.h_name));
    }
    let mut alias = entry.h_aliases;
    // SAFETY: the list of aliases ends with a null pointer.
    while !alias.is_null() && !unsafe { *alias }.is_null() {
        // SAFETY: as above.
        names.push(text(unsafe { *alias }));
        // SAFETY: the end was not reached.
        alias = unsafe { alias.add(1) };
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

    fn check(names: &[&str], found: &[&str]) -> bool {
        let owned = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
        let lookup = |name: &str| if name == "seven.example" { vec![CLIENT] } else { vec![] };
        has_name(CLIENT, &owned(names), &owned(found), lookup)
    }

    #[test]
    fn names_are_looked_up_both_ways() {
        assert!(check(&["seven.example"], &[]));
        assert!(!check(&["eight.example"], &["seven.example."]));
        assert!(check(&["eight.example"], &["other", "eight.example."]));
        // A wildcard is for names that the address has, at any depth, and never looked up itself.
        assert!(check(&["*.svc"], &["a.b.svc."]));
        assert!(!check(&["*.svc"], &["svc."]));
        assert!(!check(&["*.seven.example"], &[]));
    }

    #[test]
    fn the_loopback_address_has_a_name() {
        let names = reverse_lookup(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        assert!(names.iter().any(|name| name.starts_with("localhost")), "{names:?}");
        assert!(forward_lookup("localhost").iter().any(IpAddr::is_loopback));
    }
}
