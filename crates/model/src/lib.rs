//! The API as one small state machine: what every answer has to be, in the plainest code that says
//! so. It is the oracle of the simulator, the fuzzers and the conformance tests.
//!
//! Read [`Model::apply`] first. The model keeps every version of every key for ever; compaction only
//! forbids looking at them. Nothing is fast and nothing is shared with the product but the messages,
//! so that a mistake would have to be made twice to go unseen.
//!
//! Time is what the caller says it is, in milliseconds. Members, raft and disks do not exist here:
//! the model is what a client may believe of the cluster as a whole.
//!
//! Source: spec `grpc.md` sections 4 (keys), 5 (watch), 6 (leases), 9 (users and roles).

mod auth;
mod keyspace;
mod lease;
mod txn;
mod watch;

use api::{
    error::Error,
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, DeleteRangeResponse, InternalRaftRequest,
        LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, PutRequest, PutResponse,
        RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
    },
};

pub use auth::{Auth, Who};
pub use keyspace::{Change, Keyspace};
pub use lease::Leases;
pub use watch::{Watched, expected_events};

/// The store as its clients know it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    keys: Keyspace,
    leases: Leases,
    auth: Auth,
}

/// What a request is answered with. Headers carry the revision only.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    DeleteRange(DeleteRangeResponse),
    Txn(TxnResponse),
    /// The revision after the compaction was accepted.
    Compaction(i64),
    LeaseGrant(LeaseGrantResponse),
    /// The revision after the revoke.
    LeaseRevoke(i64),
    /// Users, roles or permissions changed: the revision of the keys.
    AuthChange(i64),
    /// The request is none that the model knows.
    Nothing,
}

impl Model {
    /// A new, empty store: revision 1, nothing compacted.
    pub fn new() -> Model {
        Model::default()
    }

    /// Carries out one request, as the whole of what it does or, with an error, not at all.
    /// `now_ms` is when it takes effect.
    pub fn apply(&mut self, request: &InternalRaftRequest, now_ms: u64) -> Result<Answer, Error> {
        self.auth.admit(&who(request), request, &self.keys)?;
        if auth::is_change(request) {
            self.auth.change(request).map(|()| Answer::AuthChange(self.keys.revision()))
        } else if let Some(range) = &request.range {
            self.range(range).map(Answer::Range)
        } else if let Some(put) = &request.put {
            self.put(put).map(Answer::Put)
        } else if let Some(delete) = &request.delete_range {
            Ok(Answer::DeleteRange(self.delete_range(delete)))
        } else if let Some(txn) = &request.txn {
            self.txn(txn).map(Answer::Txn)
        } else if let Some(compaction) = &request.compaction {
            self.compact(compaction).map(Answer::Compaction)
        } else if let Some(grant) = &request.lease_grant {
            self.lease_grant(grant, now_ms).map(Answer::LeaseGrant)
        } else if let Some(revoke) = &request.lease_revoke {
            self.lease_revoke(revoke).map(Answer::LeaseRevoke)
        } else {
            Ok(Answer::Nothing)
        }
    }

    /// The keys and their history.
    pub fn keys(&self) -> &Keyspace {
        &self.keys
    }

    /// Users, roles and permissions.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// A lease was renewed; whether it exists.
    pub fn renewed(&mut self, lease: i64, now_ms: u64) -> bool {
        self.leases.renewed(lease, now_ms)
    }

    /// The leases.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Reads keys as they are, or as they were at a revision.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.keys.check_readable(request.revision)?;
        Ok(self.keys.range(request))
    }

    fn put(&mut self, request: &PutRequest) -> Result<PutResponse, Error> {
        self.check_put(request, &self.keys)?;
        let mut keys = self.begin();
        let response = keys.put(request);
        self.keys = keys.end();
        Ok(response)
    }

    /// Begins a transaction: the keys are its own until it ends.
    fn begin(&mut self) -> keyspace::Transaction {
        std::mem::take(&mut self.keys).begin()
    }

    /// What a put names must exist: its lease, and what it wants to keep of the version before.
    fn check_put(&self, request: &PutRequest, keys: &Keyspace) -> Result<(), Error> {
        if request.lease != 0 && !self.leases.exists(request.lease) {
            return Err(Error::LeaseNotFound);
        }
        let keeps = request.ignore_value || request.ignore_lease;
        if keeps && keys.get(&request.key).is_none() {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }

    fn delete_range(&mut self, request: &DeleteRangeRequest) -> DeleteRangeResponse {
        let mut keys = self.begin();
        let response = keys.delete_range(request);
        self.keys = keys.end();
        response
    }

    fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, Error> {
        let plan = txn::plan(request, &self.keys);
        txn::check(&plan, self)?;
        let mut keys = self.begin();
        let mut response = txn::run(&plan, &mut keys);
        response.header = header(keys.revision());
        self.keys = keys.end();
        Ok(response)
    }

    fn compact(&mut self, request: &CompactionRequest) -> Result<i64, Error> {
        self.keys.compact(request.revision)?;
        Ok(self.keys.revision())
    }

    fn lease_grant(
        &mut self,
        request: &LeaseGrantRequest,
        now_ms: u64,
    ) -> Result<LeaseGrantResponse, Error> {
        let ttl = self.leases.grant(request.id, request.ttl, now_ms)?;
        let header = header(self.keys.revision());
        Ok(LeaseGrantResponse { header, id: request.id, ttl, error: String::new() })
    }

    /// Ends a lease and deletes its keys, all at one revision, in the order of keys.
    fn lease_revoke(&mut self, request: &LeaseRevokeRequest) -> Result<i64, Error> {
        self.leases.revoke(request.id)?;
        let attached = self.keys.attached_to(request.id);
        let mut keys = self.begin();
        for key in attached {
            keys.delete_range(&DeleteRangeRequest { key, ..DeleteRangeRequest::default() });
        }
        self.keys = keys.end();
        Ok(self.keys.revision())
    }
}

/// In whose name a request comes.
fn who(request: &InternalRaftRequest) -> Who {
    let header = request.header.as_ref();
    header.map_or_else(Who::default, |header| Who {
        user: header.username.clone(),
        revision: header.auth_revision,
    })
}

/// A header as the state machine makes it.
fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

#[cfg(test)]
mod tests;
