//! Conf changes against a small cluster.

use super::*;

const ADD: ConfChangeType = ConfChangeType::ConfChangeAddNode;
const LEARN: ConfChangeType = ConfChangeType::ConfChangeAddLearnerNode;
const REMOVE: ConfChangeType = ConfChangeType::ConfChangeRemoveNode;
const UPDATE: ConfChangeType = ConfChangeType::ConfChangeUpdateNode;

fn member(id: u64, url: &str, is_learner: bool) -> Member {
    let peer_urls = vec![url.to_owned()];
    Member { id: MemberId(id), peer_urls, is_learner, ..Member::default() }
}

/// Voters 1 and 2, learner 3; member 9 was removed; one learner allowed.
fn cluster() -> Membership {
    let members = [
        member(1, "http://a:1", false),
        member(2, "http://b:1", false),
        member(3, "http://c:1", true),
    ];
    let mut cluster = Membership::from_members(api::ids::ClusterId(7), 1, members);
    cluster.removed.insert(MemberId(9));
    cluster
}

fn change(kind: ConfChangeType, id: u64, context: Vec<u8>) -> ConfChange {
    ConfChange { r#type: kind as i32, node_id: id, context: context.into(), id: 77 }
}

#[track_caller]
fn refused(kind: ConfChangeType, id: u64, context: Vec<u8>, error: Error) {
    let result = cluster().validate(&change(kind, id, context));
    assert_eq!(result, Err(Invalid::Refused(error)));
}

fn add(id: u64, url: &str, is_learner: bool) -> Vec<u8> {
    json::change_context(&member(id, url, is_learner), false)
}

fn promote(id: u64) -> Vec<u8> {
    json::change_context(&Member { id: MemberId(id), ..Member::default() }, true)
}

fn update(id: u64, url: &str) -> Vec<u8> {
    json::member_to_json(&member(id, url, false))
}

#[test]
fn what_the_cluster_does_not_allow_is_refused() {
    refused(ADD, 9, add(9, "http://z:1", false), Error::MemberNotFound);
    refused(ADD, 1, add(1, "http://z:1", false), Error::MemberExist);
    refused(ADD, 4, add(4, "http://a:1", false), Error::PeerUrlExist);
    refused(LEARN, 4, add(4, "http://z:1", true), Error::TooManyLearners);
    refused(ADD, 4, promote(4), Error::MemberNotFound);
    refused(ADD, 9, promote(9), Error::MemberNotFound);
    refused(ADD, 1, promote(1), Error::MemberNotLearner);
    refused(REMOVE, 4, Vec::new(), Error::MemberNotFound);
    refused(REMOVE, 9, Vec::new(), Error::MemberNotFound);
    refused(UPDATE, 4, update(4, "http://z:1"), Error::MemberNotFound);
    refused(UPDATE, 1, update(1, "http://b:1"), Error::PeerUrlExist);
}

#[test]
fn what_is_allowed_comes_back_as_a_change() {
    let validate = |kind, id, context| cluster().validate(&change(kind, id, context)).unwrap();
    let voter = member(4, "http://z:1", false);
    assert_eq!(validate(ADD, 4, add(4, "http://z:1", false)), Change::Add(voter));
    assert_eq!(validate(ADD, 3, promote(3)), Change::Promote(MemberId(3)));
    assert_eq!(validate(REMOVE, 1, Vec::new()), Change::Remove(MemberId(1)));
    let moved = Change::Update { id: MemberId(1), peer_urls: vec!["http://a:1".into()] };
    assert_eq!(validate(UPDATE, 1, update(1, "http://a:1")), moved);
}

#[test]
fn malformed_changes_are_told_apart() {
    let malformed = |kind, id, context| {
        let result = cluster().validate(&change(kind, id, context));
        assert!(matches!(result, Err(Invalid::Malformed(_))), "{result:?}");
    };
    malformed(ADD, 4, b"{".to_vec());
    malformed(ADD, 4, add(5, "http://z:1", false));
    malformed(UPDATE, 1, update(2, "http://z:1"));
    let unknown = ConfChange { r#type: 42, node_id: 1, ..ConfChange::default() };
    assert!(matches!(cluster().validate(&unknown), Err(Invalid::Malformed(_))));
}
