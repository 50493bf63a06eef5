//! Requests of the v2 API, as entries of their own: those of clients of `--enable-v2`, and those in
//! which members of etcd up to 3.5 tell the cluster about themselves.
//!
//! The store of the v2 keys is always kept, as in etcd: whether a member serves it is its own
//! affair, and must not decide what it has. Changes of members count in it.

use api::{
    etcdserverpb::InternalRaftRequest,
    ids::MemberId,
    membershippb,
    raftpb::{ConfChange, ConfChangeType, Entry, EntryType},
};
use bytes::Bytes;
use membership::{Change, V2Put};
use prost::{Message, encoding};
use storage::Op;
use v2store::{Action, Compare, Error, Event, Store, Ttl, text};

use crate::{Context, Effect, Response, Shared, StateMachine, cluster, outcome::Traces};

/// A request of the v2 API. Texts are bytes: clients may send any.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs)]
pub struct V2Request {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub method: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub path: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub val: Bytes,
    #[prost(bool, tag = "5")]
    pub dir: bool,
    #[prost(bytes = "bytes", tag = "6")]
    pub prev_value: Bytes,
    #[prost(uint64, tag = "7")]
    pub prev_index: u64,
    #[prost(bool, optional, tag = "8")]
    pub prev_exist: Option<bool>,
    #[prost(int64, tag = "9")]
    pub expiration: i64,
    #[prost(bool, tag = "12")]
    pub recursive: bool,
    #[prost(bool, tag = "13")]
    pub sorted: bool,
    #[prost(bool, tag = "14")]
    pub quorum: bool,
    /// When the request was made; members of etcd tell it of SYNC only.
    #[prost(int64, tag = "15")]
    pub time: i64,
    #[prost(bool, optional, tag = "17")]
    pub refresh: Option<bool>,
}

impl V2Request {
    /// The data of an entry. Fields are there even when they are zero: that is how such an entry is
    /// told from an `InternalRaftRequest`.
    pub fn to_entry(&self) -> Vec<u8> {
        let mut data = Vec::with_capacity(64 + self.path.len() + self.val.len());
        let out = &mut data;
        encoding::uint64::encode(1, &self.id, out);
        encoding::bytes::encode(2, &self.method, out);
        encoding::bytes::encode(3, &self.path, out);
        encoding::bytes::encode(4, &self.val, out);
        encoding::bool::encode(5, &self.dir, out);
        encoding::bytes::encode(6, &self.prev_value, out);
        encoding::uint64::encode(7, &self.prev_index, out);
        if let Some(prev_exist) = &self.prev_exist {
            encoding::bool::encode(8, prev_exist, out);
        }
        encoding::int64::encode(9, &self.expiration, out);
        // Waiting and streaming are not for the log.
        encoding::bool::encode(10, &false, out);
        encoding::uint64::encode(11, &0, out);
        encoding::bool::encode(12, &self.recursive, out);
        encoding::bool::encode(13, &self.sorted, out);
        encoding::bool::encode(14, &self.quorum, out);
        encoding::int64::encode(15, &self.time, out);
        encoding::bool::encode(16, &false, out);
        if let Some(refresh) = &self.refresh {
            encoding::bool::encode(17, refresh, out);
        }
        data
    }
}

/// The place of a v2 request in an `InternalRaftRequest`.
#[derive(Clone, PartialEq, Message)]
struct Wrapped {
    #[prost(message, optional, tag = "2")]
    v2: Option<V2Request>,
}

/// What the data of a normal entry is.
pub(crate) enum Data {
    /// A request of today.
    Request(Box<InternalRaftRequest>),
    /// A request of the v2 API.
    V2(V2Request),
}

/// Reads an entry, as etcd 3.5 does: what is no `InternalRaftRequest` is a v2 request. (The path of
/// one is never a valid `range`.) The error is that of the former.
pub(crate) fn read(data: &Bytes) -> Result<Data, prost::DecodeError> {
    // It has room for every kind of request: it is made where it stays.
    let mut request = Box::<InternalRaftRequest>::default();
    match request.merge(data.clone()) {
        // Those of today have a header.
        Ok(()) if request.header.is_some() => Ok(Data::Request(request)),
        Ok(()) => match Wrapped::decode(data.clone()) {
            Ok(Wrapped { v2: Some(v2) }) => Ok(Data::V2(v2)),
            _ => Ok(Data::Request(request)),
        },
        Err(error) => match V2Request::decode(data.clone()) {
            Ok(v2) if !v2.method.is_empty() => Ok(Data::V2(v2)),
            _ => Err(error),
        },
    }
}

/// Carries out a v2 request. Returns its id.
pub(crate) fn apply(
    shared: &Shared,
    request: &V2Request,
    context: Context,
    traces: &mut Traces,
) -> (u64, Response) {
    let path = text::from_bytes(&request.path);
    let is_bare_put = request.method == "PUT"
        && request.prev_exist.is_none()
        && request.prev_index == 0
        && request.prev_value.is_empty();
    let value = text::from_bytes(&request.val);
    let about_cluster = if is_bare_put { V2Put::read(&path, &value) } else { None };
    let response = match about_cluster {
        Some(V2Put::Attributes { id, name, client_urls }) => {
            let attributes = membershippb::Attributes { name, client_urls };
            let set = membershippb::ClusterMemberAttrSetRequest {
                member_id: id.0,
                member_attributes: Some(attributes),
            };
            cluster::set_attributes(shared, set, traces)
        }
        Some(V2Put::Version(ver)) => {
            cluster::set_version(shared, &membershippb::ClusterVersionSetRequest { ver }, traces)
        }
        None => {
            // A request without a time has no answer here, but watchers may be told of it.
            let now = if request.time != 0 { request.time } else { context.unix_ns };
            let mut store = shared.v2.write();
            match run(&mut store, request, &path, &value, now) {
                Some(result) => {
                    store.take_ops(&mut traces.ops);
                    result.map_or(Response::Empty, Response::V2)
                }
                None => {
                    traces.effects.push(Effect::UnknownRequest);
                    Response::Empty
                }
            }
        }
    };
    (request.id, response)
}

type Answer = Result<std::sync::Arc<Event>, Error>;

/// What the store makes of a request: an answer, `Some(None)` for none, `None` when the request is
/// of no kind that there is.
fn run(
    store: &mut Store,
    request: &V2Request,
    path: &str,
    value: &str,
    now: i64,
) -> Option<Option<Answer>> {
    let path = v2store::clean(path);
    if path == "/0" || path.starts_with("/0/") {
        // Members are not changed this way.
        return None;
    }
    let expire = (request.expiration != 0).then_some(request.expiration);
    let ttl = Ttl { expire, refresh: request.refresh == Some(true), now };
    let prev_value = text::from_bytes(&request.prev_value);
    let compare = Compare { value: &prev_value, index: request.prev_index };
    let compares = !compare.value.is_empty() || compare.index != 0;
    let dir = request.dir;
    let answer = match &request.method[..] {
        b"POST" => store.create(&path, dir, value, true, ttl),
        b"PUT" => match request.prev_exist {
            Some(false) => store.create(&path, dir, value, false, ttl),
            Some(true) if !compares => store.update(&path, value, ttl),
            None if !compares => store.set(&path, dir, value, ttl),
            _ => store.compare_and_swap(&path, compare, value, ttl),
        },
        b"DELETE" if compares => store.compare_and_delete(&path, compare, now),
        b"DELETE" => store.delete(&path, dir, request.recursive, now),
        b"QGET" => store.get(&path, request.recursive, now),
        b"SYNC" => {
            store.expire(request.time, now);
            return Some(None);
        }
        _ => return None,
    };
    Some(Some(answer))
}

/// Counts a change of the members.
pub(crate) fn conf_changed(shared: &Shared, change: &Change, traces: &mut Traces) {
    let mut store = shared.v2.write();
    match change {
        Change::Add(new) => added(&mut store, new.id),
        Change::Update { id, .. } | Change::Promote(id) => updated(&mut store, *id),
        Change::Remove(id) => removed(&mut store, *id),
    }
    store.take_ops(&mut traces.ops);
}

/// Counts a member that the other records have already.
pub(crate) fn member_added(shared: &Shared, id: MemberId, traces: &mut Traces) {
    let mut store = shared.v2.write();
    added(&mut store, id);
    store.take_ops(&mut traces.ops);
}

fn added(store: &mut Store, id: MemberId) {
    store.outside(Action::Create, &format!("/0/members/{id}/raftAttributes"));
}

fn updated(store: &mut Store, id: MemberId) {
    store.outside(Action::Update, &format!("/0/members/{id}/raftAttributes"));
}

fn removed(store: &mut Store, id: MemberId) {
    store.outside(Action::Delete, &format!("/0/members/{id}"));
    store.outside(Action::Create, &format!("/0/removed_members/{id}"));
}

/// Counts a change of what is set of a member or the cluster.
pub(crate) fn cluster_changed(shared: &Shared, key: &str, traces: &mut Traces) {
    let mut store = shared.v2.write();
    store.outside(Action::Set, key);
    store.take_ops(&mut traces.ops);
}

impl StateMachine {
    /// Gives a member whose backend has no rows of the v2 store the one that its last `.snap` file
    /// has, brought up to what is applied by the entries since: a data directory of etcd keeps it so.
    /// Returns the rows, which must be stored before anything else is applied.
    pub fn seed_v2(&mut self, saved: Option<Store>, entries: &[Entry]) -> Vec<Op> {
        let shared = self.shared();
        let mut store = shared.v2.write();
        let mut ops = Vec::new();
        if store.is_stored() {
            return ops;
        }
        *store = saved.unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.index <= self.applied().0) {
            replay(&mut store, entry);
        }
        if store.index() > 0 {
            store.take_ops(&mut ops);
        }
        ops
    }
}

/// What an entry did to the v2 store. It is applied to everything else already.
fn replay(store: &mut Store, entry: &Entry) {
    if entry.r#type == EntryType::EntryConfChange as i32 {
        let Ok(change) = ConfChange::decode(&entry.data[..]) else { return };
        let id = MemberId(change.node_id);
        return match change.r#type() {
            ConfChangeType::ConfChangeAddNode | ConfChangeType::ConfChangeAddLearnerNode => {
                added(store, id);
            }
            ConfChangeType::ConfChangeUpdateNode => updated(store, id),
            ConfChangeType::ConfChangeRemoveNode => removed(store, id),
        };
    }
    match read(&entry.data) {
        Ok(Data::V2(request)) => {
            let path = v2store::clean(&text::from_bytes(&request.path));
            let value = text::from_bytes(&request.val);
            if path.starts_with("/0/") {
                return store.outside(Action::Set, &path);
            }
            let _counted = run(store, &request, &path, &value, request.time);
        }
        Ok(Data::Request(request)) if request.cluster_version_set.is_some() => {
            store.outside(Action::Set, "/0/version");
        }
        Ok(Data::Request(request)) => {
            if let Some(set) = &request.cluster_member_attr_set {
                let id = MemberId(set.member_id);
                store.outside(Action::Set, &format!("/0/members/{id}/attributes"));
            }
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Member;

    fn request(method: &'static str, path: &'static str) -> V2Request {
        let (method, path) = (method.into(), path.into());
        V2Request { id: 7, method, path, val: "3.5.0".into(), ..V2Request::default() }
    }

    #[test]
    fn a_bare_v2_request_is_told_from_one_of_today() {
        for sent in [request("PUT", "/0/version"), request("SYNC", ""), request("QGET", "/1")] {
            let bare = sent.to_entry().into();
            assert!(matches!(read(&bare), Ok(Data::V2(v2)) if v2 == sent));
        }
        let wrapped = Wrapped { v2: Some(request("SYNC", "")) }.encode_to_vec().into();
        assert!(matches!(read(&wrapped), Ok(Data::V2(v2)) if v2.method == "SYNC"));
        let today =
            InternalRaftRequest { put: Some(Default::default()), ..InternalRaftRequest::default() };
        let today = today.encode_to_vec().into();
        assert!(matches!(read(&today), Ok(Data::Request(_))));
        assert!(read(&Bytes::from_static(b"\xff\xff\xff")).is_err());
    }

    #[test]
    fn a_store_of_etcd_is_brought_up_to_what_is_applied() {
        let mut member = Member::new();
        let normal = EntryType::EntryNormal;
        member.entry(normal, request("PUT", "/1/saved").to_entry());
        let saved = member.shared.v2.read().save("{}");
        member.entry(normal, request("PUT", "/0/version").to_entry());
        member.entry(normal, request("POST", "/1/q").to_entry());
        member.entry(normal, request("DELETE", "/1/saved").to_entry());
        let whole = member.shared.v2.read().save("{}");
        let later = Entry {
            index: 99,
            data: request("PUT", "/1/later").to_entry().into(),
            ..Entry::default()
        };
        let since: Vec<Entry> = member.log[1..].iter().cloned().chain([later]).collect();

        *member.shared.v2.write() = Store::new();
        let saved = Store::recover(saved.as_bytes()).unwrap();
        let ops = member.machine.seed_v2(Some(saved), &since);
        assert!(ops.len() > 3);
        assert_eq!(member.shared.v2.read().save("{}"), whole);
        // Once is enough.
        assert!(member.machine.seed_v2(None, &since).is_empty());
        assert_eq!(member.shared.v2.read().save("{}"), whole);
    }

    /// Bytes that etcd's own encoder makes of a request.
    #[test]
    fn an_entry_is_encoded_as_etcd_does() {
        let mut put = request("PUT", "/1/a");
        (put.prev_exist, put.expiration) = (Some(true), 5);
        assert_eq!(
            put.to_entry(),
            b"\x08\x07\x12\x03PUT\x1a\x04/1/a\x22\x053.5.0\x28\x00\x32\x00\x38\x00\x40\x01\x48\x05\
              \x50\x00\x58\x00\x60\x00\x68\x00\x70\x00\x78\x00\x80\x01\x00"
        );
        let any = V2Request { val: b"\xff\x00"[..].into(), ..request("PUT", "/1/a") };
        assert!(matches!(read(&any.to_entry().into()), Ok(Data::V2(v2)) if v2 == any));
    }
}
