//! The address by which other machines reach this one.

use std::net::UdpSocket;

/// The source address of packets that take the default route, IPv4 before IPv6. Nothing is sent.
pub fn default_host() -> Result<String, String> {
    // Addresses reserved for documentation: only the default route leads there.
    let routes = [("0.0.0.0:0", "203.0.113.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    for (local, far) in routes {
        if let Ok(host) = source_address(local, far) {
            return Ok(host);
        }
    }
    Err("could not find default route".to_string())
}

fn source_address(local: &str, far: &str) -> std::io::Result<String> {
    let socket = UdpSocket::bind(local)?;
    socket.connect(far)?;
    Ok(socket.local_addr()?.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_etcds_error() {
        match default_host() {
            Ok(host) => {
                let address: std::net::IpAddr = host.parse().expect("an address");
                assert!(!address.is_unspecified());
            }
            Err(error) => assert_eq!(error, "could not find default route"),
        }
    }
}
