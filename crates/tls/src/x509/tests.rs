//! Reading certificates, and bytes that are none.

use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::*;
use crate::tests::authority::testdata;

fn der(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(testdata(name)).unwrap()
}

#[test]
fn the_fields_of_a_certificate_are_read() {
    let der = der("kubeadm-server.crt");
    let read = Certificate::parse(&der).unwrap();
    assert_eq!(read.serial, [0x10, 0x04]);
    assert_eq!(read.common_name().unwrap(), "node1");
    assert_eq!(read.dns_names, ["localhost"]);
    let addresses: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    assert_eq!(read.ip_addresses, addresses);
    // 2020-01-01 and 2120-01-01.
    assert_eq!((read.not_before, read.not_after), (1_577_836_800, 4_733_510_400));
    assert!(read.is_valid_at(1_577_836_800) && !read.is_valid_at(1_577_836_799));
    assert!(read.serves(Purpose::Client) && read.serves(Purpose::Server));
    assert!(read.is_v3 && !read.may_issue() && !read.has_unknown_critical);
}

#[test]
fn an_authority_may_issue_and_an_old_certificate_too() {
    let (ca, old) = (der("ca-rsa.crt"), der("v1-client.crt"));
    let (ca, old) = (Certificate::parse(&ca).unwrap(), Certificate::parse(&old).unwrap());
    assert!(ca.may_issue());
    assert!(!old.is_v3 && old.may_issue());
    let algorithms = crate::algorithms::ALGORITHMS.all;
    assert!(ca.is_signed_by(&ca, algorithms) && old.is_signed_by(&ca, algorithms));
    assert!(!ca.is_signed_by(&old, algorithms));
    // etcd's own authority says that it may not sign certificates: its key usage lacks that.
    let auto = der("etcd-auto.crt");
    let auto = Certificate::parse(&auto).unwrap();
    assert!(!auto.may_issue() && auto.is_signed_by(&auto, algorithms));
    assert_eq!(auto.common_name().unwrap(), "");
    assert!(auto.serves(Purpose::Server) && !auto.serves(Purpose::Client));
}

#[test]
fn a_changed_byte_breaks_the_signature() {
    let algorithms = crate::algorithms::ALGORITHMS.all;
    for (ca, leaf) in [
        ("ca-p521.crt", "p521-server.crt"),
        ("ca-ec.crt", "sha512-client.crt"),
        ("ca-p384.crt", "ca-p384.crt"),
        ("ca-rsa.crt", "v1-client.crt"),
    ] {
        let (ca, leaf) = (der(ca), der(leaf));
        let ca = Certificate::parse(&ca).unwrap();
        for at in [leaf.len() / 3, leaf.len() - 5] {
            let mut changed = leaf.to_vec();
            changed[at] ^= 1;
            let signed =
                Certificate::parse(&changed).is_ok_and(|read| read.is_signed_by(&ca, algorithms));
            assert!(!signed, "byte {at}");
        }
        assert!(Certificate::parse(&leaf).unwrap().is_signed_by(&ca, algorithms));
    }
}

#[test]
fn dates_are_those_of_the_calendar() {
    let time = |tag: u8, text: &str| {
        let mut bytes = vec![tag, u8::try_from(text.len()).unwrap()];
        bytes.extend(text.bytes());
        read_time(&mut Reader::new(&bytes))
    };
    for (tag, text, seconds) in [
        (UTC_TIME, "700101000000Z", 0),
        (UTC_TIME, "491231235959Z", 2_524_607_999),
        (UTC_TIME, "500101000000Z", -631_152_000),
        (GENERALIZED_TIME, "20000229120000Z", 951_825_600),
        (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
    ] {
        assert_eq!(time(tag, text), Ok(seconds), "{text}");
    }
    for (tag, text) in [
        (UTC_TIME, "7001010000Z"),
        (UTC_TIME, "700101000000+0100"),
        (UTC_TIME, "701301000000Z"),
        (UTC_TIME, "70010100000aZ"),
        (GENERALIZED_TIME, "20000101240000Z"),
        (INTEGER, "700101000000Z"),
    ] {
        assert_eq!(time(tag, text), Err(Malformed), "{text}");
    }
}

#[test]
fn texts_of_names_are_read_in_their_own_way() {
    assert_eq!(read_text(0x0c, "zoë".as_bytes()), Ok("zoë".to_owned()));
    assert_eq!(read_text(0x14, &[0x7a, 0x6f, 0xeb]), Ok("zoë".to_owned()));
    assert_eq!(read_text(0x1e, &[0, 0x7a, 0, 0x6f, 0, 0xeb]), Ok("zoë".to_owned()));
    assert_eq!(read_text(0x13, "zoë".as_bytes()), Err(Malformed));
    assert_eq!(read_text(0x1e, &[0]), Err(Malformed));
    assert_eq!(read_text(0x02, b"1"), Err(Malformed));
}

proptest! {
    #[test]
    fn bytes_that_are_no_certificate_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Certificate::parse(&bytes).is_err());
    }

    #[test]
    fn damage_never_panics(at in 0usize..600, byte in any::<u8>(), cut in 0usize..600) {
        for name in ["p521-server.crt", "etcd-auto.crt", "v1-client.crt"] {
            let mut bytes = der(name).to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(read) = Certificate::parse(&bytes) {
                let _whatever = (read.common_name(), read.serves(Purpose::Client));
            }
            prop_assert!(Certificate::parse(&bytes[..cut % bytes.len()]).is_err());
        }
    }
}
