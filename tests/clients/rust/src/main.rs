//! The Rust `etcd-client` crate against one member. Usage: rust-client ENDPOINT.

use std::time::Duration;

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, EventType, GetOptions, PutOptions, SortOrder,
    SortTarget, Txn, TxnOp, WatchOptions,
};

type Checked = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Checked {
    let endpoint = std::env::args().nth(1).expect("an endpoint is given");
    let mut client = Client::connect([endpoint], None).await?;
    client.delete("/rs/", Some(DeleteOptions::new().with_prefix())).await?;
    keys(&mut client).await?;
    transactions(&mut client).await?;
    leases(&mut client).await?;
    watches(&mut client).await?;
    maintenance(&mut client).await?;
    println!("rust etcd-client: keys, transactions, leases, watches, maintenance ok");
    Ok(())
}

async fn keys(client: &mut Client) -> Checked {
    client.put("/rs/a", "1", None).await?;
    client.put("/rs/b", "2", None).await?;
    let prefix = GetOptions::new().with_prefix().with_sort(SortTarget::Key, SortOrder::Descend);
    let found = client.get("/rs/", Some(prefix)).await?;
    let values: Vec<_> = found.kvs().iter().map(|kv| kv.value_str()).collect::<Result<_, _>>()?;
    assert_eq!(values, ["2", "1"]);
    let put = client.put("/rs/a", "3", Some(PutOptions::new().with_prev_key())).await?;
    assert_eq!(put.prev_key().expect("a previous value").value(), b"1");
    let gone = client.delete("/rs/a", Some(DeleteOptions::new().with_prev_key())).await?;
    assert_eq!((gone.deleted(), gone.prev_kvs()[0].value()), (1, &b"3"[..]));
    Ok(())
}

async fn transactions(client: &mut Client) -> Checked {
    let txn = Txn::new()
        .when([Compare::create_revision("/rs/t", CompareOp::Equal, 0)])
        .and_then([TxnOp::put("/rs/t", "x", None)])
        .or_else([TxnOp::get("/rs/t", None)]);
    assert!(client.txn(txn.clone()).await?.succeeded());
    assert!(!client.txn(txn).await?.succeeded());
    Ok(())
}

async fn leases(client: &mut Client) -> Checked {
    let lease = client.lease_grant(5, None).await?.id();
    client.put("/rs/l", "leased", Some(PutOptions::new().with_lease(lease))).await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
    keeper.keep_alive().await?;
    assert_eq!(answers.message().await?.expect("an answer").ttl(), 5);
    client.lease_revoke(lease).await?;
    assert!(client.get("/rs/l", None).await?.kvs().is_empty());
    Ok(())
}

async fn watches(client: &mut Client) -> Checked {
    let mut stream = client.watch("/rs/w/", Some(WatchOptions::new().with_prefix())).await?;
    for i in 0..20 {
        client.put(format!("/rs/w/{i}"), i.to_string(), None).await?;
    }
    client.delete("/rs/w/0", None).await?;
    let mut seen = Vec::new();
    while seen.len() < 21 {
        let next = tokio::time::timeout(Duration::from_secs(5), stream.message()).await??;
        seen.extend(next.expect("the stream goes on").events().iter().map(|e| e.event_type()));
    }
    assert_eq!(seen.iter().filter(|kind| **kind == EventType::Put).count(), 20);
    assert_eq!(seen.last(), Some(&EventType::Delete));
    Ok(())
}

async fn maintenance(client: &mut Client) -> Checked {
    let status = client.status().await?;
    assert!(status.version().starts_with("3.") && status.leader() != 0);
    assert_eq!(client.member_list().await?.members().len(), 1);
    assert!(client.alarm(
        etcd_client::AlarmAction::Get,
        etcd_client::AlarmType::None,
        None,
    ).await?.alarms().is_empty());
    client.defragment().await?;
    Ok(())
}
