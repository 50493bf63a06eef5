//! `HashKV`: which revisions have a hash, and the hashes that compactions leave behind.
//!
//! That the values are etcd's is for the differential run to say.

use anyhow::Result;
use api::etcdserverpb as pb;
use conformance::{
    client::{Client, revision},
    member::Member,
};
use tonic::{Code, Status};

/// Hash and compact revision at a revision.
async fn hash(client: &mut Client, revision: i64) -> Result<(u32, i64), Status> {
    let request = pb::HashKvRequest { revision };
    let answer = client.maintenance.hash_kv(request).await?.into_inner();
    Ok((answer.hash, answer.compact_revision))
}

async fn compact(client: &mut Client, revision: i64, physical: bool) -> Result<(), Status> {
    client.kv.compact(pb::CompactionRequest { revision, physical }).await?;
    Ok(())
}

#[tokio::test]
async fn a_hash_is_of_the_past_and_stays() -> Result<()> {
    let mut member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for i in 0..20 {
        client.put(format!("k/{}", i % 3), i.to_string()).await?;
    }
    let at_ten = hash(&mut client, 10).await?;
    let at_end = hash(&mut client, 21).await?;
    assert_eq!(at_ten.1, -1);
    assert_ne!(at_ten.0, at_end.0);
    assert_eq!(hash(&mut client, 0).await?, at_end, "0 is the present");
    // A negative revision is not: nothing is that old, and the hash is of no revision at all.
    assert_eq!(hash(&mut client, -1).await?, hash(&mut client, -7).await?);
    assert_ne!(hash(&mut client, -1).await?, at_end);
    client.put("k/0", "later").await?;
    assert_eq!(hash(&mut client, 10).await?, at_ten);
    member.kill();
    member.restart().await?;
    client = member.client().await;
    assert_eq!(hash(&mut client, 10).await?, at_ten);
    assert_eq!(hash(&mut client, 21).await?, at_end);
    Ok(())
}

/// The hash at a compaction's revision is kept, and answered even when that is compacted.
#[tokio::test]
async fn compactions_leave_their_hashes() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for i in 0..60 {
        client.put(format!("k/{}", i % 7), i.to_string()).await?;
    }
    let mut kept = Vec::new();
    for at in (4..60).step_by(4) {
        let before = hash(&mut client, at).await?;
        compact(&mut client, at, true).await?;
        let after = hash(&mut client, at).await?;
        assert_eq!(after, before, "a compaction hashes what was there before it");
        kept.push((at, after));
    }
    // The last ten are remembered.
    let (forgotten, remembered) = kept.split_at(kept.len() - 10);
    for (at, expected) in remembered {
        assert_eq!(hash(&mut client, *at).await?, *expected, "at {at}");
    }
    for (at, _) in forgotten {
        assert_eq!(hash(&mut client, *at).await.unwrap_err().code(), Code::OutOfRange, "at {at}");
    }
    Ok(())
}

/// A physical compaction that is refused, as its revision is compacted already, still waits for
/// the one that did it. So the next one finds the store at rest, and both have their hashes.
#[tokio::test]
async fn a_refused_physical_compaction_waits() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for round in 0..5 {
        let mut last = 0;
        for i in 0..40 {
            last = client.put(format!("k/{}", i % 5), format!("{round} {i}")).await?;
        }
        let first = last - 20;
        let expected = hash(&mut client, first).await?;
        compact(&mut client, first, false).await?;
        let refused = compact(&mut client, first, true).await.unwrap_err();
        let text = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!((refused.code(), refused.message()), (Code::OutOfRange, text));
        compact(&mut client, last, true).await?;
        assert_eq!(hash(&mut client, first).await?, expected, "round {round}");
        let header = client.status().await?.header;
        assert_eq!(revision(&header), last);
    }
    Ok(())
}
