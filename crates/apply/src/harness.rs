//! For tests: a member's state machine on a backend in memory, short requests, and answers as text.

use std::sync::Arc;

use api::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, InternalRaftRequest, PutRequest, RangeRequest, RangeResponse,
        RequestHeader, RequestOp, ResponseOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
        response_op,
    },
    ids::{ClusterId, MemberId, RaftIndex, Term},
    kv::RawKeyValue,
    raftpb::{ConfChange, Entry, EntryType},
};
use prost::Message;
use storage::{Window, mem::MemBackend};

use crate::{Applied, ApplyError, Config, Context, Response, Shared, StateMachine};

/// One member, fed with entries by hand.
pub(crate) struct Member {
    pub(crate) machine: StateMachine,
    pub(crate) shared: Shared,
    pub(crate) backend: MemBackend,
    pub(crate) window: Window,
    /// Every entry so far: the log.
    pub(crate) log: Vec<Entry>,
    pub(crate) context: Context,
    pub(crate) config: Config,
}

pub(crate) fn config() -> Config {
    Config {
        member_id: MemberId(1),
        cluster_id: ClusterId(7),
        max_learners: 1,
        quota_bytes: -1,
        lease: lease::Options::new(2),
        store_checkpoints: false,
        token_ttl_ms: 300_000,
    }
}

impl Member {
    pub(crate) fn new() -> Member {
        Member::with(config())
    }

    pub(crate) fn with(config: Config) -> Member {
        Member::open(MemBackend::new(), config, Vec::new())
    }

    /// Opens what a backend holds; `log` is only remembered.
    pub(crate) fn open(backend: MemBackend, config: Config, log: Vec<Entry>) -> Member {
        let opened = StateMachine::open(Arc::new(backend.clone()), config.clone());
        let (machine, _) = opened.map_err(|error| error.to_string()).unwrap();
        let shared = machine.shared();
        let context = Context { now_ms: 0, has_waiter: true, size_in_use: 0, unix_ns: 0 };
        Member { machine, shared, backend, window: Window::new(), log, context, config }
    }

    pub(crate) fn entry(&mut self, kind: EntryType, data: Vec<u8>) -> Applied {
        let index = self.machine.applied().0 + 1;
        let entry = Entry { term: 2, index, r#type: kind as i32, data: data.into() };
        self.log.push(entry.clone());
        self.replay(&entry)
    }

    /// Applies an entry as the driver does.
    pub(crate) fn replay(&mut self, entry: &Entry) -> Applied {
        let applied = self.machine.apply(entry, self.context);
        if RaftIndex(entry.index) == self.machine.applied() {
            let at = (RaftIndex(entry.index), Term(entry.term));
            self.window.append(applied.ops.clone(), at, self.shared.store.revision());
        }
        applied
    }

    pub(crate) fn request(&mut self, mut request: InternalRaftRequest) -> Applied {
        let id = 1000 + self.machine.applied().0;
        request.header = Some(RequestHeader { id, ..RequestHeader::default() });
        let applied = self.entry(EntryType::EntryNormal, request.encode_to_vec());
        assert_eq!(applied.request_id, id);
        assert_eq!(crate::request_id(self.log.last().unwrap()), id);
        applied
    }

    pub(crate) fn conf_change(&mut self, change: &ConfChange) -> Applied {
        let applied = self.entry(EntryType::EntryConfChange, change.encode_to_vec());
        assert_eq!(crate::request_id(self.log.last().unwrap()), change.id);
        applied
    }

    /// The answer to one operation, as text.
    pub(crate) fn run(&mut self, op: RequestOp) -> String {
        self.result(op).map_or_else(|error| error.message.into_owned(), |response| show(&response))
    }

    pub(crate) fn result(&mut self, op: RequestOp) -> Result<Response, ApplyError> {
        let request = match op.request.unwrap() {
            Request::RequestRange(range) => {
                InternalRaftRequest { range: Some(range), ..Default::default() }
            }
            Request::RequestPut(put) => {
                InternalRaftRequest { put: Some(put), ..Default::default() }
            }
            Request::RequestDeleteRange(delete) => {
                InternalRaftRequest { delete_range: Some(delete), ..Default::default() }
            }
            Request::RequestTxn(txn) => {
                InternalRaftRequest { txn: Some(txn), ..Default::default() }
            }
        };
        self.request(request).result
    }

    pub(crate) fn flush(&self) {
        self.window.flush(&self.backend).unwrap();
    }

    pub(crate) fn hash_kv(&self) -> u32 {
        self.flush();
        self.shared.store.hash_kv(0).unwrap().hash
    }

    /// What a crash right now leaves, opened again; nothing is replayed yet.
    pub(crate) fn crash(&self) -> Member {
        Member::open(self.backend.fork(), self.config.clone(), self.log.clone())
    }

    /// Applies the whole log; what is applied already must have no effect.
    pub(crate) fn replay_log(&mut self) {
        for entry in self.log.clone() {
            self.replay(&entry);
        }
    }
}

fn op(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}

pub(crate) fn put_with(key: &str, value: &str, edit: impl FnOnce(&mut PutRequest)) -> RequestOp {
    let (key, value) = (key.to_owned().into(), value.to_owned().into());
    let mut put = PutRequest { key, value, ..PutRequest::default() };
    edit(&mut put);
    op(Request::RequestPut(put))
}

pub(crate) fn put(key: &str, value: &str) -> RequestOp {
    put_with(key, value, |_| {})
}

pub(crate) fn put_lease(key: &str, lease: i64) -> RequestOp {
    put_with(key, "v", |put| put.lease = lease)
}

pub(crate) fn get_with(key: &str, end: &str, edit: impl FnOnce(&mut RangeRequest)) -> RequestOp {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    let mut range = RangeRequest { key, range_end, ..RangeRequest::default() };
    edit(&mut range);
    op(Request::RequestRange(range))
}

pub(crate) fn get(key: &str, end: &str) -> RequestOp {
    get_with(key, end, |_| {})
}

pub(crate) fn get_at(key: &str, revision: i64) -> RequestOp {
    get_with(key, "", |range| range.revision = revision)
}

pub(crate) fn del(key: &str, end: &str) -> RequestOp {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    op(Request::RequestDeleteRange(DeleteRangeRequest { key, range_end, prev_kv: true }))
}

pub(crate) fn txn(
    compare: Vec<Compare>,
    success: Vec<RequestOp>,
    failure: Vec<RequestOp>,
) -> RequestOp {
    op(Request::RequestTxn(TxnRequest { compare, success, failure }))
}

pub(crate) fn txn_request(op: RequestOp) -> TxnRequest {
    match op.request {
        Some(Request::RequestTxn(txn)) => txn,
        other => panic!("{other:?} is no transaction"),
    }
}

pub(crate) fn compare(
    key: &str,
    end: &str,
    target: CompareTarget,
    result: CompareResult,
    with: Option<TargetUnion>,
) -> Compare {
    Compare {
        result: result as i32,
        target: target as i32,
        key: key.to_owned().into(),
        range_end: end.to_owned().into(),
        target_union: with,
    }
}

/// Guard: the value of a key.
pub(crate) fn value_is(key: &str, value: &str) -> Compare {
    let value = Some(TargetUnion::Value(value.to_owned().into()));
    compare(key, "", CompareTarget::Value, CompareResult::Equal, value)
}

/// Guard: a key exists.
pub(crate) fn exists(key: &str) -> Compare {
    compare(key, "", CompareTarget::Create, CompareResult::Greater, None)
}

/// An answer as text: what it is, `@` the revision of its header, and what it holds.
pub(crate) fn show(response: &Response) -> String {
    match response {
        Response::Range(range) => show_range(range),
        Response::Put(put) => {
            let prev = put.prev_kv.as_ref().map(|kv| format!(" was {}", show_kv(kv)));
            format!("put@{}{}", revision(&put.header), prev.unwrap_or_default())
        }
        Response::DeleteRange(delete) => {
            let kvs: Vec<String> = delete.prev_kvs.iter().map(show_kv).collect();
            format!("del@{} {}[{}]", revision(&delete.header), delete.deleted, kvs.join(" "))
        }
        Response::Txn(txn) => show_txn(txn),
        other => format!("{other:?}"),
    }
}

pub(crate) fn show_txn(txn: &TxnResponse) -> String {
    let branch = if txn.succeeded { "then" } else { "else" };
    let answers: Vec<String> = txn.responses.iter().map(show_op).collect();
    format!("{branch}@{}({})", revision(&txn.header), answers.join(", "))
}

fn show_op(op: &ResponseOp) -> String {
    use response_op::Response as Answer;
    match op.response.clone() {
        Some(Answer::ResponseRange(range)) => show_range(&range),
        Some(Answer::ResponsePut(put)) => show(&Response::Put(put)),
        Some(Answer::ResponseDeleteRange(delete)) => show(&Response::DeleteRange(delete)),
        Some(Answer::ResponseTxn(txn)) => show_txn(&txn),
        None => "nothing".into(),
    }
}

fn show_range(range: &RangeResponse) -> String {
    let kvs: Vec<String> = range.kvs.iter().map(show_kv).collect();
    let more = if range.more { "+" } else { "" };
    format!("get@{} {}{more}[{}]", revision(&range.header), range.count, kvs.join(" "))
}

/// `key=value`, then create and mod revision and version, then a lease.
fn show_kv(kv: &RawKeyValue) -> String {
    let kv = kv.decode().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let lease = if kv.lease == 0 { String::new() } else { format!("L{}", kv.lease) };
    let (key, value) = (text(&kv.key), text(&kv.value));
    format!("{key}={value}:{}/{}v{}{lease}", kv.create_revision, kv.mod_revision, kv.version)
}

fn revision(header: &Option<api::etcdserverpb::ResponseHeader>) -> i64 {
    header.as_ref().unwrap().revision
}
