//! What comes of an entry: the answer, and what the member has to do about it.

use std::{borrow::Cow, sync::Arc};

use api::{
    error::{Code, Error},
    etcdserverpb as pb,
    event::Changes,
    ids::{MemberId, Term},
    raftpb::ConfChange,
};
use membership::{Member, Version};
use mvcc::ReadError;
use storage::Op;

/// Everything that applying one entry brought about.
#[derive(Debug)]
pub struct Applied {
    /// The id that the proposer waits under; 0 when nobody can wait.
    pub request_id: u64,
    /// The answer for the proposer.
    pub result: Result<Response, ApplyError>,
    /// What changed in the keyspace, for watchers.
    pub changes: Option<Changes>,
    /// What the member has to do now.
    pub effects: Vec<Effect>,
    /// What has to be stored, in order.
    pub ops: Vec<Op>,
}

/// The answer to a request. Headers carry the revision and nothing else.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Response {
    /// The entry has no answer: an internal request, or one that was applied before.
    Empty,
    Range(pb::RangeResponse),
    Put(pb::PutResponse),
    DeleteRange(pb::DeleteRangeResponse),
    Txn(pb::TxnResponse),
    Compaction(pb::CompactionResponse),
    LeaseGrant(pb::LeaseGrantResponse),
    LeaseRevoke(pb::LeaseRevokeResponse),
    LeaseCheckpoint(pb::LeaseCheckpointResponse),
    Alarm(pb::AlarmResponse),
    AuthStatus(pb::AuthStatusResponse),
    /// A user logged in.
    Authenticate {
        /// The answer; without a token where tokens are signed instead of remembered.
        response: pb::AuthenticateResponse,
        /// The auth revision that a signed token is to name.
        revision: u64,
    },
    /// Users, roles or permissions changed, or authentication was turned on or off: only a header.
    AuthChange(Option<pb::ResponseHeader>),
    UserGet(pb::AuthUserGetResponse),
    UserList(pb::AuthUserListResponse),
    RoleGet(pb::AuthRoleGetResponse),
    RoleList(pb::AuthRoleListResponse),
    /// The members after a conf change, by ascending id.
    Members(Vec<Member>),
    /// What became of a request of the v2 API.
    V2(Result<Arc<v2store::Event>, v2store::Error>),
}

/// Something that the shell carries out after an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An empty entry. The first of its term is one: reads may be served in that term, and its leader
    /// becomes the primary lessor. What of a change of members is left when another one is under way
    /// is an empty entry, too.
    LeaderElected {
        /// The term of the entry.
        term: Term,
    },
    /// The write took the store over its quota: propose a NOSPACE alarm for this member, and answer
    /// the client after that.
    RaiseNoSpace,
    /// History up to `revision` is to be removed; with `physical` the client waits for it.
    Compact {
        /// The revision of the request.
        revision: i64,
        /// Whether to answer only when it is done.
        physical: bool,
    },
    /// Raft's configuration changes. A refused change comes with node 0: raft counts it as done.
    ConfChange(ConfChange),
    /// Another member joined.
    AddPeer {
        /// The member.
        id: MemberId,
        /// Where its peers reach it.
        peer_urls: Vec<String>,
    },
    /// Another member moved.
    UpdatePeer {
        /// The member.
        id: MemberId,
        /// Where its peers reach it now.
        peer_urls: Vec<String>,
    },
    /// Another member left.
    RemovePeer(MemberId),
    /// This member was removed: answer, then stop.
    RemovedSelf,
    /// The cluster agreed on a version. When it is below the last one, the log must be cut by a
    /// snapshot that the older release can read.
    ClusterVersion {
        /// The new version.
        version: Version,
        /// The one before, unless there was none.
        last: Option<Version>,
    },
    /// The entry holds a request that this release does not know; it was passed over.
    UnknownRequest,
}

/// Why a request failed, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApplyError {
    /// The gRPC code.
    pub code: Code,
    /// The text.
    pub message: Cow<'static, str>,
}

impl From<Error> for ApplyError {
    fn from(error: Error) -> ApplyError {
        ApplyError { code: error.code(), message: error.message().into() }
    }
}

impl From<::auth::Error> for ApplyError {
    fn from(error: ::auth::Error) -> ApplyError {
        ApplyError { code: error.code, message: error.message.into() }
    }
}

impl From<::lease::Error> for ApplyError {
    fn from(error: ::lease::Error) -> ApplyError {
        Error::from(error).into()
    }
}

impl From<ReadError> for ApplyError {
    /// # Panics
    /// When the store cannot be read at all: the member cannot go on.
    fn from(error: ReadError) -> ApplyError {
        match error {
            ReadError::Compacted => Error::Compacted.into(),
            ReadError::Future => Error::FutureRev.into(),
            // For reads alone: what decides a write is read by `kv::stored`, which does not go on.
            ReadError::Storage(error) if error.is_damage() => Error::Corrupt.into(),
            ReadError::Storage(error) => panic!("apply: the store cannot be read: {error}"),
        }
    }
}

/// What a family's function leaves behind beside its answer.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    pub(crate) changes: Option<Changes>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) ops: Vec<Op>,
}

/// The header of an answer made by apply.
pub(crate) fn header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..pb::ResponseHeader::default() })
}
