//! What is put is read back, and bytes that no encoder wrote are errors.

use api::{
    authpb::{Role, User},
    etcdserverpb::AlarmMember,
    ids::{LeaseId, MemberId, RaftIndex, Term},
    leasepb::Lease,
};
use bytes::Bytes;

use super::*;
use crate::{Backend, mem::MemBackend};

fn backend(ops: impl IntoIterator<Item = Op>) -> MemBackend {
    let backend = MemBackend::new();
    backend.commit(&ops.into_iter().collect::<Vec<_>>()).unwrap();
    backend
}

#[test]
fn a_new_store_has_nothing() {
    let empty = backend([]);
    let tx = &*empty.read().unwrap();
    assert_eq!(read_consistent(tx).unwrap(), None);
    assert_eq!(meta::read_conf_state(tx).unwrap(), None);
    assert_eq!(meta::read_scheduled_compact(tx).unwrap(), None);
    assert_eq!(meta::read_storage_version(tx).unwrap(), None);
    assert!(!auth::read_enabled(tx).unwrap());
    assert_eq!(auth::read_revision(tx).unwrap(), 0);
    assert_eq!(cluster::read_version(tx).unwrap(), None);
    assert!(lease::all(tx).unwrap().is_empty() && members::all(tx).unwrap().is_empty());
}

#[test]
fn what_is_put_is_read_back() {
    let lease = Lease { id: -2, ttl: 10, remaining_ttl: 3 };
    let alarm = AlarmMember { member_id: 5, alarm: 1 };
    let user = User { name: "root".into(), ..User::default() };
    let role = Role { name: "root".into(), ..Role::default() };
    let id = MemberId(0xabc);
    let mut ops = vec![
        lease::put(&Lease { id: 1, ..lease }),
        lease::put(&lease),
        lease::put(&Lease { id: 9, ..lease }),
        lease::delete(LeaseId(9)),
        alarm::put(&alarm),
        alarm::put(&AlarmMember { alarm: 2, ..alarm }),
        alarm::delete(&AlarmMember { alarm: 2, ..alarm }),
        auth::put_enabled(true),
        auth::put_revision(7),
        auth_users::put(&user),
        auth_users::put(&User { name: "gone".into(), ..user.clone() }),
        auth_users::delete("gone".into()),
        auth_roles::put(&role),
        auth_roles::put(&Role { name: "gone".into(), ..role.clone() }),
        auth_roles::delete("gone".into()),
        cluster::put_version("3.7.0"),
        cluster::put_downgrade("{}".into()),
        members::put(id, "json".into()),
        members::put(MemberId(1), "json".into()),
        members::delete(MemberId(1)),
        members_removed::put(MemberId(1)),
        meta::put_conf_state("conf".into()),
        meta::put_scheduled_compact(9),
        meta::put_finished_compact(8),
        meta::put_storage_version("3.7.0"),
    ];
    ops.extend(meta::put_consistent(RaftIndex(3), Term(2)));
    let backend = backend(ops);
    let tx = &*backend.read().unwrap();
    assert_eq!(lease::all(tx).unwrap(), [Lease { id: 1, ..lease }, lease]);
    assert_eq!(alarm::all(tx).unwrap(), [alarm]);
    assert!(auth::read_enabled(tx).unwrap());
    assert_eq!(auth::read_revision(tx).unwrap(), 7);
    assert_eq!(auth_users::all(tx).unwrap(), [user]);
    assert_eq!(auth_roles::all(tx).unwrap(), [role]);
    assert_eq!(cluster::read_version(tx).unwrap().unwrap(), "3.7.0");
    assert_eq!(cluster::read_downgrade(tx).unwrap().unwrap(), "{}");
    assert_eq!(members::all(tx).unwrap(), [(id, Bytes::from("json"))]);
    assert_eq!(tx.get(Bucket::Members, b"abc").unwrap(), Some(&b"json"[..]));
    assert_eq!(members_removed::all(tx).unwrap(), [MemberId(1)]);
    assert_eq!(meta::read_conf_state(tx).unwrap().unwrap(), "conf");
    assert_eq!(meta::read_scheduled_compact(tx).unwrap(), Some(9));
    assert_eq!(meta::read_finished_compact(tx).unwrap(), Some(8));
    assert_eq!(meta::read_storage_version(tx).unwrap().unwrap(), "3.7.0");
    assert_eq!(read_consistent(tx).unwrap(), Some((RaftIndex(3), Term(2))));
    let mark = tx.get(Bucket::Meta, b"scheduledCompactRev").unwrap().unwrap();
    assert_eq!(mark, b"\0\0\0\0\0\0\0\x09_\0\0\0\0\0\0\0\0");
    let index = tx.get(Bucket::Meta, b"consistent_index").unwrap().unwrap();
    assert_eq!(index, b"\0\0\0\0\0\0\0\x03");
}

#[test]
fn what_no_encoder_wrote_is_an_error() {
    let bad = |bucket, key: &'static str| put(bucket, key, "\u{7f}");
    let backend = backend([
        bad(Bucket::Meta, "consistent_index"),
        bad(Bucket::Meta, "scheduledCompactRev"),
        bad(Bucket::Auth, "authEnabled"),
        bad(Bucket::Auth, "authRevision"),
        bad(Bucket::Lease, "id"),
        bad(Bucket::Alarm, "\u{7f}"),
        bad(Bucket::AuthUsers, "root"),
        bad(Bucket::AuthRoles, "root"),
        bad(Bucket::Members, "not hex"),
        bad(Bucket::MembersRemoved, "not hex"),
    ]);
    let tx = &*backend.read().unwrap();
    let failed = [
        read_consistent(tx).is_err(),
        meta::read_scheduled_compact(tx).is_err(),
        auth::read_enabled(tx).is_err(),
        auth::read_revision(tx).is_err(),
        lease::all(tx).is_err(),
        alarm::all(tx).is_err(),
        auth_users::all(tx).is_err(),
        auth_roles::all(tx).is_err(),
        members::all(tx).is_err(),
        members_removed::all(tx).is_err(),
    ];
    assert_eq!(failed, [true; 10]);
}
