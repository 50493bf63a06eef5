//! Warnings of slow work, with etcd's texts and fields: unary calls (`request stats`,
//! `--warning-unary-request-duration`) and applied or read requests (`apply request took too long`,
//! `--warning-apply-duration`).
//!
//! What a call asked is described when it turns out to be slow and not before: until then its request is
//! held by reference.

use std::{
    cell::RefCell,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use api::etcdserverpb::{
    DeleteRangeRequest, InternalRaftRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use bytes::Bytes;
use config::GoDuration;
use prost::Message;

use crate::{describe, handle::Handle};

/// The ends of the connection that a request came over; unknown for one that the gateway makes, and
/// for unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    /// The client.
    pub(crate) remote: Option<SocketAddr>,
    /// This member.
    pub(crate) local: Option<SocketAddr>,
}

/// What a call asked.
pub(crate) enum Asked {
    /// An encoded raft request.
    Proposal(Bytes),
    /// A range.
    Range(RangeRequest),
    /// A transaction that only reads.
    Reads(TxnRequest),
}

/// What a call answered.
pub(crate) struct Answered {
    /// The keys read, or deleted.
    pub(crate) count: i64,
    /// Bytes of the message.
    pub(crate) bytes: usize,
    /// Which branch a transaction took.
    pub(crate) succeeded: bool,
}

/// What is known of a call under way.
struct Call {
    began: Instant,
    limit: Duration,
    asked: RefCell<Option<Asked>>,
    answered: RefCell<Option<Answered>>,
}

impl Call {
    /// Whether the call will be logged, as far as it has come.
    fn is_worth_a_line(&self) -> bool {
        self.began.elapsed() > self.limit || tracing::enabled!(tracing::Level::DEBUG)
    }
}

tokio::task_local! {
    static CALL: Call;
}

/// Notes what the call under way asks.
pub(crate) fn asks(asked: impl FnOnce() -> Asked) {
    let _no_call = CALL.try_with(|call| *call.asked.borrow_mut() = Some(asked()));
}

/// Notes what it answers, if it is slow.
pub(crate) fn answers(answered: impl FnOnce() -> Answered) {
    let _no_call = CALL.try_with(|call| {
        if call.is_worth_a_line() {
            *call.answered.borrow_mut() = Some(answered());
        }
    });
}

/// Runs a unary call, and logs it if it is slow.
pub(crate) async fn watched<T>(
    handle: &Handle,
    path: &str,
    ends: Ends,
    work: impl Future<Output = T>,
) -> T {
    let call = Call {
        began: Instant::now(),
        limit: handle.limits.slow_request,
        asked: RefCell::default(),
        answered: RefCell::default(),
    };
    let watched = async {
        let done = work.await;
        CALL.with(|call| {
            if call.is_worth_a_line() {
                log_call(call, path, ends);
            }
        });
        done
    };
    CALL.scope(call, watched).await
}

/// Numbers and text of a request.
struct Figures {
    count: i64,
    bytes: i64,
    content: String,
}

fn log_call(call: &Call, path: &str, ends: Ends) {
    let took = call.began.elapsed();
    let answered = call.answered.borrow();
    let asked = call.asked.borrow();
    let figures = asked.as_ref().and_then(|asked| figures(asked, answered.as_ref()));
    let counted = figures.is_some();
    let Figures { count, bytes, content } =
        figures.unwrap_or(Figures { count: -1, bytes: -1, content: String::new() });
    let (answers, answer_bytes) = match answered.as_ref() {
        Some(answered) if counted => (answered.count, answered.bytes as i64),
        None if counted => (0, 0),
        _ => (-1, -1),
    };
    let start = config::log::timestamp(SystemTime::now() - took);
    let remote = ends.remote.map_or("No remote client info.".to_owned(), |end| end.to_string());
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                "start time" = start,
                "time spent" = %GoDuration::from(took),
                remote,
                "response type" = path,
                "request count" = count,
                "request size" = bytes,
                "response count" = answers,
                "response size" = answer_bytes,
                "request content" = content,
                "request stats"
            )
        };
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        line!(debug);
    } else {
        line!(warn);
    }
}

/// The figures of the requests that etcd counts: those of the KV service but compactions.
fn figures(asked: &Asked, answered: Option<&Answered>) -> Option<Figures> {
    let of = |count, bytes: usize, content| Some(Figures { count, bytes: bytes as i64, content });
    match asked {
        Asked::Range(range) => of(0, range.encoded_len(), describe::range(range)),
        Asked::Reads(txn) => transaction(txn, answered),
        Asked::Proposal(data) => match InternalRaftRequest::decode(&data[..]).ok()? {
            InternalRaftRequest { put: Some(put), .. } => of_put(&put),
            InternalRaftRequest { delete_range: Some(delete), .. } => of_deletion(&delete),
            InternalRaftRequest { txn: Some(txn), .. } => transaction(&txn, answered),
            _ => None,
        },
    }
}

fn of_put(put: &PutRequest) -> Option<Figures> {
    let bytes = put.encoded_len() as i64;
    Some(Figures { count: 1, bytes, content: describe::put(put) })
}

fn of_deletion(delete: &DeleteRangeRequest) -> Option<Figures> {
    let bytes = delete.encoded_len() as i64;
    Some(Figures { count: 0, bytes, content: describe::deletion(delete) })
}

/// Of a transaction, the branch that it took counts; of one that failed, nothing.
fn transaction(txn: &TxnRequest, answered: Option<&Answered>) -> Option<Figures> {
    let Some(answered) = answered else {
        return Some(Figures { count: 0, bytes: 0, content: String::new() });
    };
    let taken = if answered.succeeded { &txn.success } else { &txn.failure };
    let bytes: usize = taken.iter().map(RequestOp::encoded_len).sum();
    Some(Figures { count: taken.len() as i64, bytes: bytes as i64, content: describe::txn(txn) })
}

/// Warns of a request that took longer than `--warning-apply-duration`. `describe` says what it was
/// and what was answered.
pub(crate) fn warn_of_apply(
    handle: &Handle,
    prefix: &str,
    took: Duration,
    error: Option<&str>,
    describe: impl FnOnce() -> (String, String),
) {
    let limit = handle.limits.slow_apply;
    if took <= limit {
        return;
    }
    handle.metrics.slow_applies.inc();
    let (request, response) = describe();
    tracing::warn!(
        took = %GoDuration::from(took),
        "expected-duration" = %GoDuration::from(limit),
        prefix,
        request,
        response,
        error,
        "apply request took too long"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(request: InternalRaftRequest) -> Asked {
        Asked::Proposal(request.encode_to_vec().into())
    }

    /// The numbers are those of etcd 3.7.1 for the same requests.
    #[test]
    fn requests_are_counted_as_etcd_does() {
        let put = PutRequest {
            key: "nolease".into(),
            value: "x".into(),
            lease: 119,
            ..PutRequest::default()
        };
        let asked = proposal(InternalRaftRequest { put: Some(put), ..Default::default() });
        let of = figures(&asked, None).unwrap();
        assert_eq!((of.count, of.bytes), (1, 14));
        assert_eq!(of.content, "key:\"nolease\" value_size:1 lease:119 ");
        let range = RangeRequest {
            key: "a".into(),
            range_end: "b".into(),
            limit: 3,
            revision: 2,
            ..RangeRequest::default()
        };
        let of = figures(&Asked::Range(range), None).unwrap();
        assert_eq!((of.count, of.bytes), (0, 10));
        assert_eq!(of.content, "key:\"a\" range_end:\"b\" limit:3 revision:2");
        let compaction = Some(Default::default());
        assert!(
            figures(&proposal(InternalRaftRequest { compaction, ..Default::default() }), None)
                .is_none()
        );
    }

    #[test]
    fn a_transaction_counts_by_the_branch_it_took() {
        let op = RequestOp {
            request: Some(api::etcdserverpb::request_op::Request::RequestRange(RangeRequest {
                key: "a".into(),
                ..RangeRequest::default()
            })),
        };
        let txn = TxnRequest { failure: vec![op.clone(), op], ..TxnRequest::default() };
        let answered = |succeeded| Answered { count: 0, bytes: 9, succeeded };
        let of = transaction(&txn, Some(&answered(false))).unwrap();
        assert_eq!((of.count, of.bytes), (2, 10));
        let of = transaction(&txn, Some(&answered(true))).unwrap();
        assert_eq!((of.count, of.bytes), (0, 0));
        assert_eq!(transaction(&txn, None).unwrap().content, "");
    }
}
