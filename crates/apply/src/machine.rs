//! The state machine: opens the stores, then takes one entry after another to its family.

use std::sync::Arc;

use api::{
    etcdserverpb::{InternalRaftRequest, RequestHeader},
    ids::{ClusterId, MemberId, RaftIndex, Term},
    raftpb::{Entry, EntryType},
};
use prost::Message;
use storage::{Backend, schema};

use crate::{
    Applied, ApplyError, Effect, Response, Shared, admit, alarm, auth, cluster, compact,
    conf_change, kv, lease, outcome::Traces, quota::Quota, txn, v2,
};

/// What a state machine must know of its member.
#[derive(Clone, Debug)]
pub struct Config {
    /// This member.
    pub member_id: MemberId,
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// `--max-learners`.
    pub max_learners: usize,
    /// `--quota-backend-bytes`: negative for none, 0 for the default.
    pub quota_bytes: i64,
    /// How leases behave.
    pub lease: ::lease::Options,
    /// Whether checkpoints of leases are stored whatever the cluster version is.
    pub store_checkpoints: bool,
    /// `--auth-token-ttl` in milliseconds: how long a simple token lives unused.
    pub token_ttl_ms: u64,
}

/// What an entry is applied in. Nothing of it decides what is written.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Monotonic milliseconds.
    pub now_ms: u64,
    /// Whether somebody waits for the answer here; see [`request_id`].
    pub has_waiter: bool,
    /// Bytes in use by the store, for the quota.
    pub size_in_use: u64,
    /// The time of day, in nanoseconds since 1970: for what is told of a time to live where the
    /// request of the v2 API does not say when it was made.
    pub unix_ns: i64,
}

/// Why the state could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The backend failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The stored membership cannot be read.
    #[error(transparent)]
    Membership(#[from] membership::LoadError),
    /// The stored v2 store cannot be read.
    #[error(transparent)]
    V2(#[from] v2store::LoadError),
    /// The cluster has moved on to a version that this release does not have.
    #[error(
        "invalid downgrade; server version is lower than determined cluster version \
         (cluster version {0})"
    )]
    OlderThanCluster(membership::Version),
}

/// The owner of all replicated state of a member.
pub struct StateMachine {
    shared: Shared,
    config: Config,
    quota: Quota,
    /// The last entry that took effect.
    applied: RaftIndex,
    /// The first auth revision is stored, or goes with the next entry.
    auth_revision_saved: bool,
}

impl StateMachine {
    /// Reads the state back. Also returns the last entry that is in it: entries after that one are
    /// to be applied, from a new store all of them.
    pub fn open(
        backend: Arc<dyn Backend>,
        config: Config,
    ) -> Result<(StateMachine, (RaftIndex, Term)), OpenError> {
        let shared = restore::open(&backend, &config)?;
        let consistent = schema::read_consistent(&*backend.read()?)?.unwrap_or_default();
        let quota = Quota::new(config.quota_bytes);
        let machine = StateMachine {
            shared,
            config,
            quota,
            applied: consistent.0,
            auth_revision_saved: false,
        };
        Ok((machine, consistent))
    }

    /// Handles of the state for readers.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }

    /// The last entry that took effect.
    pub fn applied(&self) -> RaftIndex {
        self.applied
    }

    /// Applies the next committed entry. One that is applied already has no effect.
    ///
    /// # Panics
    /// When entries are missing before this one, or when it is not what any member writes.
    pub fn apply(&mut self, entry: &Entry, context: Context) -> Applied {
        let index = RaftIndex(entry.index);
        if index <= self.applied {
            return finish(0, Ok(Response::Empty), Traces::default());
        }
        assert!(
            index == self.applied.next(),
            "apply: entry {index} came after entry {}: entries are missing",
            self.applied
        );
        self.applied = index;
        let mut applied = self.apply_next(entry, context);
        if !std::mem::replace(&mut self.auth_revision_saved, true) {
            self.shared.auth.write().save_first_revision(&mut applied.ops);
        }
        applied
    }

    fn apply_next(&self, entry: &Entry, context: Context) -> Applied {
        match EntryType::try_from(entry.r#type) {
            Ok(EntryType::EntryNormal) if entry.data.is_empty() => {
                let effects = vec![Effect::LeaderElected { term: Term(entry.term) }];
                finish(0, Ok(Response::Empty), Traces { effects, ..Traces::default() })
            }
            Ok(EntryType::EntryNormal) => self.apply_request(entry, context),
            Ok(EntryType::EntryConfChange) => {
                let (shared, local) = (&self.shared, self.config.member_id);
                let mut traces = Traces::default();
                let (id, result) =
                    conf_change::conf_change(shared, local, entry.index, &entry.data, &mut traces);
                finish(id, result, traces)
            }
            Ok(EntryType::EntryConfChangeV2) | Err(_) => {
                panic!(
                    "apply: entry {} has type {}, which no member writes",
                    entry.index, entry.r#type
                )
            }
        }
    }

    fn apply_request(&self, entry: &Entry, context: Context) -> Applied {
        let read = v2::read(&entry.data)
            .unwrap_or_else(|error| panic!("apply: entry {} is no request: {error}", entry.index));
        let request = match read {
            v2::Data::Request(request) => request,
            v2::Data::V2(request) => {
                let mut traces = Traces::default();
                let (id, response) = v2::apply(&self.shared, &request, context, &mut traces);
                return finish(id, Ok(response), traces);
            }
        };
        let id = id_of(request.id, request.header.as_ref());
        let mut traces = Traces::default();
        let result = match admit::admit(&request, &self.shared) {
            Err(error) => Err(error),
            Ok(()) => {
                let has_room = admit::has_room(&request, self.quota, context.size_in_use);
                let at = auth::At { index: RaftIndex(entry.index), now_ms: context.now_ms };
                let result = self.dispatch(request, context, at, &mut traces);
                if has_room { result } else { result.and_then(|_| no_space(&mut traces)) }
            }
        };
        finish(id, result, traces)
    }

    /// Takes a request to its family. Of several in one entry the first counts, in etcd's order.
    fn dispatch(
        &self,
        mut request: Box<InternalRaftRequest>,
        context: Context,
        at: auth::At,
        traces: &mut Traces,
    ) -> Result<Response, ApplyError> {
        let shared = &self.shared;
        if let Some(set) = &request.cluster_version_set {
            Ok(cluster::set_version(shared, set, traces))
        } else if let Some(set) = request.cluster_member_attr_set.take() {
            Ok(cluster::set_attributes(shared, set, traces))
        } else if let Some(set) = request.downgrade_info_set.take() {
            Ok(cluster::set_downgrade(shared, set, traces))
        } else if request.downgrade_version_test.is_some() {
            Ok(Response::Empty)
        } else if let Some(range) = &request.range {
            // It changes nothing: only where somebody waits is it worth reading.
            if context.has_waiter { kv::range(shared, range) } else { Ok(Response::Empty) }
        } else if let Some(put) = &request.put {
            kv::put(shared, put, traces)
        } else if let Some(delete) = &request.delete_range {
            kv::delete_range(shared, delete, traces)
        } else if let Some(txn) = &request.txn {
            txn::write(shared, txn, context.has_waiter, traces)
        } else if let Some(compaction) = &request.compaction {
            compact::compact(shared, compaction, traces)
        } else if let Some(grant) = &request.lease_grant {
            lease::grant(shared, grant, context.now_ms, traces)
        } else if let Some(revoke) = &request.lease_revoke {
            lease::revoke(shared, revoke, traces)
        } else if let Some(checkpoint) = &request.lease_checkpoint {
            lease::checkpoint(shared, checkpoint, self.config.store_checkpoints, traces)
        } else if let Some(alarm) = &request.alarm {
            alarm::alarm(shared, alarm, traces)
        } else if let Some(answer) = auth::auth(shared, &request, at, traces) {
            answer
        } else {
            traces.effects.push(Effect::UnknownRequest);
            Ok(Response::Empty)
        }
    }
}

/// The id that the proposer of an entry waits under, without decoding the request; 0 when nobody
/// can wait for it. For filling in [`Context::has_waiter`].
pub fn request_id(entry: &Entry) -> u64 {
    if entry.r#type == EntryType::EntryConfChange as i32 {
        return api::raftpb::ConfChange::decode(&entry.data[..]).map_or(0, |change| change.id);
    }
    let ids = Ids::decode(&entry.data[..]);
    ids.map_or(0, |ids| id_of(ids.id, ids.header.as_ref()))
}

/// The two places of an id in `InternalRaftRequest`; all other fields are skipped.
#[derive(Clone, PartialEq, Message)]
struct Ids {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, optional, tag = "100")]
    header: Option<RequestHeader>,
}

/// The id of a request: in the field of old etcd, else in the header.
fn id_of(id: u64, header: Option<&RequestHeader>) -> u64 {
    if id != 0 { id } else { header.map_or(0, |header| header.id) }
}

/// The write has taken effect, but there was no room for it.
fn no_space(traces: &mut Traces) -> Result<Response, ApplyError> {
    traces.effects.push(Effect::RaiseNoSpace);
    Err(api::error::Error::NoSpace.into())
}

fn finish(request_id: u64, result: Result<Response, ApplyError>, traces: Traces) -> Applied {
    let Traces { changes, effects, ops } = traces;
    Applied { request_id, result, changes, effects, ops }
}

mod restore;

#[cfg(test)]
mod tests;
