//! Many users who log in at once.

use api::{
    authpb::UserAddOptions,
    etcdserverpb::{
        AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserGrantRoleRequest,
        AuthenticateRequest, InternalRaftRequest,
    },
};

use super::*;
use crate::limits::LOGINS_AT_ONCE_MAX;

/// A member with the user root, whose password is `r`.
async fn with_root() -> Rig {
    let rig = Rig::started(1).await;
    rig.leader().await;
    let hash = auth::password::hash(b"r", 4, [7; 16]).unwrap();
    let user = AuthUserAddRequest {
        name: "root".into(),
        hashed_password: auth::password::encode(&hash),
        options: Some(UserAddOptions { no_password: false }),
        ..Default::default()
    };
    let grant = AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() };
    let none = InternalRaftRequest::default;
    for request in [
        InternalRaftRequest { auth_user_add: Some(user), ..none() },
        InternalRaftRequest {
            auth_role_add: Some(AuthRoleAddRequest { name: "root".into() }),
            ..none()
        },
        InternalRaftRequest { auth_user_grant_role: Some(grant), ..none() },
        InternalRaftRequest { auth_enable: Some(AuthEnableRequest {}), ..none() },
    ] {
        rig.handle(1).propose(request).await.unwrap();
    }
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn few_logins_are_on_their_way_at_once_and_all_arrive() {
    let rig = with_root().await;
    let logins = u32::try_from(LOGINS_AT_ONCE_MAX).unwrap();
    let handle = rig.handle(1).clone();
    let turns = handle.auth.logins.acquire_many(logins).await.unwrap();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..4 * LOGINS_AT_ONCE_MAX {
        let handle = handle.clone();
        waiting.spawn(async move {
            let request = AuthenticateRequest { name: "root".into(), password: "r".into() };
            handle.authenticate(request).await
        });
    }
    // While others have all turns nobody gets through; everything else does.
    for _ in 0..10 {
        handle.linearizable().await.unwrap();
    }
    assert!(waiting.try_join_next().is_none());
    drop(turns);
    while let Some(login) = waiting.join_next().await {
        assert!(!login.unwrap().unwrap().token.is_empty());
    }
    assert_eq!(handle.auth.logins.available_permits(), LOGINS_AT_ONCE_MAX);
    drop(handle);
    rig.end().await;
}
