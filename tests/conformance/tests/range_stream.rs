//! `RangeStream` (since 3.7) answers what `Range` answers, in pieces.

use anyhow::Result;
use api::{etcdserverpb as pb, kv::RawKeyValue};
use conformance::{
    client::{Client, revision},
    member::Member,
};
use tonic::{Code, Status};

/// A member that knows the call, or `None`: a real etcd before 3.7 has nothing to check here.
async fn member() -> Option<Member> {
    let member = Member::under_test(&[]).await;
    (member.binary().version() >= (3, 7)).then_some(member)
}

async fn stream(
    client: &mut Client,
    request: pb::RangeRequest,
) -> Result<Vec<pb::RangeResponse>, Status> {
    let mut chunks = client.kv.range_stream(request).await?.into_inner();
    let mut received = Vec::new();
    while let Some(chunk) = chunks.message().await? {
        received.push(chunk.range_response.expect("a chunk holds a part of the range"));
    }
    Ok(received)
}

fn everything() -> pb::RangeRequest {
    pb::RangeRequest { key: "\0".into(), range_end: "\0".into(), ..Default::default() }
}

#[tokio::test]
async fn chunks_join_to_the_range() -> Result<()> {
    let Some(member) = member().await else { return Ok(()) };
    let mut client = member.client().await;
    for i in 0..700 {
        client.put(format!("k/{i:04}"), vec![b'v'; i * 7 % 3000]).await?;
    }
    let base = everything();
    for request in [
        base.clone(),
        pb::RangeRequest { limit: 5, ..base.clone() },
        pb::RangeRequest { limit: 333, ..base.clone() },
        pb::RangeRequest { limit: 700, ..base.clone() },
        pb::RangeRequest { limit: -1, ..base.clone() },
        pb::RangeRequest { limit: i64::MIN, ..base.clone() },
        pb::RangeRequest { limit: i64::MAX, ..base.clone() },
        pb::RangeRequest { revision: 300, ..base.clone() },
        pb::RangeRequest { keys_only: true, serializable: true, ..base.clone() },
        pb::RangeRequest { count_only: true, ..base.clone() },
        pb::RangeRequest { sort_order: 1, ..base.clone() },
        pb::RangeRequest { key: "absent".into(), range_end: "".into(), ..base },
    ] {
        let whole = client.range(request.clone()).await?;
        let chunks = stream(&mut client, request.clone()).await?;
        let (last, rest) = chunks.split_last().expect("there is always a last chunk");
        for chunk in rest {
            let bare = chunk.header.is_none() && !chunk.more && chunk.count == 0;
            assert!(bare && !chunk.kvs.is_empty(), "{request:?}");
        }
        let kvs: Vec<&RawKeyValue> = chunks.iter().flat_map(|chunk| &chunk.kvs).collect();
        assert!(kvs.into_iter().eq(&whole.kvs), "{request:?}");
        assert_eq!((last.count, last.more), (whole.count, whole.more), "{request:?}");
        assert_eq!(last.header, whole.header, "{request:?}");
        assert!(chunks[0].kvs.len() <= 10 || request.limit < 0, "{}", chunks[0].kvs.len());
    }
    Ok(())
}

#[tokio::test]
async fn all_chunks_are_of_one_revision() -> Result<()> {
    let Some(member) = member().await else { return Ok(()) };
    let mut client = member.client().await;
    for i in 0..200 {
        client.put(format!("k/{i:03}"), vec![b'0'; 20_000]).await?;
    }
    let mut chunks = client.kv.range_stream(everything()).await?.into_inner();
    let first = chunks.message().await?.unwrap().range_response.unwrap();
    let mut writer = member.client().await;
    for i in 0..200 {
        writer.put(format!("k/{i:03}"), vec![b'1'; 10]).await?;
    }
    let mut kvs = first.kvs;
    let mut at = 0;
    while let Some(chunk) = chunks.message().await? {
        let chunk = chunk.range_response.unwrap();
        kvs.extend(chunk.kvs);
        at = revision(&chunk.header);
    }
    assert_eq!((kvs.len(), at), (200, 201));
    assert!(kvs.iter().all(|kv| kv.decode().unwrap().value.len() == 20_000));
    Ok(())
}

#[tokio::test]
async fn what_it_does_not_do() -> Result<()> {
    let Some(mut member) = member().await else { return Ok(()) };
    let mut client = member.client().await;
    client.put("k", "v").await?;
    let base = everything();
    let sorts = "RangeStream does not support custom sort orders";
    let filters = "RangeStream does not support revision filters";
    for (request, code, message) in [
        (pb::RangeRequest { sort_order: 2, ..base.clone() }, Code::Unimplemented, sorts),
        (
            pb::RangeRequest { sort_order: 1, sort_target: 3, ..base.clone() },
            Code::Unimplemented,
            sorts,
        ),
        (pb::RangeRequest { min_mod_revision: 1, ..base.clone() }, Code::Unimplemented, filters),
        (
            pb::RangeRequest { max_create_revision: -1, ..base.clone() },
            Code::Unimplemented,
            filters,
        ),
        (
            pb::RangeRequest { sort_order: 9, ..base.clone() },
            Code::InvalidArgument,
            "etcdserver: invalid sort option",
        ),
        (
            pb::RangeRequest { key: "".into(), ..base.clone() },
            Code::InvalidArgument,
            "etcdserver: key is not provided",
        ),
        (
            pb::RangeRequest { revision: 9, ..base },
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
    ] {
        let status = stream(&mut client, request.clone()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message), "{request:?}");
    }
    member.assert_sound();
    Ok(())
}
