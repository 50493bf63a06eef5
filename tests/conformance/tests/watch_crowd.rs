//! Many watchers, and one that never reads.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use conformance::{
    client::Client,
    member::Member,
    watching::{WatchStream, mod_revision, watch_key, watch_prefix},
};

/// Streams of the crowd, and watchers on each of them.
const STREAMS: usize = 20;
const WATCHERS: usize = 50;
/// Watchers of the stream that nobody reads, and what they miss meanwhile.
const DEAF: usize = 8;
const FILL: usize = 8000;

/// Receives until each watcher of the stream saw as many events as were sent; fails on a gap.
async fn receive_all(mut stream: WatchStream, first: i64, count: i64) -> Result<Duration> {
    let started = Instant::now();
    let mut next = vec![first; WATCHERS];
    let mut done = 0;
    while done < WATCHERS {
        let response = stream.next().await?;
        let cursor = &mut next[response.watch_id as usize];
        for event in &response.events {
            assert_eq!(mod_revision(event), *cursor, "a gap or a repeat");
            *cursor += 1;
        }
        done += usize::from(*cursor == first + count);
    }
    Ok(started.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_do_not_wait_for_one_that_never_reads() -> Result<()> {
    const EVENTS: i64 = 100;
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;

    // Its own connection, so that its full window blocks no other stream.
    let deaf_client = member.client().await;
    let (mut deaf, _) = WatchStream::create(&deaf_client, watch_prefix("")).await?;
    for _ in 1..DEAF {
        deaf.send_create(watch_prefix(""))?;
        assert!(deaf.next().await?.created);
    }
    let mut streams = Vec::new();
    for _ in 0..STREAMS / 5 {
        let connection = member.client().await;
        for _ in 0..5 {
            streams.push(crowded_stream(&connection).await?);
        }
    }
    let tasks: Vec<_> =
        streams.into_iter().map(|s| tokio::spawn(receive_all(s, 2, EVENTS))).collect();
    let value = Bytes::from(vec![b'v'; 1 << 10]);
    let started = Instant::now();
    for _ in 0..EVENTS {
        client.put("hot", value.clone()).await?;
    }
    let writing = started.elapsed();
    for task in tasks {
        task.await??;
    }
    let total = started.elapsed();
    assert!(total < Duration::from_secs(20), "writing {writing:?}, all received {total:?}");

    // What the deaf stream does not read must not pile up: 8 times 32 MiB of it.
    let before = member.anonymous_memory()?;
    fill(&client, FILL, 4 << 10).await?;
    let grown = member.anonymous_memory()?.saturating_sub(before);
    assert!(grown < 160 << 20, "memory grew by {} MiB", grown >> 20);

    // It lost nothing either.
    let mut next = [2; DEAF];
    while next.iter().any(|next| *next < 2 + EVENTS + FILL as i64) {
        let response = deaf.next().await?;
        for event in &response.events {
            let cursor = &mut next[response.watch_id as usize];
            assert_eq!(mod_revision(event), *cursor, "a gap or a repeat");
            *cursor += 1;
        }
    }
    Ok(())
}

/// A stream with [`WATCHERS`] watchers on the hot key.
async fn crowded_stream(client: &Client) -> Result<WatchStream> {
    let (mut stream, _) = WatchStream::create(client, watch_key("hot")).await?;
    for id in 1..WATCHERS {
        stream.send_create(watch_key("hot"))?;
        assert_eq!(stream.next().await?.watch_id, id as i64);
    }
    Ok(stream)
}

/// Puts `count` values of `size` bytes over 100 keys from 16 tasks.
async fn fill(client: &Client, count: usize, size: usize) -> Result<()> {
    let value = Bytes::from(vec![b'f'; size]);
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let (mut client, value) = (client.clone(), value.clone());
            tokio::spawn(async move {
                for i in (task..count).step_by(16) {
                    client.put(format!("fill/{}", i % 100), value.clone()).await?;
                }
                Ok::<_, tonic::Status>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}
