//! Members whose data differs are found: by the leader at its current revision, by the hashes of
//! compactions, and by themselves before they serve.

use api::etcdserverpb::{AlarmType, CompactionRequest};
use bytes::Bytes;
use prost::Message;
use storage::{Backend, Bucket, Op, engine::LmdbBackend};

use super::*;
use crate::corruption;

impl Rig {
    /// Changes the first value in the store of a member that does not run.
    fn tamper(&self, number: usize) {
        let path = self.data_dir(number).join("member/snap/oxetcd");
        let backend = LmdbBackend::open(&path, storage::engine::LmdbOptions::default()).unwrap();
        let mut found = None;
        backend
            .read()
            .unwrap()
            .scan(Bucket::Key, &[], &mut |key, value| {
                found = Some((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                std::ops::ControlFlow::Break(())
            })
            .unwrap();
        let (key, value) = found.expect("the store has a key");
        let mut kv = api::kv::RawKeyValue(value).decode().unwrap();
        kv.value = Bytes::from_static(b"another");
        let value = kv.encode_to_vec().into();
        backend.commit(&[Op::Put { bucket: Bucket::Key, key, value }]).unwrap();
    }

    /// Starts three members, puts keys, and brings a follower back with other data.
    async fn with_a_corrupt_follower(config: impl Fn(&mut Config)) -> (Rig, usize) {
        let mut rig = Rig::new(3);
        config(&mut rig.config);
        rig.start_all().await;
        for value in ["1", "2", "3"] {
            rig.put(1, "a", value).await;
        }
        rig.assert_equal().await;
        let corrupt = rig.follower().await;
        rig.stop(corrupt).await;
        rig.tamper(corrupt);
        (rig, corrupt)
    }

    fn corrupt_members(&self, number: usize) -> Vec<u64> {
        let alarms = self.handle(number).shared.alarms.read();
        alarms.list(AlarmType::Corrupt as i32).map(|alarm| alarm.member_id).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_finds_a_follower_that_differs() {
    let (mut rig, corrupt) = Rig::with_a_corrupt_follower(|config| {
        config.corrupt_check_time = GoDuration::from_millis(100);
    })
    .await;
    let others = rig.numbers();
    assert!(others.iter().all(|number| rig.corrupt_members(*number).is_empty()));
    rig.start(corrupt).await;
    let id = rig.handle(corrupt).member.0;
    eventually("everybody knows the corrupt member", || {
        rig.numbers().iter().all(|number| rig.corrupt_members(*number) == [id])
    })
    .await;
    let put = PutRequest { key: "b".into(), ..PutRequest::default() };
    let request = InternalRaftRequest { put: Some(put), ..InternalRaftRequest::default() };
    let failure = rig.handle(others[0]).propose(request).await.unwrap_err();
    assert_eq!(failure, api::error::Error::Corrupt.into());
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_of_compactions_show_the_minority() {
    let (mut rig, corrupt) = Rig::with_a_corrupt_follower(|config| {
        config.feature_gates.set("CompactHashCheck=true").unwrap();
        config.compact_hash_check_time = GoDuration::from_millis(100);
    })
    .await;
    rig.start(corrupt).await;
    rig.wait_ready().await;
    let id = rig.handle(corrupt).member.0;
    let compaction = Some(CompactionRequest { revision: 3, physical: false });
    let request = InternalRaftRequest { compaction, ..InternalRaftRequest::default() };
    rig.handle(corrupt).propose(request).await.unwrap();
    eventually("everybody knows the corrupt member", || {
        rig.numbers().iter().all(|number| rig.corrupt_members(*number) == [id])
    })
    .await;
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_member_does_not_start() {
    let (mut rig, corrupt) = Rig::with_a_corrupt_follower(|config| {
        config.feature_gates.set("InitialCorruptCheck=true").unwrap();
    })
    .await;
    let settings = rig.settings(corrupt);
    let error = rig.try_start(corrupt, settings).await.unwrap_err().to_string();
    assert!(error.ends_with(" found data inconsistency with peers"), "{error}");
    // One that is as the others starts, and passes the check later, too.
    let sound = rig.numbers()[0];
    rig.stop(sound).await;
    rig.start(sound).await;
    corruption::check_initially(rig.handle(sound)).await.unwrap();
    rig.end().await;
}
