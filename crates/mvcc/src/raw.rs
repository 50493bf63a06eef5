//! Encoded `mvccpb.KeyValue`s, written and looked into without the decoded form.

use api::kv::RawKeyValue;
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{
    WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
};

/// The parts of a key-value to encode; zeros are left out, as protobuf does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) create_revision: i64,
    pub(crate) mod_revision: i64,
    pub(crate) version: i64,
    pub(crate) value: &'a [u8],
    pub(crate) lease: i64,
}

impl Parts<'_> {
    /// The encoded form, in one allocation.
    pub(crate) fn encode(&self) -> RawKeyValue {
        // Four numbers of at most 11 bytes, two lengths of at most 11 bytes.
        let mut out = BytesMut::with_capacity(66 + self.key.len() + self.value.len());
        put_bytes(1, self.key, &mut out);
        put_number(2, self.create_revision, &mut out);
        put_number(3, self.mod_revision, &mut out);
        put_number(4, self.version, &mut out);
        put_bytes(5, self.value, &mut out);
        put_number(6, self.lease, &mut out);
        RawKeyValue(out.freeze())
    }
}

fn put_number(tag: u32, value: i64, out: &mut BytesMut) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(value as u64, out);
    }
}

fn put_bytes(tag: u32, bytes: &[u8], out: &mut BytesMut) {
    if !bytes.is_empty() {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.put_slice(bytes);
    }
}

/// The key of an encoded key-value, sharing its bytes. It is the first field; without it the key is
/// empty. `None` for bytes that are no key-value.
pub(crate) fn key(raw: &RawKeyValue) -> Option<Bytes> {
    let mut rest = &raw.0[..];
    if rest.is_empty() {
        return Some(Bytes::new());
    }
    let (tag, wire_type) = decode_key(&mut rest).ok()?;
    if tag != 1 || wire_type != WireType::LengthDelimited {
        return Some(raw.decode().ok()?.key);
    }
    let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let start = raw.0.len() - rest.len();
    (len <= rest.len()).then(|| raw.0.slice(start..start + len))
}

/// The key of a key-value that was encoded here: cheaper, for its place is known.
pub(crate) fn key_of_encoded(raw: &RawKeyValue, key_len: usize) -> Bytes {
    if key_len == 0 {
        return Bytes::new();
    }
    let start = 1 + encoded_len_varint(key_len as u64);
    raw.0.slice(start..start + key_len)
}

#[cfg(test)]
mod tests {
    use api::kv::KeyValue;

    use super::*;

    #[test]
    fn encodes_as_the_message_does() {
        let long = vec![b'k'; 300];
        for key in [&b""[..], b"key", &long] {
            for (number, value) in [(0, &b""[..]), (5, b"value"), (i64::MAX, b"v"), (-1, b"")] {
                let parts = Parts {
                    key,
                    create_revision: number,
                    mod_revision: number,
                    version: number,
                    value,
                    lease: number,
                };
                let message = KeyValue {
                    key: Bytes::copy_from_slice(key),
                    create_revision: number,
                    mod_revision: number,
                    version: number,
                    value: Bytes::copy_from_slice(value),
                    lease: number,
                };
                let raw = parts.encode();
                assert_eq!(raw, message.to_raw());
                assert_eq!(super::key(&raw).unwrap(), key);
                assert_eq!(key_of_encoded(&raw, key.len()), key);
            }
        }
        let odd = RawKeyValue(Bytes::from_static(b"\x10\x05\x0a\x01k"));
        assert_eq!(key(&odd).unwrap(), "k");
        assert_eq!(key(&RawKeyValue(Bytes::from_static(b"\x0a\x05k"))), None);
    }
}
