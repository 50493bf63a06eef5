//! The space quota as an operator meets it: writes stop, space is made, the alarm is disarmed, writes
//! go on.

use anyhow::Result;
use api::etcdserverpb::{self as pb, alarm_request::AlarmAction};
use conformance::{client::Client, member::Member};
use tonic::Code;

const FULL: &str = "etcdserver: mvcc: database space exceeded";

fn alarm(action: AlarmAction, member_id: u64) -> pb::AlarmRequest {
    let alarm =
        if action == AlarmAction::Get { pb::AlarmType::None } else { pb::AlarmType::Nospace };
    pb::AlarmRequest { action: action as i32, member_id, alarm: alarm as i32 }
}

async fn alarms(client: &mut Client) -> Result<Vec<pb::AlarmMember>> {
    let response = client.maintenance.alarm(alarm(AlarmAction::Get, 0)).await?;
    Ok(response.into_inner().alarms)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_member_refuses_writes_until_there_is_room() -> Result<()> {
    let member = Member::under_test(&["--quota-backend-bytes", "2000000"]).await;
    if member.binary().kind() == conformance::member::Kind::Etcd {
        // etcd counts the file, which needs a defragmentation to shrink.
        return Ok(());
    }
    let mut client = member.client().await;
    let mut count = 0;
    let refused = loop {
        match client.put(format!("k{count}"), vec![b'x'; 60_000]).await {
            Ok(_) => count += 1,
            Err(status) => break status,
        }
        assert!(count < 100, "the quota never bites");
        // Sizes are read when changes are committed to the store.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, FULL));
    assert!(count >= 20, "refused after only {count} puts");
    let raised = alarms(&mut client).await?;
    assert_eq!(raised.len(), 1);

    // Nothing that takes space goes, what makes or needs none does.
    assert_eq!(client.put("small", "x").await.unwrap_err().message(), FULL);
    assert_eq!(client.grant(0, 60).await.unwrap_err().message(), FULL);
    assert!(client.get("k1").await?.is_some());
    let range = pb::DeleteRangeRequest {
        key: "k".into(),
        range_end: "l".into(),
        ..pb::DeleteRangeRequest::default()
    };
    let deleted = client.kv.delete_range(range).await?.into_inner();
    assert!(deleted.deleted >= count);
    let revision = deleted.header.expect("a header").revision;
    client.compact(revision).await?;

    client.maintenance.alarm(alarm(AlarmAction::Deactivate, raised[0].member_id)).await?;
    client.put("small", "x").await?;
    assert!(alarms(&mut client).await?.is_empty());
    Ok(())
}
