//! Passwords as bcrypt hashes, in the form that etcd writes (`$2a$`).

use api::ids::RaftIndex;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use sha1::{Digest, Sha1};

/// The cost when none is configured.
pub const DEFAULT_COST: u32 = 10;
/// The costs that bcrypt knows.
pub const COSTS: std::ops::RangeInclusive<u32> = 4..=31;
/// The longest password; bcrypt looks at no more.
pub const BYTES_MAX: usize = 72;

/// The encoding of hashes in requests. Go's decoder does not mind bits left over at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Hashes a password; `None` when it is longer than [`BYTES_MAX`].
///
/// # Panics
/// When `cost` is not one of [`COSTS`].
pub fn hash(password: &[u8], cost: u32, salt: [u8; 16]) -> Option<String> {
    if password.len() > BYTES_MAX {
        return None;
    }
    assert!(COSTS.contains(&cost), "auth: {cost} is no cost of bcrypt");
    let parts = bcrypt::hash_with_salt(password, cost, salt).expect("cost and length were checked");
    Some(parts.format_for_version(bcrypt::Version::TwoA))
}

/// Whether a password is the one of a hash. What is no hash has no password.
pub fn matches(password: &[u8], hash: &[u8]) -> bool {
    let Ok(hash) = std::str::from_utf8(hash) else { return false };
    bcrypt::verify(password, hash).unwrap_or(false)
}

/// The text of a hash as requests carry it.
pub fn encode(hash: &str) -> String {
    BASE64.encode(hash)
}

/// The hash that a request carries.
pub(crate) fn decode(text: &str) -> Option<Bytes> {
    let text: String = text.chars().filter(|letter| !matches!(letter, '\r' | '\n')).collect();
    BASE64.decode(text).ok().map(Bytes::from)
}

/// Hashes a password that a release before 3.5 left in the log. Every member gets the same hash: the
/// salt follows from the entry and the user. (etcd takes a random one, so its members differ.)
pub(crate) fn hash_logged(password: &str, user: &str, at: RaftIndex) -> Option<Bytes> {
    let mut digest = Sha1::new();
    digest.update(at.0.to_be_bytes());
    digest.update(user);
    let salt = digest.finalize()[..16].try_into().expect("a digest has 20 bytes");
    hash(password.as_bytes(), DEFAULT_COST, salt).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: [u8; 16] = *b"sixteen bytes...";

    #[test]
    fn a_hash_is_of_its_password_alone() {
        let hash = hash(b"secret", 4, SALT).unwrap();
        assert!(hash.starts_with("$2a$04$") && hash.len() == 60, "{hash}");
        assert!(matches(b"secret", hash.as_bytes()));
        assert!(!matches(b"Secret", hash.as_bytes()) && !matches(b"", hash.as_bytes()));
    }

    /// Made by real etcd 3.5 for the password `rootpw`.
    #[test]
    fn a_hash_of_etcd_is_understood() {
        let stored = b"$2a$04$bLtI4tiO1VJrm63ZyIu5bu4x7Q55TEOUnMnPaxqh92.mpRYbcGYfa";
        assert!(matches(b"rootpw", stored));
        assert!(!matches(b"other", stored));
        assert!(!matches(b"other", b"no hash") && !matches(b"", b"") && !matches(b"", b"\xff"));
    }

    #[test]
    fn passwords_of_72_bytes_are_the_longest() {
        let longest = [b'p'; BYTES_MAX];
        let hashed = hash(&longest, 4, SALT).unwrap();
        assert!(matches(&longest, hashed.as_bytes()));
        assert_eq!(hash(&[b'p'; BYTES_MAX + 1], 4, SALT), None);
    }

    #[test]
    fn the_empty_password_is_one() {
        let hashed = hash(b"", 4, SALT).unwrap();
        assert!(matches(b"", hashed.as_bytes()) && !matches(b"x", hashed.as_bytes()));
    }

    #[test]
    fn hashes_travel_as_base64() {
        assert_eq!(decode(&encode("$2a$04$x")).unwrap(), "$2a$04$x");
        assert_eq!(decode("JDJh\r\nJA==").unwrap(), "$2a$");
        assert_eq!(decode("").unwrap(), "");
        assert!(decode("JDJh*").is_none() && decode("JDJhJA").is_none());
    }

    #[test]
    fn logged_passwords_hash_alike_on_every_member() {
        let one = hash_logged("pw", "alice", RaftIndex(7)).unwrap();
        assert_eq!(one, hash_logged("pw", "alice", RaftIndex(7)).unwrap());
        assert_ne!(one, hash_logged("pw", "bob", RaftIndex(7)).unwrap());
        assert!(matches(b"pw", &one));
    }
}
