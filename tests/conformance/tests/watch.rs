//! The watch service: identifiers, starts, progress, filters, fragments, ends and crowds.
//!
//! Source: behaviour of etcd 3.5 and 3.7. Every test owns a server.

use anyhow::Result;
use api::{
    etcdserverpb::{self as pb, watch_create_request::FilterType, watch_request::RequestUnion},
    mvccpb::{Event, event::EventType},
};
use bytes::Bytes;
use conformance::{
    client::{decode_one, revision},
    member::Member,
    watching::{WatchStream, mod_revision, watch_key, watch_prefix},
};

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

/// Every event of some messages, in order.
fn events(responses: &[pb::WatchResponse]) -> Vec<&Event> {
    responses.iter().flat_map(|response| &response.events).collect()
}

/// Kind, key, value and revision of an event, for comparison.
fn brief(event: &Event) -> (i32, String, String, i64) {
    let kv = decode_one(event.kv.as_ref().unwrap());
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    (event.r#type, text(&kv.key), text(&kv.value), kv.mod_revision)
}

const PUT: i32 = EventType::Put as i32;
const DELETE: i32 = EventType::Delete as i32;

/// A watcher that was refused: the message that creates it also cancels it.
#[track_caller]
fn assert_refused(response: &pb::WatchResponse, reason: &str) {
    assert!(response.created && response.canceled, "{response:?}");
    assert_eq!(response.watch_id, -1, "{response:?}");
    assert_eq!(response.cancel_reason, reason, "{response:?}");
    assert!(response.events.is_empty(), "{response:?}");
}

#[tokio::test]
async fn ids_are_counted_or_chosen() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let client = member.client().await;
    let (mut stream, created) = WatchStream::create(&client, watch_key("a")).await?;
    assert_eq!((created.watch_id, created.canceled), (0, false));
    assert_eq!(revision(&created.header), 1);

    stream.send_create(pb::WatchCreateRequest { watch_id: 1, ..watch_key("a") })?;
    assert_eq!(stream.next().await?.watch_id, 1);
    // The counter stands at 1, which is taken.
    stream.send_create(watch_key("a"))?;
    assert_eq!(stream.next().await?.watch_id, 2);
    stream.send_create(pb::WatchCreateRequest { watch_id: 1 << 40, ..watch_key("a") })?;
    assert_eq!(stream.next().await?.watch_id, 1 << 40);

    // A counted id is not given again after its watcher ended.
    stream.send_cancel(0)?;
    assert_eq!(stream.next().await?.watch_id, 0);
    stream.send_create(watch_key("a"))?;
    assert_eq!(stream.next().await?.watch_id, 3);

    // A chosen id is free again after its watcher ended.
    stream.send_cancel(1)?;
    assert!(stream.next().await?.canceled);
    stream.send_create(pb::WatchCreateRequest { watch_id: 1, ..watch_key("a") })?;
    let created = stream.next().await?;
    assert_eq!((created.watch_id, created.canceled), (1, false));
    Ok(())
}

#[tokio::test]
async fn refused_watchers_leave_the_stream_alive() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let first = pb::WatchCreateRequest { watch_id: 5, ..watch_key("a") };
    let (mut stream, _) = WatchStream::create(&client, first).await?;

    stream.send_create(pb::WatchCreateRequest { watch_id: 5, ..watch_key("b") })?;
    let duplicate = "mvcc: duplicate watch ID provided on the WatchStream";
    assert_refused(&stream.next().await?, duplicate);

    stream.send_create(pb::WatchCreateRequest { start_revision: -1, ..watch_key("a") })?;
    assert_refused(&stream.next().await?, COMPACTED);

    for range_end in ["a", "A"] {
        stream.send_create(pb::WatchCreateRequest {
            range_end: range_end.into(),
            ..watch_key("a")
        })?;
        assert_refused(&stream.next().await?, "mvcc: watcher range is empty");
    }

    let put = client.put("a", "1").await?;
    let response = stream.next().await?;
    assert_eq!((response.watch_id, mod_revision(&response.events[0])), (5, put));
    Ok(())
}

#[tokio::test]
async fn a_compacted_start_is_cancelled_with_the_compact_revision() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for value in ["1", "2", "3", "4", "5"] {
        client.put("a", value).await?;
    }
    client.compact(4).await?;

    let start = |start_revision| pb::WatchCreateRequest { start_revision, ..watch_key("a") };
    let (mut stream, created) = WatchStream::create(&client, start(3)).await?;
    assert!(!created.canceled);
    assert_eq!(revision(&created.header), 6);
    let cancelled = stream.next().await?;
    assert!(cancelled.canceled && !cancelled.created, "{cancelled:?}");
    assert_eq!(cancelled.watch_id, created.watch_id);
    assert_eq!(cancelled.compact_revision, 4);
    assert_eq!(cancelled.cancel_reason, "");
    assert_eq!(revision(&cancelled.header), 0, "{cancelled:?}");

    // The compact revision itself can be watched from, on the same stream.
    stream.send_create(start(4))?;
    assert!(stream.next().await?.created);
    let responses = stream.until_event(6).await?;
    let revisions: Vec<i64> = events(&responses).into_iter().map(mod_revision).collect();
    assert_eq!(revisions, [4, 5, 6]);
    Ok(())
}

#[tokio::test]
async fn history_is_replayed_in_order_and_followed_by_the_present() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    for i in 0..20 {
        client.put(format!("p/{}", i % 3), i.to_string()).await?;
        client.put("other", "x").await?;
    }
    client.delete("p/1").await?;
    let past = pb::WatchCreateRequest { start_revision: 2, ..watch_prefix("p/") };
    let (mut stream, created) = WatchStream::create(&client, past).await?;
    assert_eq!(revision(&created.header), 42);
    let last = client.put("p/9", "now").await?;

    let responses = stream.until_event(last).await?;
    let mut expected: Vec<_> =
        (0..20).map(|i| (PUT, format!("p/{}", i % 3), i.to_string(), 2 + 2 * i)).collect();
    expected.push((DELETE, "p/1".into(), String::new(), 42));
    expected.push((PUT, "p/9".into(), "now".into(), last));
    let got: Vec<_> = events(&responses).into_iter().map(brief).collect();
    assert_eq!(got, expected);
    for response in &responses {
        let newest = response.events.last().map_or(0, mod_revision);
        assert!(revision(&response.header) >= newest, "{response:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_future_start_waits_for_its_revision() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let future = pb::WatchCreateRequest { start_revision: 4, ..watch_key("a") };
    let (mut stream, created) = WatchStream::create(&client, future).await?;
    assert!(!created.canceled);
    client.put("a", "2").await?;
    client.put("a", "3").await?;
    stream.expect_silence().await?;
    client.put("a", "4").await?;
    let response = stream.next().await?;
    assert_eq!(brief(&response.events[0]), (PUT, "a".into(), "4".into(), 4));
    assert_eq!(response.events.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_transaction_is_one_message_in_execution_order() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.put("k/3", "old").await?;
    let (mut stream, _) = WatchStream::create(&client, watch_prefix("k/")).await?;
    let put = |key: &'static str| pb::RequestOp {
        request: Some(pb::request_op::Request::RequestPut(pb::PutRequest {
            key: key.into(),
            value: "v".into(),
            ..Default::default()
        })),
    };
    let delete = pb::RequestOp {
        request: Some(pb::request_op::Request::RequestDeleteRange(pb::DeleteRangeRequest {
            key: "k/3".into(),
            ..Default::default()
        })),
    };
    let txn = pb::TxnRequest {
        success: vec![put("k/2"), delete, put("outside"), put("k/1")],
        ..Default::default()
    };
    let at = revision(&client.txn(txn).await?.header);
    let response = stream.next().await?;
    let got: Vec<_> = response.events.iter().map(brief).collect();
    let expected = [
        (PUT, "k/2".into(), "v".into(), at),
        (DELETE, "k/3".into(), String::new(), at),
        (PUT, "k/1".into(), "v".into(), at),
    ];
    assert_eq!(got, expected);
    assert_eq!(revision(&response.header), at);
    Ok(())
}

#[tokio::test]
async fn prev_kv_and_the_shape_of_events() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.grant(77, 600).await?;
    let with_prev = pb::WatchCreateRequest { prev_kv: true, ..watch_key("a") };
    let (mut stream, _) = WatchStream::create(&client, with_prev).await?;
    let leased =
        pb::PutRequest { key: "a".into(), value: "1".into(), lease: 77, ..Default::default() };
    client.put_with(leased).await?;
    client.put("a", "2").await?;
    client.delete("a").await?;
    client.put("a", "4").await?;
    let responses = stream.until_event(5).await?;
    let [create, update, delete, again] = events(&responses)[..] else {
        panic!("not four events: {responses:?}")
    };

    let kv = decode_one(create.kv.as_ref().unwrap());
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (2, 2, 1, 77));
    assert!(create.prev_kv.is_none());

    let kv = decode_one(update.kv.as_ref().unwrap());
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version, kv.lease), (2, 3, 2, 0));
    let previous = decode_one(update.prev_kv.as_ref().unwrap());
    assert_eq!((&previous.value[..], previous.mod_revision, previous.lease), (&b"1"[..], 2, 77));

    // A deletion carries the key and its own revision, nothing else.
    assert_eq!(delete.r#type, DELETE);
    let kv = decode_one(delete.kv.as_ref().unwrap());
    let bare = api::kv::KeyValue { key: "a".into(), mod_revision: 4, ..Default::default() };
    assert_eq!(kv, bare);
    let previous = decode_one(delete.prev_kv.as_ref().unwrap());
    assert_eq!((&previous.value[..], previous.version), (&b"2"[..], 2));

    let kv = decode_one(again.kv.as_ref().unwrap());
    assert_eq!((kv.create_revision, kv.version), (5, 1));
    assert!(again.prev_kv.is_none());
    Ok(())
}

#[tokio::test]
async fn prev_kv_is_absent_once_compacted() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    client.put("a", "1").await?;
    client.put("a", "2").await?;
    client.put("a", "3").await?;
    client.compact(3).await?;
    let past = pb::WatchCreateRequest { prev_kv: true, start_revision: 3, ..watch_key("a") };
    let (mut stream, _) = WatchStream::create(&client, past).await?;
    let responses = stream.until_event(4).await?;
    let previous: Vec<_> = events(&responses).iter().map(|event| event.prev_kv.is_some()).collect();
    assert_eq!(previous, [false, true]);
    Ok(())
}

#[tokio::test]
async fn filters_drop_events_and_empty_messages() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let filtered = |filters: &[FilterType]| pb::WatchCreateRequest {
        filters: filters.iter().map(|filter| *filter as i32).collect(),
        ..watch_key("a")
    };
    let (mut no_put, _) = WatchStream::create(&client, filtered(&[FilterType::Noput])).await?;
    let (mut no_delete, _) =
        WatchStream::create(&client, filtered(&[FilterType::Nodelete])).await?;
    let (mut neither, _) =
        WatchStream::create(&client, filtered(&[FilterType::Noput, FilterType::Nodelete])).await?;
    // Filters without a meaning filter nothing.
    let unknown = pb::WatchCreateRequest { filters: vec![9, -1], ..watch_key("a") };
    let (mut all, _) = WatchStream::create(&client, unknown).await?;

    client.put("a", "1").await?;
    client.delete("a").await?;
    client.put("a", "3").await?;
    client.delete("a").await?;

    let kinds = |responses: &[pb::WatchResponse]| -> Vec<(i32, i64)> {
        events(responses).into_iter().map(|event| (event.r#type, mod_revision(event))).collect()
    };
    assert_eq!(kinds(&no_put.until_event(5).await?), [(DELETE, 3), (DELETE, 5)]);
    assert_eq!(kinds(&no_delete.until_event(4).await?), [(PUT, 2), (PUT, 4)]);
    assert_eq!(kinds(&all.until_event(5).await?), [(PUT, 2), (DELETE, 3), (PUT, 4), (DELETE, 5)]);
    neither.expect_silence().await?;

    // The same filters on history.
    let past = pb::WatchCreateRequest { start_revision: 2, ..filtered(&[FilterType::Noput]) };
    let (mut stream, _) = WatchStream::create(&client, past).await?;
    assert_eq!(kinds(&stream.until_event(5).await?), [(DELETE, 3), (DELETE, 5)]);
    Ok(())
}

#[tokio::test]
async fn the_empty_key_means_the_zero_byte() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let (mut single, _) = WatchStream::create(&client, watch_key("")).await?;
    let everything = pb::WatchCreateRequest { range_end: "\0".into(), ..watch_key("") };
    let (mut all, _) = WatchStream::create(&client, everything).await?;
    client.put("a", "1").await?;
    client.put("\0", "2").await?;
    assert_eq!(brief(&single.next().await?.events[0]), (PUT, "\0".into(), "2".into(), 3));
    assert_eq!(brief(&all.next().await?.events[0]), (PUT, "a".into(), "1".into(), 2));
    Ok(())
}

#[tokio::test]
async fn cancel_answers_for_known_ids_only() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let (mut stream, _) = WatchStream::create(&client, watch_key("a")).await?;
    stream.send_create(watch_key("b"))?;
    assert_eq!(stream.next().await?.watch_id, 1);

    stream.send_cancel(99)?;
    stream.expect_silence().await?;
    stream.send_cancel(0)?;
    let cancelled = stream.next().await?;
    assert!(cancelled.canceled && !cancelled.created, "{cancelled:?}");
    assert_eq!((cancelled.watch_id, cancelled.cancel_reason.as_str()), (0, ""));
    assert_eq!(cancelled.compact_revision, 0);
    stream.send_cancel(0)?;
    stream.expect_silence().await?;

    client.put("a", "1").await?;
    client.put("b", "2").await?;
    let response = stream.next().await?;
    assert_eq!(response.watch_id, 1, "the cancelled watcher must be silent: {response:?}");
    Ok(())
}

#[tokio::test]
async fn manual_progress() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let progress = RequestUnion::ProgressRequest(pb::WatchProgressRequest {});
    let mut stream = WatchStream::open(&client, progress)?;
    stream.expect_silence().await?;

    stream.send_create(watch_key("a"))?;
    assert!(stream.next().await?.created);
    client.put("other", "1").await?;
    stream.send_progress()?;
    let response = stream.next().await?;
    assert_eq!(response.watch_id, -1, "{response:?}");
    assert!(response.events.is_empty() && !response.canceled && !response.created);
    assert_eq!(revision(&response.header), 2);

    // While a watcher waits for the future, the stream cannot say that it has seen everything.
    stream.send_create(pb::WatchCreateRequest { start_revision: 10, ..watch_key("a") })?;
    assert!(stream.next().await?.created);
    stream.send_progress()?;
    stream.expect_silence().await?;

    // Progress never overtakes events.
    let (mut stream, _) = WatchStream::create(&client, watch_key("a")).await?;
    for round in 0..50 {
        let at = client.put("a", round.to_string()).await?;
        let before = stream.until_progress(at, 1).await?;
        assert_eq!(events(&before).into_iter().map(mod_revision).collect::<Vec<_>>(), [at]);
    }
    Ok(())
}

#[tokio::test]
async fn periodic_progress_is_sent_to_idle_watchers_that_asked() -> Result<()> {
    let flag = {
        let binary = conformance::member::Binary::under_test()?;
        binary.progress_notify_flag("200ms")
    };
    let member = Member::under_test(&[&flag]).await;
    let mut client = member.client().await;
    let asked = pb::WatchCreateRequest { progress_notify: true, watch_id: 3, ..watch_key("a") };
    let (mut stream, _) = WatchStream::create(&client, asked).await?;
    let (mut silent, _) = WatchStream::create(&client, watch_key("a")).await?;
    let at = client.put("other", "1").await?;
    // The first may have been on its way before the put.
    let mut seen = 0;
    for _ in 0..3 {
        let response = stream.next().await?;
        assert_eq!(response.watch_id, 3, "{response:?}");
        assert!(response.events.is_empty() && !response.created, "{response:?}");
        assert!(revision(&response.header) >= seen);
        seen = revision(&response.header);
    }
    assert_eq!(seen, at);
    silent.expect_silence().await?;
    Ok(())
}

/// A put of `key`, as an operation of a transaction.
fn put_op(key: &str, value: Bytes) -> pb::RequestOp {
    let put = pb::PutRequest { key: key.to_owned().into(), value, ..Default::default() };
    pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
}

#[tokio::test]
async fn large_messages_are_fragmented_when_asked() -> Result<()> {
    const LIMIT: usize = 2 << 20;
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let watch = |fragment, start_revision| pb::WatchCreateRequest {
        start_revision,
        fragment,
        prev_kv: true,
        ..watch_prefix("k/")
    };
    let (mut live, _) = WatchStream::create(&client, watch(true, 0)).await?;
    let (mut live_whole, _) = WatchStream::create(&client, watch(false, 0)).await?;
    // With the previous values the second revision alone is 2.8 MB.
    let value = Bytes::from(vec![b'x'; 100_000]);
    for _ in 0..2 {
        let success = (0..14).map(|i| put_op(&format!("k/{i:02}"), value.clone())).collect();
        client.txn(pb::TxnRequest { success, ..Default::default() }).await?;
    }
    for i in 0..20 {
        client.put(format!("k/{i:02}"), value.clone()).await?;
    }
    let last = 23;

    let whole = live_whole.until_event(last).await?;
    let (mut past, _) = WatchStream::create(&client, watch(true, 2)).await?;
    let (mut past_whole, _) = WatchStream::create(&client, watch(false, 2)).await?;
    for responses in [live.until_event(last).await?, past.until_event(last).await?] {
        assert_eq!(events(&responses), events(&whole), "fragments hold the same events");
        assert!(responses.iter().any(|response| response.fragment), "nothing is fragmented");
        for (response, next) in responses.iter().zip(&responses[1..]) {
            assert!(prost::Message::encoded_len(response) < LIMIT + 300_000);
            // A revision goes on in the next message only after a fragment.
            let end = mod_revision(response.events.last().unwrap());
            let goes_on = end == mod_revision(&next.events[0]);
            assert!(response.fragment || !goes_on, "revision {end} is split without a mark");
            let same = revision(&response.header) == revision(&next.header);
            assert!(same || !response.fragment, "fragments of one message have one header");
        }
        assert!(!responses.last().unwrap().fragment, "the last fragment has no mark");
    }
    for responses in [past_whole.until_event(last).await?, whole] {
        assert!(responses.iter().all(|response| !response.fragment));
        for (response, next) in responses.iter().zip(&responses[1..]) {
            let end = mod_revision(response.events.last().unwrap());
            assert!(end < mod_revision(&next.events[0]), "revision {end} is split");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_half_closed_stream_goes_on() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let (mut stream, _) = WatchStream::create(&client, watch_key("a")).await?;
    stream.half_close();
    stream.expect_silence().await?;
    for i in 0..3 {
        let at = client.put("a", i.to_string()).await?;
        assert_eq!(mod_revision(&stream.next().await?.events[0]), at);
    }
    Ok(())
}

#[tokio::test]
async fn a_required_leader_is_there() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    let create = RequestUnion::CreateRequest(watch_key("a"));
    let mut stream = WatchStream::open_with(&client, create, |request| {
        request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    })?;
    assert!(stream.next().await?.created);
    let at = client.put("a", "1").await?;
    assert_eq!(mod_revision(&stream.next().await?.events[0]), at);
    Ok(())
}

#[tokio::test]
async fn ending_streams_takes_their_watchers_away() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let mut client = member.client().await;
    // Many streams come and go; a server that keeps their watchers grows and slows down.
    for round in 0..300 {
        let (stream, _) = WatchStream::create(&client, watch_key("a")).await?;
        drop(stream);
        if round % 50 == 0 {
            client.put("a", "x").await?;
        }
    }
    let (mut stream, _) = WatchStream::create(&client, watch_key("a")).await?;
    let at = client.put("a", "y").await?;
    assert_eq!(mod_revision(&stream.next().await?.events[0]), at);
    Ok(())
}
