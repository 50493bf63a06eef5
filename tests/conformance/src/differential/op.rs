//! What can be asked in a differential run, and what can be answered.

use api::{
    etcdserverpb::{self as pb},
    kv::KeyValue,
};
use tonic::Code;

/// One step of the sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// `KV.Range`.
    Range(pb::RangeRequest),
    /// `KV.RangeStream`, its chunks joined; `KV.Range` where the server is older than that call.
    RangeStream(pb::RangeRequest),
    /// `KV.Put`.
    Put(pb::PutRequest),
    /// `KV.DeleteRange`.
    DeleteRange(pb::DeleteRangeRequest),
    /// `KV.Txn`.
    Txn(pb::TxnRequest),
    /// `KV.Compact`.
    Compact(pb::CompactionRequest),
    /// `Lease.LeaseGrant` with an id.
    LeaseGrant(pb::LeaseGrantRequest),
    /// `Lease.LeaseGrant` without an id, and the end of that lease.
    LeaseGrantAnonymous {
        /// The term asked for.
        ttl: i64,
    },
    /// `Lease.LeaseRevoke`.
    LeaseRevoke(pb::LeaseRevokeRequest),
    /// `Lease.LeaseKeepAlive`, one message.
    LeaseKeepAlive(pb::LeaseKeepAliveRequest),
    /// `Lease.LeaseTimeToLive`.
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest),
    /// `Lease.LeaseLeases`.
    LeaseLeases,
    /// `Cluster.MemberList`.
    MemberList(pb::MemberListRequest),
    /// `Maintenance.Alarm` that reads.
    AlarmGet(pb::AlarmRequest),
    /// `Maintenance.HashKV`.
    HashKv(pb::HashKvRequest),
    /// A watcher on a stream of its own, everything it is told up to now, its end.
    Replay(pb::WatchCreateRequest),
    /// A watcher that stays, in a slot; one that was there ends.
    Follow {
        /// Which of the standing watchers.
        slot: usize,
        /// What it watches.
        request: pb::WatchCreateRequest,
    },
    /// The end of a standing watcher.
    Unfollow {
        /// Which of them.
        slot: usize,
    },
    /// What the standing watchers were told since the last time.
    Gather,
}

impl Op {
    /// The name of the kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Op::Range(_) => "Range",
            Op::RangeStream(_) => "RangeStream",
            Op::Put(_) => "Put",
            Op::DeleteRange(_) => "DeleteRange",
            Op::Txn(_) => "Txn",
            Op::Compact(_) => "Compact",
            Op::LeaseGrant(_) | Op::LeaseGrantAnonymous { .. } => "LeaseGrant",
            Op::LeaseRevoke(_) => "LeaseRevoke",
            Op::LeaseKeepAlive(_) => "LeaseKeepAlive",
            Op::LeaseTimeToLive(_) => "LeaseTimeToLive",
            Op::LeaseLeases => "LeaseLeases",
            Op::MemberList(_) => "MemberList",
            Op::AlarmGet(_) => "Alarm",
            Op::HashKv(_) => "HashKV",
            Op::Replay(_) => "Watch (replay)",
            Op::Follow { .. } => "Watch (create)",
            Op::Unfollow { .. } => "Watch (cancel)",
            Op::Gather => "Watch (gather)",
        }
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "named after the messages they hold")]
pub enum Answer {
    Range(pb::RangeResponse),
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compact(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    LeaseKeepAlive(pb::LeaseKeepAliveResponse),
    LeaseTimeToLive(pb::LeaseTimeToLiveResponse),
    LeaseLeases(pb::LeaseLeasesResponse),
    MemberList(pb::MemberListResponse),
    Alarm(pb::AlarmResponse),
    HashKv(pb::HashKvResponse),
    Watched(Watched),
    Gathered(Vec<(usize, Watched)>),
    /// There was nothing to do.
    Nothing,
    Error(Failure),
}

impl Answer {
    /// The revision in the header of a success.
    pub fn revision(&self) -> Option<i64> {
        let header = match self {
            Answer::Range(answer) => &answer.header,
            Answer::Put(answer) => &answer.header,
            Answer::DeleteRange(answer) => &answer.header,
            Answer::Txn(answer) => &answer.header,
            Answer::Compact(answer) => &answer.header,
            Answer::LeaseRevoke(answer) => &answer.header,
            _ => return None,
        };
        header.as_ref().map(|header| header.revision)
    }
}

/// The status of a failed call.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The status code.
    pub code: Code,
    /// The text.
    pub message: String,
}

/// Everything a watcher was told, without regard to how it was cut into messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watched {
    /// The message that created the watcher; absent when that was compared before.
    pub created: Option<pb::WatchResponse>,
    /// Events in the order of arrival.
    pub events: Vec<WatchedEvent>,
    /// The message that ended the watcher from the server's side.
    pub cancelled: Option<pb::WatchResponse>,
}

/// One event, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchedEvent {
    /// Put or delete.
    pub kind: i32,
    /// The key-value.
    pub kv: Option<KeyValue>,
    /// What was there before.
    pub prev_kv: Option<KeyValue>,
}
