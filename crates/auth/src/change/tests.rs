//! Changes of users, roles and permissions: refusals, revisions, what is stored.

use storage::{Backend, mem::MemBackend};

use super::*;
use crate::{Identity, ROOT_ROLE};

/// A store and everything it wrote.
struct Stored {
    store: AuthStore,
    ops: Vec<Op>,
}

impl Stored {
    fn new() -> Stored {
        let backend = MemBackend::new();
        let store = AuthStore::load(&*backend.read().unwrap()).unwrap();
        Stored { store, ops: Vec::new() }
    }

    fn user(&mut self, name: &str) -> Result<(), Error> {
        let hashed_password = password::encode("$2a$04$hash");
        let name = name.to_owned();
        let request = pb::AuthUserAddRequest { name, hashed_password, ..Default::default() };
        self.store.user_add(&request, RaftIndex(1), &mut self.ops)
    }

    fn role(&mut self, name: &str) -> Result<(), Error> {
        self.store.role_add(name, &mut self.ops)
    }

    fn grant(&mut self, user: &str, role: &str) -> Result<(), Error> {
        self.store.user_grant_role(user, role, &mut self.ops)
    }

    fn permit(&mut self, role: &str, kind: Type, key: &str, end: &str) -> Result<(), Error> {
        let permission = permission(kind, key, end);
        self.store.role_grant_permission(role, Some(&permission), &mut self.ops)
    }

    fn enabled() -> Stored {
        let mut stored = Stored::new();
        stored.user("root").unwrap();
        stored.grant("root", ROOT_ROLE).unwrap();
        stored.store.enable(&mut stored.ops).unwrap();
        stored
    }

    fn who(&self, user: &str) -> Identity {
        Identity { user: user.to_owned(), revision: self.store.revision() }
    }

    /// What a member that reads the store back would have.
    fn reloaded(&self) -> AuthStore {
        let backend = MemBackend::new();
        backend.commit(&self.ops).unwrap();
        let view = backend.read().unwrap();
        AuthStore::load(&*view).unwrap()
    }
}

fn permission(kind: Type, key: &str, end: &str) -> Permission {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    Permission { perm_type: kind as i32, key, range_end }
}

fn refused(result: Result<(), Error>) -> Refusal {
    let error = result.expect_err("this is refused");
    *Refusal::ALL.iter().find(|known| error.is(**known)).expect("a known refusal")
}

#[test]
fn every_change_but_enabling_raises_the_revision() {
    let mut stored = Stored::new();
    assert_eq!(stored.store.revision(), 1);
    stored.user("root").unwrap();
    stored.grant("root", ROOT_ROLE).unwrap();
    assert_eq!(stored.store.revision(), 3);
    stored.grant("root", ROOT_ROLE).unwrap();
    assert_eq!(stored.store.revision(), 3, "a role that is there already");
    stored.store.enable(&mut stored.ops).unwrap();
    stored.store.enable(&mut stored.ops).unwrap();
    assert_eq!(stored.store.revision(), 3);
    stored.store.disable(&mut stored.ops);
    stored.store.disable(&mut stored.ops);
    assert_eq!(stored.store.revision(), 4);
    assert_eq!(stored.reloaded(), stored.store);
}

#[test]
fn the_first_revision_is_stored_once() {
    let mut stored = Stored::new();
    stored.store.save_first_revision(&mut stored.ops);
    stored.store.save_first_revision(&mut stored.ops);
    assert_eq!(stored.ops, [schema::auth::put_revision(1)]);
    let mut again = stored.reloaded();
    again.save_first_revision(&mut stored.ops);
    assert_eq!(stored.ops.len(), 1);
}

#[test]
fn enabling_needs_root_with_its_role() {
    let mut stored = Stored::new();
    let refusal = refused(stored.store.enable(&mut stored.ops));
    assert_eq!(refusal, Refusal::RootUserNotExist);
    stored.user("root").unwrap();
    let refusal = refused(stored.store.enable(&mut stored.ops));
    assert_eq!(refusal, Refusal::RootRoleNotExist);
    stored.grant("root", ROOT_ROLE).unwrap();
    stored.store.enable(&mut stored.ops).unwrap();
    assert!(stored.store.is_enabled() && stored.reloaded().is_enabled());
}

#[test]
fn root_stays_while_authentication_is_on() {
    let mut stored = Stored::enabled();
    stored.role("root").unwrap();
    let ops = &mut Vec::new();
    let store = &mut stored.store;
    assert_eq!(refused(store.user_delete("root", ops)), Refusal::InvalidAuthManagement);
    assert_eq!(refused(store.role_delete("root", ops)), Refusal::InvalidAuthManagement);
    let revoked = store.user_revoke_role("root", "root", ops);
    assert_eq!(refused(revoked), Refusal::InvalidAuthManagement);
    assert!(ops.is_empty());
    store.disable(ops);
    store.user_revoke_role("root", "root", ops).unwrap();
    store.user_delete("root", ops).unwrap();
    store.role_delete("root", ops).unwrap();
}

#[test]
fn names_are_unique_and_not_empty() {
    let mut stored = Stored::new();
    assert_eq!(refused(stored.user("")), Refusal::UserEmpty);
    assert_eq!(refused(stored.role("")), Refusal::RoleEmpty);
    stored.user("a").unwrap();
    stored.role("a").unwrap();
    assert_eq!(refused(stored.user("a")), Refusal::UserAlreadyExist);
    assert_eq!(refused(stored.role("a")), Refusal::RoleAlreadyExist);
    let long = "n".repeat(KEY_BYTES_MAX + 1);
    assert_eq!(refused(stored.user(&long)), Refusal::RequestTooLarge);
    stored.role(&long[1..]).unwrap();
    assert_eq!(stored.store.revision(), 4);
}

#[test]
fn what_is_missing_is_named() {
    let mut stored = Stored::new();
    assert_eq!(refused(stored.grant("a", "r")), Refusal::UserNotFound);
    stored.user("a").unwrap();
    assert_eq!(refused(stored.grant("a", "r")), Refusal::RoleNotFound);
    assert_eq!(refused(stored.permit("r", Type::Read, "k", "")), Refusal::RoleNotFound);
    let ops = &mut Vec::new();
    let store = &mut stored.store;
    assert_eq!(refused(store.user_revoke_role("a", "r", ops)), Refusal::RoleNotGranted);
    assert_eq!(refused(store.user_revoke_role("b", "r", ops)), Refusal::UserNotFound);
    assert_eq!(refused(store.user_delete("b", ops)), Refusal::UserNotFound);
    assert_eq!(refused(store.role_delete("r", ops)), Refusal::RoleNotFound);
    let password = pb::AuthUserChangePasswordRequest { name: "b".into(), ..Default::default() };
    let changed = store.user_change_password(&password, RaftIndex(1), ops);
    assert_eq!(refused(changed), Refusal::UserNotFound);
    let revoke = pb::AuthRoleRevokePermissionRequest { role: "r".into(), ..Default::default() };
    assert_eq!(refused(store.role_revoke_permission(&revoke, ops)), Refusal::RoleNotFound);
    assert_eq!(refused(store.user_get("b").map(drop)), Refusal::UserNotFound);
    assert_eq!(refused(store.role_get("r").map(drop)), Refusal::RoleNotFound);
    assert!(ops.is_empty());
}

#[test]
fn permissions_need_a_range() {
    let mut stored = Stored::new();
    stored.role("r").unwrap();
    let none = stored.store.role_grant_permission("missing", None, &mut stored.ops);
    assert_eq!(refused(none), Refusal::PermissionNotGiven);
    for (key, end) in [("", ""), ("", "z"), ("b", "a"), ("b", "b")] {
        let refusal = refused(stored.permit("missing", Type::Read, key, end));
        assert_eq!(refusal, Refusal::InvalidAuthManagement, "{key}..{end}");
    }
    for (key, end) in [("b", ""), ("b", "c"), ("b", "\0"), ("\0", "\0")] {
        stored.permit("r", Type::Read, key, end).unwrap();
    }
}

#[test]
fn permissions_are_sorted_and_replaced_in_place() {
    let mut stored = Stored::new();
    stored.role("r").unwrap();
    stored.permit("r", Type::Read, "b", "").unwrap();
    stored.permit("r", Type::Read, "a", "").unwrap();
    stored.permit("r", Type::Write, "b", "").unwrap();
    let held = stored.store.role_get("r").unwrap();
    assert_eq!(held, [permission(Type::Read, "a", ""), permission(Type::Write, "b", "")]);
    // Only the first permission on a key can be replaced, as in etcd.
    stored.permit("r", Type::Read, "b", "c").unwrap();
    stored.permit("r", Type::Write, "b", "c").unwrap();
    let held = stored.store.role_get("r").unwrap();
    assert_eq!(held[2..], [permission(Type::Read, "b", "c"), permission(Type::Write, "b", "c")]);
    let request = pb::AuthRoleRevokePermissionRequest {
        role: "r".into(),
        key: "b".into(),
        range_end: "c".into(),
    };
    stored.store.role_revoke_permission(&request, &mut stored.ops).unwrap();
    assert_eq!(stored.store.role_get("r").unwrap().len(), 2, "all on the range are gone");
    let again = stored.store.role_revoke_permission(&request, &mut stored.ops);
    assert_eq!(refused(again), Refusal::PermissionNotGranted);
    assert_eq!(stored.reloaded(), stored.store);
}

#[test]
fn role_root_shows_every_permission() {
    let mut stored = Stored::new();
    stored.role("root").unwrap();
    stored.permit("root", Type::Read, "k", "").unwrap();
    let all = permission(Type::Readwrite, "", "\0");
    assert_eq!(stored.store.role_get("root").unwrap(), [all]);
}

#[test]
fn a_deleted_role_is_taken_from_its_users() {
    let mut stored = Stored::enabled();
    stored.user("alice").unwrap();
    for role in ["writers", "readers"] {
        stored.role(role).unwrap();
        stored.grant("alice", role).unwrap();
    }
    stored.permit("readers", Type::Read, "k", "").unwrap();
    assert_eq!(stored.store.user_get("alice").unwrap(), ["readers", "writers"]);
    let who = stored.who("alice");
    stored.store.check_read_key(&who, b"k").unwrap();
    stored.store.role_delete("readers", &mut stored.ops).unwrap();
    assert_eq!(stored.store.user_get("alice").unwrap(), ["writers"]);
    let who = stored.who("alice");
    let refusal = refused(stored.store.check_read_key(&who, b"k"));
    assert_eq!(refusal, Refusal::PermissionDenied);
    assert_eq!(stored.reloaded(), stored.store);
}

#[test]
fn users_without_password_keep_none() {
    let mut stored = Stored::new();
    let options = Some(UserAddOptions { no_password: true });
    let request = pb::AuthUserAddRequest {
        name: "cert".into(),
        hashed_password: "!".into(),
        options,
        ..Default::default()
    };
    stored.store.user_add(&request, RaftIndex(1), &mut stored.ops).unwrap();
    let change = pb::AuthUserChangePasswordRequest {
        name: "cert".into(),
        hashed_password: password::encode("h"),
        ..Default::default()
    };
    stored.store.user_change_password(&change, RaftIndex(2), &mut stored.ops).unwrap();
    let user = stored.store.user("cert").unwrap();
    assert!(user.has_no_password() && user.password_hash().is_empty());
}

#[test]
fn a_password_is_stored_as_it_was_hashed() {
    let mut stored = Stored::new();
    stored.user("a").unwrap();
    assert_eq!(stored.store.user("a").unwrap().password_hash(), "$2a$04$hash");
    let mut change = pb::AuthUserChangePasswordRequest {
        name: "a".into(),
        hashed_password: "not base64!".into(),
        ..Default::default()
    };
    let store = &mut stored.store;
    let broken = store.user_change_password(&change, RaftIndex(2), &mut stored.ops);
    assert_eq!(broken, Err(Error::NO_PASSWORD_USER));
    change.hashed_password = password::encode("other");
    store.user_change_password(&change, RaftIndex(2), &mut stored.ops).unwrap();
    assert_eq!(store.user("a").unwrap().password_hash(), "other");
    change = pb::AuthUserChangePasswordRequest { password: "clear".into(), ..change };
    change.hashed_password.clear();
    store.user_change_password(&change, RaftIndex(3), &mut stored.ops).unwrap();
    assert!(password::matches(b"clear", &store.user("a").unwrap().password_hash()));
}

/// The bytes are those that etcd 3.5 and 3.7 write for the same requests.
#[test]
fn records_are_encoded_as_etcd_does() {
    let mut stored = Stored::new();
    stored.user("a").unwrap();
    let Some(Op::Put { value, .. }) = stored.ops.first() else { panic!("a user was put") };
    assert_eq!(&value[..], b"\x0a\x01a\x12\x0b$2a$04$hash\x22\x00");
    stored.role("r").unwrap();
    stored.permit("r", Type::Write, "k", "m").unwrap();
    let roles = stored.ops.iter().filter_map(|op| match op {
        Op::Put { bucket: storage::Bucket::AuthRoles, value, .. } => Some(value.clone()),
        _ => None,
    });
    let last = roles.last().unwrap();
    assert_eq!(&last[..], b"\x0a\x01r\x12\x08\x08\x01\x12\x01k\x1a\x01m");
}

#[test]
fn rights_of_several_roles_add_up() {
    let mut stored = Stored::enabled();
    stored.user("alice").unwrap();
    for (role, key, end) in [("low", "a", "m"), ("high", "m", "z")] {
        stored.role(role).unwrap();
        stored.permit(role, Type::Readwrite, key, end).unwrap();
        stored.grant("alice", role).unwrap();
    }
    let who = stored.who("alice");
    let range = api::range::KeyRange::new("b".into(), "y".into());
    stored.store.check_read(&who, &range).unwrap();
    stored.store.check_write(&who, &range).unwrap();
    let wider = api::range::KeyRange::new("b".into(), "zz".into());
    assert_eq!(refused(stored.store.check_read(&who, &wider)), Refusal::PermissionDenied);
}

#[test]
fn refusals_come_in_etcds_order() {
    let mut stored = Stored::enabled();
    let nobody = Identity::nobody();
    let store = &stored.store;
    assert_eq!(refused(store.check_read_key(&nobody, b"k")), Refusal::UserEmpty);
    assert_eq!(refused(store.check_admin(&nobody)), Refusal::UserEmpty);
    let ghost = stored.who("ghost");
    assert_eq!(refused(store.check_read_key(&ghost, b"k")), Refusal::PermissionDenied);
    assert_eq!(refused(store.check_admin(&ghost)), Refusal::UserNotFound);
    let root = stored.who("root");
    stored.user("alice").unwrap();
    let store = &stored.store;
    assert_eq!(refused(store.check_read_key(&root, b"k")), Refusal::AuthOldRevision);
    store.check_admin(&root).unwrap();
    assert_eq!(refused(store.check_current(&root)), Refusal::AuthOldRevision);
    store.check_current(&nobody).unwrap();
    let alice = stored.who("alice");
    assert_eq!(refused(store.check_admin(&alice)), Refusal::PermissionDenied);
    store.check_see_user(&alice, "alice").unwrap();
    assert_eq!(refused(store.check_see_user(&alice, "root")), Refusal::PermissionDenied);
    assert_eq!(refused(store.check_see_role(&alice, "root")), Refusal::PermissionDenied);
    store.check_see_role(&stored.who("root"), "anything").unwrap();
    stored.store.disable(&mut stored.ops);
    stored.store.check_admin(&nobody).unwrap();
    stored.store.check_write_key(&nobody, b"k").unwrap();
}
