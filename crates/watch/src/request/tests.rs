//! The rules of spec grpc.md section 5 that concern requests, one scenario each.

use api::etcdserverpb::{WatchCancelRequest, WatchProgressRequest};

use super::*;

fn create(make: impl FnOnce(&mut WatchCreateRequest)) -> WatchRequest {
    let mut request = WatchCreateRequest { key: "k".into(), ..WatchCreateRequest::default() };
    make(&mut request);
    WatchRequest { request_union: Some(RequestUnion::CreateRequest(request)) }
}

fn cancel(watch_id: i64) -> WatchRequest {
    let request = WatchCancelRequest { watch_id };
    WatchRequest { request_union: Some(RequestUnion::CancelRequest(request)) }
}

/// One line per action.
fn shown(actions: &[Action]) -> String {
    let show = |action: &Action| match action {
        Action::Reply(reply) => {
            let revision = reply.header.as_ref().map_or(-1, |header| header.revision);
            let created = if reply.created { " created" } else { "" };
            let canceled = if reply.canceled { " canceled" } else { "" };
            let reason = &reply.cancel_reason;
            format!("reply {} @{revision}{created}{canceled} {reason}", reply.watch_id)
        }
        Action::Create { watch_id, spec } => {
            format!("create {watch_id} {:?} {:?}", spec.range, spec.start)
        }
        Action::Cancel { watch_id } => format!("cancel {watch_id}"),
        Action::Progress => "progress".to_owned(),
    };
    actions.iter().map(|action| show(action).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(state: &mut StreamState, request: WatchRequest, expected: &str) {
    let actions = state.handle(request, 9, |_| Ok(()));
    assert_eq!(shown(&actions), expected);
}

fn ids(state: &mut StreamState, asked: &[i64]) -> Vec<i64> {
    let mut given = Vec::new();
    for watch_id in asked {
        let actions = state.handle(create(|r| r.watch_id = *watch_id), 9, |_| Ok(()));
        match &actions[0] {
            Action::Reply(reply) => given.push(reply.watch_id),
            other => panic!("a create request is answered first: {other:?}"),
        }
    }
    given
}

#[test]
fn a_watcher_is_announced_and_then_created() {
    let mut state = StreamState::new();
    check(&mut state, create(|_| ()), "reply 0 @9 created\ncreate 0 Single(b\"k\") After(9)");
    check(
        &mut state,
        create(|r| (r.start_revision, r.range_end) = (4, "l".into())),
        "reply 1 @9 created\ncreate 1 Span(b\"k\", b\"l\") At(4)",
    );
}

#[test]
fn an_empty_key_is_the_smallest_key() {
    let mut state = StreamState::new();
    check(
        &mut state,
        create(|r| r.key = Bytes::new()),
        "reply 0 @9 created\ncreate 0 Single(b\"\\0\") After(9)",
    );
    check(
        &mut state,
        create(|r| (r.key, r.range_end) = (Bytes::new(), "\0".into())),
        "reply 1 @9 created\ncreate 1 From(b\"\\0\") After(9)",
    );
}

#[test]
fn ids_count_up_past_those_in_use_and_are_not_given_twice() {
    let mut state = StreamState::new();
    assert_eq!(ids(&mut state, &[0, 2, 0, 0, -1]), [0, 2, 1, 3, -1]);
    check(&mut state, cancel(0), "cancel 0\nreply 0 @9 canceled");
    check(&mut state, cancel(-1), "cancel -1\nreply -1 @9 canceled");
    assert_eq!(ids(&mut state, &[0, 7, 0]), [4, 7, 5]);
    let taken = "reply -1 @9 created canceled mvcc: duplicate watch ID provided on the WatchStream";
    check(&mut state, create(|r| r.watch_id = 7), taken);
    assert_eq!(ids(&mut state, &[-1, 0]), [-1, 6]);
}

#[test]
fn cancelling_an_unknown_id_is_not_answered() {
    let mut state = StreamState::new();
    check(&mut state, cancel(0), "");
    assert_eq!(ids(&mut state, &[5]), [5]);
    check(&mut state, cancel(5), "cancel 5\nreply 5 @9 canceled");
    check(&mut state, cancel(5), "");
    assert_eq!(ids(&mut state, &[5]), [5]);
}

#[test]
fn what_cannot_be_watched_is_created_and_canceled_in_one_reply() {
    let mut state = StreamState::new();
    let compacted = "reply -1 @9 created canceled \
        etcdserver: mvcc: required revision has been compacted";
    check(&mut state, create(|r| r.start_revision = -1), compacted);
    let empty = "reply -1 @9 created canceled mvcc: watcher range is empty";
    check(&mut state, create(|r| r.range_end = "k".into()), empty);
    check(&mut state, create(|r| r.range_end = "a".into()), empty);
    // No id was used up.
    assert_eq!(ids(&mut state, &[0]), [0]);
}

#[test]
fn refusals_are_checked_in_order() {
    let mut state = StreamState::new();
    let bad =
        |start_revision| create(|r| (r.start_revision, r.range_end) = (start_revision, "a".into()));
    let deny = |_: &KeyRange| Err(Error::PermissionDenied);
    let actions = state.handle(bad(-1), 9, deny);
    assert!(shown(&actions).ends_with("has been compacted"));
    let actions = state.handle(bad(0), 9, deny);
    let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
    assert_eq!(shown(&actions), format!("reply -1 @9 created canceled {denied}"));
}

#[test]
fn a_refused_caller_reads_a_whole_status() {
    let mut state = StreamState::new();
    for (error, text) in [
        (Error::InvalidAuthToken, "Unauthenticated desc = etcdserver: invalid auth token"),
        (
            Error::AuthOldRevision,
            "InvalidArgument desc = etcdserver: revision of auth store is old",
        ),
        (Error::UserEmpty, "InvalidArgument desc = etcdserver: user name is empty"),
        (Error::UserNotFound, "PermissionDenied desc = etcdserver: permission denied"),
    ] {
        let actions = state.handle(create(|_| ()), 9, |_| Err(error));
        let expected = format!("reply -1 @9 created canceled rpc error: code = {text}");
        assert_eq!(shown(&actions), expected);
    }
}

#[test]
fn filters_and_options_are_taken_over_and_unknown_filters_ignored() {
    let mut state = StreamState::new();
    let request = create(|r| {
        r.filters = vec![FilterType::Nodelete as i32, 9];
        r.prev_kv = true;
        r.fragment = true;
    });
    let actions = state.handle(request, 9, |_| Ok(()));
    let Action::Create { spec, .. } = &actions[1] else { panic!("no watcher: {actions:?}") };
    assert!(spec.filter_delete && !spec.filter_put);
    assert!(spec.prev_kv && spec.fragment && !spec.progress_notify);
}

#[test]
fn progress_is_the_hubs_to_answer_and_an_empty_request_nobodys() {
    let mut state = StreamState::new();
    let progress = RequestUnion::ProgressRequest(WatchProgressRequest {});
    check(&mut state, WatchRequest { request_union: Some(progress) }, "progress");
    check(&mut state, WatchRequest { request_union: None }, "");
}
