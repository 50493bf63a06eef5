//! Bucket `alarm`: the encoded `AlarmMember` is the key, and the value is empty.

use api::etcdserverpb::AlarmMember;
use bytes::Bytes;
use prost::Message;

use crate::{Bucket, Error, Op, ReadTx};

/// Stores a raised alarm.
pub fn put(alarm: &AlarmMember) -> Op {
    super::put(Bucket::Alarm, alarm.encode_to_vec(), Bytes::new())
}

/// Forgets an alarm.
pub fn delete(alarm: &AlarmMember) -> Op {
    super::delete(Bucket::Alarm, alarm.encode_to_vec())
}

/// Every raised alarm.
pub fn all(tx: &dyn ReadTx) -> Result<Vec<AlarmMember>, Error> {
    super::all(tx, Bucket::Alarm, |key, _| AlarmMember::decode(key).ok())
}
