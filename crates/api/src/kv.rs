//! `mvccpb.KeyValue` in its two forms: decoded, and as the bytes that are stored and sent.
//!
//! A stored value is encoded once, when it is put. Answers and events then carry those bytes;
//! only what needs to look inside decodes them.

use bytes::{Buf, BufMut, Bytes};
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, WireType, skip_field},
};

/// One version of one key (`mvccpb.KeyValue`).
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeyValue {
    /// The key; never empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Revision of the put that began this generation of the key.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// Revision of this version.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// Count of puts in this generation; 1 for the first.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value, opaque.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// The lease that the key is attached to; 0 for none.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

impl KeyValue {
    /// The stored form.
    pub fn to_raw(&self) -> RawKeyValue {
        RawKeyValue(self.encode_to_vec().into())
    }
}

/// An encoded [`KeyValue`]: a message whose bytes are copied to the wire as they are.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RawKeyValue(pub Bytes);

impl RawKeyValue {
    /// Looks inside. Fails only on bytes that no [`KeyValue`] was encoded to.
    pub fn decode(&self) -> Result<KeyValue, DecodeError> {
        KeyValue::decode(self.0.clone())
    }
}

impl std::fmt::Debug for RawKeyValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.decode() {
            Ok(kv) => kv.fmt(f),
            Err(_) => write!(f, "RawKeyValue({:?})", self.0),
        }
    }
}

impl Message for RawKeyValue {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.0);
    }

    /// Appends the field as it stood, tag and all: merging is concatenation in protobuf.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut out = Vec::with_capacity(self.0.len() + 32);
        out.extend_from_slice(&self.0);
        prost::encoding::encode_key(tag, wire_type, &mut out);
        match wire_type {
            WireType::Varint => {
                prost::encoding::encode_varint(prost::encoding::decode_varint(buf)?, &mut out);
            }
            WireType::LengthDelimited => {
                let mut field = Bytes::new();
                prost::encoding::bytes::merge(wire_type, &mut field, buf, ctx)?;
                prost::encoding::encode_varint(field.len() as u64, &mut out);
                out.extend_from_slice(&field);
            }
            _ => {
                out.truncate(self.0.len());
                skip_field(wire_type, tag, buf, ctx)?;
            }
        }
        self.0 = out.into();
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_survives_the_wire_inside_another_message() {
        let kv = KeyValue {
            key: "k".into(),
            create_revision: 2,
            mod_revision: i64::MAX,
            version: 3,
            value: vec![0, 255].into(),
            lease: -7,
        };
        let sent = crate::etcdserverpb::PutResponse { header: None, prev_kv: Some(kv.to_raw()) };
        let bytes = sent.encode_to_vec();
        let got = crate::etcdserverpb::PutResponse::decode(&bytes[..]).unwrap();
        assert_eq!(got, sent);
        assert_eq!(got.prev_kv.unwrap().decode().unwrap(), kv);
    }
}
