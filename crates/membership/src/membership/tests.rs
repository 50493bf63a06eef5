//! What is stored, and what comes back.

use storage::{Backend, Bucket, mem::MemBackend};

use super::*;

fn member(id: u64, name: &str, is_learner: bool) -> Member {
    let peer_urls = vec![format!("http://m{id}:2380")];
    Member { id: MemberId(id), peer_urls, is_learner, name: name.into(), ..Member::default() }
}

fn load(backend: &MemBackend) -> Membership {
    Membership::load(&*backend.read().unwrap(), ClusterId(7), 1).unwrap()
}

fn record(backend: &MemBackend, bucket: Bucket, key: &str) -> Option<String> {
    let tx = backend.read().unwrap();
    let value = tx.get(bucket, key.as_bytes()).unwrap();
    value.map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn changes_survive_in_the_records_of_etcd() {
    let backend = MemBackend::new();
    let mut cluster = Membership::new(ClusterId(7), 1);
    let mut ops = Vec::new();
    cluster.apply(&Change::Add(member(0x1f, "a", false)), &mut ops);
    cluster.apply(&Change::Add(member(2, "", true)), &mut ops);
    cluster.apply(&Change::Add(member(3, "", false)), &mut ops);
    let clients = ["http://a:2379".to_string()];
    let published = cluster.set_attributes(MemberId(0x1f), "a", &clients, &mut ops);
    assert_eq!(published, AttributesOutcome::Updated);
    cluster.apply(&Change::Promote(MemberId(2)), &mut ops);
    cluster.apply(&Change::Remove(MemberId(3)), &mut ops);
    let moved = vec!["http://x:1".to_string()];
    cluster.apply(&Change::Update { id: MemberId(2), peer_urls: moved }, &mut ops);
    cluster.set_version(Version::parse("3.7").unwrap(), &mut ops);
    let downgrade = Downgrade { enabled: true, target_version: "3.6.0".into() };
    cluster.set_downgrade(downgrade, &mut ops);
    backend.commit(&ops).unwrap();

    let first =
        r#"{"id":31,"peerURLs":["http://m31:2380"],"name":"a","clientURLs":["http://a:2379"]}"#;
    assert_eq!(record(&backend, Bucket::Members, "1f").unwrap(), first);
    let second = r#"{"id":2,"peerURLs":["http://x:1"]}"#;
    assert_eq!(record(&backend, Bucket::Members, "2").unwrap(), second);
    assert_eq!(record(&backend, Bucket::Members, "3"), None);
    assert_eq!(record(&backend, Bucket::MembersRemoved, "3").unwrap(), "removed");
    assert_eq!(record(&backend, Bucket::Cluster, "clusterVersion").unwrap(), "3.7.0");
    let state = r#"{"voters":[2,31],"auto_leave":false}"#;
    assert_eq!(record(&backend, Bucket::Meta, "confState").unwrap(), state);

    let loaded = load(&backend);
    assert_eq!(loaded.members, cluster.members);
    assert_eq!(loaded.removed, cluster.removed);
    assert_eq!(loaded.version, cluster.version);
    assert_eq!(loaded.downgrade, cluster.downgrade);
    let ids: Vec<u64> = loaded.members().map(|member| member.id.0).collect();
    assert_eq!(ids, [2, 0x1f]);
}

#[test]
fn attributes_of_strangers_change_nothing() {
    let mut cluster = Membership::from_members(ClusterId(7), 1, [member(1, "a", false)]);
    cluster.removed.insert(MemberId(2));
    let mut ops = Vec::new();
    let removed = cluster.set_attributes(MemberId(2), "x", &[], &mut ops);
    let unknown = cluster.set_attributes(MemberId(3), "x", &[], &mut ops);
    assert_eq!((removed, unknown), (AttributesOutcome::Removed, AttributesOutcome::Unknown));
    assert!(ops.is_empty());
}

#[test]
fn a_quorum_of_started_members_guards_reconfiguration() {
    let cluster = |names: &[&str]| {
        let members = names.iter().zip(1..).map(|(name, id)| member(id, name, false));
        Membership::from_members(ClusterId(7), 1, members)
    };
    assert!(cluster(&["a"]).is_ready_to_add_voter());
    assert!(cluster(&["a", "b"]).is_ready_to_add_voter());
    assert!(!cluster(&["a", ""]).is_ready_to_add_voter());
    assert!(cluster(&["a", "b", ""]).is_ready_to_promote());
    assert!(!cluster(&["a", "", ""]).is_ready_to_promote());
    // Of a, b and one that never started: it may go, a started one may not.
    let three = cluster(&["a", "b", ""]);
    assert!(three.is_ready_to_remove_voter(MemberId(3)));
    assert!(!three.is_ready_to_remove_voter(MemberId(1)));
    assert!(!cluster(&["a"]).is_ready_to_remove_voter(MemberId(1)));
}

#[test]
fn corrupt_records_are_reported() {
    let corrupt = |bucket, key: &'static str, value: &'static str| {
        let backend = MemBackend::new();
        backend.commit(&[Op::Put { bucket, key: key.into(), value: value.into() }]).unwrap();
        let loaded = Membership::load(&*backend.read().unwrap(), ClusterId(7), 1);
        loaded.map(|_| ()).unwrap_err().to_string()
    };
    assert!(corrupt(Bucket::Members, "zz", "{}").contains("corrupt record in bucket members"));
    assert!(corrupt(Bucket::Members, "1", "{").starts_with("member 1 is corrupt"));
    assert!(corrupt(Bucket::Cluster, "clusterVersion", "new").ends_with("corrupt: new"));
    assert!(corrupt(Bucket::Cluster, "downgrade", "1").contains("corrupt"));
}
