//! What is read of an X.509 certificate (RFC 5280): names, dates, the extensions that decide what
//! it may be used for, and the parts over which its signature goes.
//!
//! Invariant: reading decides nothing. Whether a certificate is trusted is for `chain` to say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustls::pki_types::SignatureVerificationAlgorithm;

use crate::der::{
    BIT_STRING, GENERALIZED_TIME, INTEGER, Malformed, OCTET_STRING, OID, Reader, SEQUENCE, SET,
    UTC_TIME, constructed, primitive,
};

/// 2.5.4.3, the common name of a subject.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29, the certificate extensions.
const EXTENSIONS: &[u8] = &[0x55, 0x1d];
/// 2.5.29.37.0, any purpose.
pub(crate) const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// By a client to a server.
    Client,
    /// By a server to a client.
    Server,
}

impl Purpose {
    /// The object identifier of the purpose: 1.3.6.1.5.5.7.3.1 and .2.
    pub(crate) fn oid(self) -> &'static [u8] {
        match self {
            Purpose::Server => &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01],
            Purpose::Client => &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02],
        }
    }
}

/// A certificate, read but not verified.
#[derive(Clone, Debug)]
pub(crate) struct Certificate<'a> {
    signed: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    /// The serial number without leading zeros.
    pub(crate) serial: &'a [u8],
    /// The contents of the issuer's name.
    pub(crate) issuer: &'a [u8],
    /// The contents of the subject's name.
    pub(crate) subject: &'a [u8],
    /// The subject's public key with its algorithm.
    pub(crate) key_info: &'a [u8],
    key_algorithm: &'a [u8],
    key: &'a [u8],
    /// Whether this is version 3, which has extensions.
    pub(crate) is_v3: bool,
    /// Seconds since 1970 from which it is valid.
    pub(crate) not_before: i64,
    /// Seconds since 1970 until which it is valid.
    pub(crate) not_after: i64,
    /// The DNS names of its subject.
    pub(crate) dns_names: Vec<String>,
    /// The addresses of its subject.
    pub(crate) ip_addresses: Vec<IpAddr>,
    /// Whether its extensions restrict the names that it may sign.
    pub(crate) constrains_names: bool,
    /// Whether an extension that must be understood is not.
    pub(crate) has_unknown_critical: bool,
    is_ca: Option<bool>,
    path_length: Option<usize>,
    may_sign: Option<bool>,
    purposes: Vec<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Certificate<'a>, Malformed> {
        let mut outer = Reader::new(der);
        let mut certificate = outer.inside(SEQUENCE)?;
        outer.end()?;
        let to_be_signed = certificate.expect(SEQUENCE)?;
        let signature_algorithm = certificate.expect(SEQUENCE)?.contents;
        let signature = certificate.bits()?;
        certificate.end()?;

        let mut fields = Reader::new(to_be_signed.contents);
        let is_v3 = read_version(&mut fields)?;
        let serial = significant(fields.expect(INTEGER)?.contents);
        if fields.expect(SEQUENCE)?.contents != signature_algorithm {
            return Err(Malformed);
        }
        let issuer = fields.expect(SEQUENCE)?.contents;
        let mut validity = fields.inside(SEQUENCE)?;
        let (not_before, not_after) = (read_time(&mut validity)?, read_time(&mut validity)?);
        let subject = fields.expect(SEQUENCE)?.contents;
        let key_info = fields.expect(SEQUENCE)?;
        let mut key_fields = Reader::new(key_info.contents);
        let key_algorithm = key_fields.expect(SEQUENCE)?.contents;
        let key = key_fields.bits()?;
        let mut read = Certificate {
            signed: to_be_signed.whole,
            signature_algorithm,
            signature,
            serial,
            issuer,
            subject,
            key_info: key_info.whole,
            key_algorithm,
            key,
            is_v3,
            not_before,
            not_after,
            dns_names: Vec::new(),
            ip_addresses: Vec::new(),
            constrains_names: false,
            has_unknown_critical: false,
            is_ca: None,
            path_length: None,
            may_sign: None,
            purposes: Vec::new(),
        };
        // Unique identifiers of version 2 have no meaning today.
        fields.optional(primitive(1))?;
        fields.optional(primitive(2))?;
        if let Some(extensions) = fields.optional(constructed(3))? {
            read.read_extensions(extensions.contents)?;
        }
        fields.end()?;
        Ok(read)
    }

    /// The common name of the subject: the last one if there are several, as in Go.
    pub(crate) fn common_name(&self) -> Result<String, Malformed> {
        let mut names = Reader::new(self.subject);
        let mut common_name = String::new();
        while !names.is_empty() {
            let mut set = names.inside(SET)?;
            while !set.is_empty() {
                let mut attribute = set.inside(SEQUENCE)?;
                let kind = attribute.expect(OID)?.contents;
                let value = attribute.element()?;
                if kind == COMMON_NAME {
                    common_name = read_text(value.tag, value.contents)?;
                }
            }
        }
        Ok(common_name)
    }

    /// Whether `now`, in seconds since 1970, lies in the time for which it was made.
    pub(crate) fn is_valid_at(&self, now: i64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether its extensions allow the purpose. Without any stated purpose it serves all.
    pub(crate) fn serves(&self, purpose: Purpose) -> bool {
        self.purposes.is_empty()
            || self.purposes.iter().any(|stated| *stated == ANY_PURPOSE || *stated == purpose.oid())
    }

    /// Whether so many authorities may stand between it and a leaf.
    pub(crate) fn allows_below(&self, authorities: usize) -> bool {
        self.path_length.is_none_or(|most| authorities <= most)
    }

    /// Whether it may sign other certificates: it says so, or it is older than the way to say so.
    pub(crate) fn may_issue(&self) -> bool {
        self.is_ca.unwrap_or(!self.is_v3) && self.may_sign.unwrap_or(true)
    }

    /// Whether the key of `issuer` made this certificate's signature.
    pub(crate) fn is_signed_by(
        &self,
        issuer: &Certificate<'_>,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        algorithms.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == issuer.key_algorithm
                && algorithm.signature_alg_id().as_ref() == self.signature_algorithm
                && algorithm.verify_signature(issuer.key, self.signed, self.signature).is_ok()
        })
    }

    /// Whether this certificate's key made the signature of `message` with one of the `algorithms`.
    pub(crate) fn made_signature(
        &self,
        message: &[u8],
        signature: &[u8],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        algorithms.iter().any(|algorithm| {
            algorithm.public_key_alg_id().as_ref() == self.key_algorithm
                && algorithm.verify_signature(self.key, message, signature).is_ok()
        })
    }

    fn read_extensions(&mut self, contents: &'a [u8]) -> Result<(), Malformed> {
        let mut outer = Reader::new(contents);
        let mut list = outer.inside(SEQUENCE)?;
        outer.end()?;
        while !list.is_empty() {
            let mut extension = list.inside(SEQUENCE)?;
            let kind = extension.expect(OID)?.contents;
            let critical = extension.optional_bool()?;
            let value = extension.expect(OCTET_STRING)?.contents;
            extension.end()?;
            let known = match kind.strip_prefix(EXTENSIONS) {
                Some([number]) => self.read_extension(*number, value)?,
                _ => false,
            };
            self.has_unknown_critical |= critical && !known;
        }
        Ok(())
    }

    /// Reads extension 2.5.29.`number`; whether it is one that verification understands.
    fn read_extension(&mut self, number: u8, value: &'a [u8]) -> Result<bool, Malformed> {
        const CERT_SIGN_BIT: u8 = 0x04;
        match number {
            15 => {
                let mut outer = Reader::new(value);
                let bits = outer.expect(BIT_STRING)?.contents;
                outer.end()?;
                self.may_sign = Some(bits.get(1).is_some_and(|bits| bits & CERT_SIGN_BIT != 0));
            }
            17 => self.read_names(value)?,
            19 => {
                let mut fields = Reader::new(value).inside(SEQUENCE)?;
                self.is_ca = Some(fields.optional_bool()?);
                self.path_length = fields.optional(INTEGER)?.map(|i| small(i.contents));
                fields.end()?;
            }
            30 => self.constrains_names = true,
            37 => {
                let mut list = Reader::new(value).inside(SEQUENCE)?;
                while !list.is_empty() {
                    self.purposes.push(list.expect(OID)?.contents);
                }
            }
            // Key identifiers, policies, CRL distribution points: nothing that restricts.
            14 | 31 | 32 | 35 => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn read_names(&mut self, value: &[u8]) -> Result<(), Malformed> {
        const DNS_NAME: u8 = primitive(2);
        const IP_ADDRESS: u8 = primitive(7);
        let mut names = Reader::new(value).inside(SEQUENCE)?;
        while !names.is_empty() {
            let name = names.element()?;
            match name.tag {
                DNS_NAME => self.dns_names.push(read_ascii(name.contents)?),
                IP_ADDRESS => self.ip_addresses.push(read_ip(name.contents)?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// An INTEGER's bytes without leading zeros.
pub(crate) fn significant(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    &integer[zeros..]
}

/// An INTEGER as a length, as large as can be if it is larger.
fn small(integer: &[u8]) -> usize {
    match significant(integer) {
        [] => 0,
        [length] => usize::from(*length),
        _ => usize::MAX,
    }
}

/// Whether the version, which is absent for version 1, is 3.
fn read_version(fields: &mut Reader<'_>) -> Result<bool, Malformed> {
    let Some(version) = fields.optional(constructed(0))? else { return Ok(false) };
    let mut inside = Reader::new(version.contents);
    let number = inside.expect(INTEGER)?.contents;
    inside.end()?;
    match number {
        [0 | 1] => Ok(false),
        [2] => Ok(true),
        _ => Err(Malformed),
    }
}

fn read_ascii(bytes: &[u8]) -> Result<String, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed)?;
    if text.is_ascii() { Ok(text.to_owned()) } else { Err(Malformed) }
}

fn read_ip(bytes: &[u8]) -> Result<IpAddr, Malformed> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Ok(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).map_err(|_| Malformed)?;
    Ok(Ipv6Addr::from(sixteen).to_canonical())
}

/// A text of any of the kinds that names are written in.
fn read_text(tag: u8, bytes: &[u8]) -> Result<String, Malformed> {
    const UTF8: u8 = 0x0c;
    const NUMERIC: u8 = 0x12;
    const PRINTABLE: u8 = 0x13;
    const TELETEX: u8 = 0x14;
    const IA5: u8 = 0x16;
    const BMP: u8 = 0x1e;
    match tag {
        UTF8 => String::from_utf8(bytes.to_vec()).map_err(|_| Malformed),
        NUMERIC | PRINTABLE | IA5 => read_ascii(bytes),
        TELETEX => Ok(bytes.iter().copied().map(char::from).collect()),
        BMP if bytes.len().is_multiple_of(2) => {
            let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().map_err(|_| Malformed)
        }
        _ => Err(Malformed),
    }
}

/// A UTCTime or GeneralizedTime in the forms that RFC 5280 allows, in seconds since 1970.
fn read_time(fields: &mut Reader<'_>) -> Result<i64, Malformed> {
    let element = fields.element()?;
    let digits = element.contents.strip_suffix(b"Z").ok_or(Malformed)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Malformed);
    }
    let number = |from: usize, to: usize| {
        digits[from..to].iter().fold(0i64, |sum, digit| sum * 10 + i64::from(digit - b'0'))
    };
    let (year, rest) = match (element.tag, digits.len()) {
        (UTC_TIME, 12) => {
            let year = number(0, 2);
            (if year < 50 { 2000 + year } else { 1900 + year }, 2)
        }
        (GENERALIZED_TIME, 14) => (number(0, 4), 4),
        _ => return Err(Malformed),
    };
    let part = |index: usize| number(rest + 2 * index, rest + 2 * index + 2);
    let (month, day, hour, minute, second) = (part(0), part(1), part(2), part(3), part(4));
    let in_range = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return Err(Malformed);
    }
    Ok(days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day is the last one.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    const DAYS_TO_1970: i64 = 719_468;
    year * 365 + leap_days + day_of_year - DAYS_TO_1970
}

#[cfg(test)]
mod tests;
