//! `Maintenance.Snapshot`: the stream, what is in it, and what it does not hold up.

use anyhow::{Result, ensure};
use api::etcdserverpb as pb;
use bbolt::Db;
use conformance::{client::Client, member::Member};
use ring::digest;
use tonic::Streaming;

/// Pieces of the file are this long, but for the last.
const PIECE_BYTES: usize = 32 << 10;

async fn begin(client: &mut Client) -> Result<Streaming<pb::SnapshotResponse>> {
    Ok(client.maintenance.snapshot(pb::SnapshotRequest {}).await?.into_inner())
}

/// Reads a stream to its end and checks its shape; returns the file.
async fn finish(mut stream: Streaming<pb::SnapshotResponse>, mut file: Vec<u8>) -> Result<Vec<u8>> {
    let mut hash = None;
    let mut total = None;
    while let Some(message) = stream.message().await? {
        ensure!(hash.is_none(), "the hash is the last message");
        let end = file.len() + message.blob.len();
        if message.remaining_bytes == 0 && total == Some(file.len()) {
            hash = Some(message.blob);
            continue;
        }
        file.extend_from_slice(&message.blob);
        let known = *total.get_or_insert(end + message.remaining_bytes as usize);
        assert_eq!(known, end + message.remaining_bytes as usize);
        assert!(message.blob.len() == PIECE_BYTES || message.remaining_bytes == 0);
    }
    let expected = digest::digest(&digest::SHA256, &file);
    assert_eq!(hash.as_deref(), Some(expected.as_ref()));
    Ok(file)
}

/// The values of the key bucket hold a text: the file is read with no knowledge of its writer.
fn holds(file: &[u8], text: &str) -> bool {
    let db = Db::open(file).expect("a database");
    db.check(&mut |fault| panic!("{fault}")).expect("bytes in memory are read");
    let mut cursor = db.bucket(b"key").unwrap().expect("a key bucket").cursor();
    while let Some(entry) = cursor.next().unwrap() {
        if entry.value.windows(text.len()).any(|part| part == text.as_bytes()) {
            return true;
        }
    }
    false
}

async fn fill(client: &mut Client, megabytes: usize) -> Result<()> {
    for number in 0..megabytes {
        client.put(format!("large/{number}"), "v".repeat(1 << 20)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_snapshot_is_a_database_and_its_hash() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for number in 0..3000 {
        client.put(format!("k/{number}"), format!("value-{number}-")).await?;
    }
    client.put("last", "just-now").await?;
    let stream = begin(&mut client).await?;
    let file = finish(stream, Vec::new()).await?;
    assert!(holds(&file, "value-0-") && holds(&file, "value-2999-") && holds(&file, "just-now"));
    let db = Db::open(&file[..])?;
    let mut names = Vec::new();
    let mut cursor = db.root().cursor();
    while let Some(entry) = cursor.next()? {
        names.push(String::from_utf8_lossy(entry.key).into_owned());
    }
    let expected = "alarm auth authRoles authUsers cluster key lease members members_removed meta";
    assert_eq!(names.join(" "), expected);
    assert_eq!(db.size(), file.len() as u64);
    Ok(())
}

#[tokio::test]
async fn writes_do_not_wait_for_a_reader_that_stands_still() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    fill(&mut client, 12).await?;
    let mut stream = begin(&mut client).await?;
    let first = stream.message().await?.expect("a first piece");
    let mut other = member.client().await;
    for number in 0..200 {
        other.put(format!("later/{number}"), "after-the-view").await?;
    }
    fill(&mut other, 3).await?;
    let file = finish(stream, first.blob.to_vec()).await?;
    assert!(!holds(&file, "after-the-view"), "a snapshot is of the moment it was asked for");
    Ok(())
}

#[tokio::test]
async fn readers_that_leave_hold_up_nobody() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    fill(&mut client, 12).await?;
    // A connection each: what is not read takes room of a connection.
    let mut abandoned = Vec::new();
    for _ in 0..6 {
        let mut client = member.client().await;
        let mut stream = begin(&mut client).await?;
        stream.message().await?.expect("a first piece");
        abandoned.push((client, stream));
    }
    drop(abandoned);
    // More than are served at once.
    for _ in 0..20 {
        let mut stream = begin(&mut client).await?;
        stream.message().await?.expect("a first piece");
    }
    let stream = begin(&mut client).await?;
    let file = finish(stream, Vec::new()).await?;
    assert!(file.len() > 12 << 20);
    Ok(())
}
