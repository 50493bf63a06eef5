//! What a member tells a collector of traces.

use api::etcdserverpb::{LeaseGrantRequest, RangeRequest, TxnRequest};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use prost::Message;
use tonic::body::Body;

use super::*;
use crate::{http::Grpc, slow::Ends, telemetry::tests::Collector};

/// Makes a unary call, with these ends of its connection, to the end of its answer.
async fn call(grpc: &Grpc, path: &str, message: &impl Message, traceparent: Option<&str>) {
    let message = message.encode_to_vec();
    let framed = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
    let mut request = Request::post(path).header("content-type", "application/grpc");
    if let Some(parent) = traceparent {
        request = request.header("traceparent", parent);
    }
    let request = request.body(Body::new(Full::new(framed.into()))).unwrap();
    let local = Some("127.0.0.1:2379".parse().unwrap());
    let response = grpc.call(request, Ends { remote: None, local }).await;
    response.into_body().collect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_traced_as_etcd_does() {
    let collector = Collector::start().await;
    let mut rig = Rig::new(1);
    rig.config.tracing = collector.config(0);
    rig.start_all().await;
    let grpc = Grpc::new(rig.handle(1));
    let parent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let put = PutRequest { key: "a".into(), value: "1".into(), ..PutRequest::default() };
    let range = RangeRequest { key: "a".into(), revision: 99, ..RangeRequest::default() };
    call(&grpc, "/etcdserverpb.KV/Put", &put, parent).await;
    call(&grpc, "/etcdserverpb.KV/Put", &put, None).await;
    call(&grpc, "/etcdserverpb.KV/Range", &range, parent).await;
    call(&grpc, "/etcdserverpb.KV/Txn", &TxnRequest::default(), parent).await;
    let grant = LeaseGrantRequest { ttl: 60, id: 7 };
    call(&grpc, "/etcdserverpb.Lease/LeaseGrant", &grant, parent).await;
    drop(grpc);
    rig.end().await;

    let seen = collector.seen.lock().clone();
    let names: Vec<&str> = seen.iter().map(|span| &*span.name).collect();
    let member = |span: &&crate::telemetry::tests::Seen| !span.is_server;
    let inner: Vec<&str> = seen.iter().filter(member).map(|span| &*span.name).collect();
    assert_eq!(inner, ["put", "range", "txn", "lease_grant"], "{names:?}");
    assert_eq!(names.len(), 8, "{names:?}");
    let named = |name: &str| seen.iter().find(|span| span.name == name).expect("it is there");
    for (call, inside) in [
        ("etcdserverpb.KV/Put", "put"),
        ("etcdserverpb.KV/Range", "range"),
        ("etcdserverpb.KV/Txn", "txn"),
        ("etcdserverpb.Lease/LeaseGrant", "lease_grant"),
    ] {
        assert_eq!(named(call).id, named(inside).parent);
        assert_eq!(named(call).attributes["server.port"], "2379");
    }
    assert_eq!(named("put").events, ["Send raft proposal", "Receive raft result"]);
    assert_eq!(named("txn").attributes["success_first_lease"], "-1");
    assert_eq!(named("lease_grant").attributes["ttl"], "60");
    // A client's mistake is no fault of the server.
    let range = named("etcdserverpb.KV/Range");
    assert_eq!(range.attributes["rpc.response.status_code"], "OUT_OF_RANGE");
    assert_eq!(range.error, "");
}
