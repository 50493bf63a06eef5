//! The list of revoked certificates (`--client-crl-file`, `--peer-crl-file`).
//!
//! etcd's rule: a connection is refused when the serial number of any certificate that the other
//! side sent is on the list, whoever signed either. Neither the list's signature nor its date is
//! looked at; the file is as trusted as the other ones.

use std::collections::BTreeSet;

use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject};

use crate::{
    der::{BIT_STRING, GENERALIZED_TIME, INTEGER, Malformed, Reader, SEQUENCE, UTC_TIME},
    x509::significant,
};

/// The serial numbers of a list.
#[derive(Debug, Default)]
pub(crate) struct RevocationList {
    serials: BTreeSet<Vec<u8>>,
}

impl RevocationList {
    /// Reads a list in DER, which is all that etcd takes, or in PEM.
    pub(crate) fn parse(file: &[u8]) -> Result<RevocationList, Malformed> {
        if file.first() == Some(&SEQUENCE) {
            return parse_der(file);
        }
        let der = CertificateRevocationListDer::from_pem_slice(file).map_err(|_| Malformed)?;
        parse_der(&der)
    }

    /// Whether a serial number, without leading zeros, is on the list.
    pub(crate) fn contains(&self, serial: &[u8]) -> bool {
        self.serials.contains(serial)
    }
}

fn parse_der(der: &[u8]) -> Result<RevocationList, Malformed> {
    let mut outer = Reader::new(der);
    let mut list = outer.inside(SEQUENCE)?;
    outer.end()?;
    let mut fields = list.inside(SEQUENCE)?;
    list.expect(SEQUENCE)?;
    list.expect(BIT_STRING)?;
    list.end()?;

    fields.optional(INTEGER)?;
    fields.expect(SEQUENCE)?;
    fields.expect(SEQUENCE)?;
    skip_time(&mut fields)?;
    if matches!(fields.peek(), Some(UTC_TIME | GENERALIZED_TIME)) {
        skip_time(&mut fields)?;
    }
    let mut serials = BTreeSet::new();
    if let Some(revoked) = fields.optional(SEQUENCE)? {
        let mut revoked = Reader::new(revoked.contents);
        while !revoked.is_empty() {
            let mut entry = revoked.inside(SEQUENCE)?;
            serials.insert(significant(entry.expect(INTEGER)?.contents).to_vec());
            skip_time(&mut entry)?;
        }
    }
    Ok(RevocationList { serials })
}

fn skip_time(fields: &mut Reader<'_>) -> Result<(), Malformed> {
    match fields.element()?.tag {
        UTC_TIME | GENERALIZED_TIME => Ok(()),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::authority::Authority;

    #[test]
    fn serial_numbers_are_found() {
        let authority = Authority::new("ca");
        let list = authority.revocation_list(&[1, 0x80, 0xffff_ffff]);
        let read = RevocationList::parse(&list).unwrap();
        for serial in [&[1][..], &[0x80], &[0xff; 4]] {
            assert!(read.contains(serial));
        }
        assert!(!read.contains(&[2]) && !read.contains(&[]));
        let none = RevocationList::parse(&authority.revocation_list(&[])).unwrap();
        assert!(none.serials.is_empty());
    }

    #[test]
    fn a_piece_of_a_list_is_none() {
        let list = Authority::new("ca").revocation_list(&[1, 2, 3]);
        for end in 0..list.len() {
            assert!(RevocationList::parse(&list[..end]).is_err(), "{end}");
        }
    }
}
