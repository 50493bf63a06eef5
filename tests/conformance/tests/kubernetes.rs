//! The traffic of a Kubernetes API server against the server under test.

use anyhow::Result;
use conformance::{
    kubernetes::{Scale, replay},
    member::{Binary, Member},
};

#[tokio::test]
async fn the_life_of_a_cluster() -> Result<()> {
    let flag = Binary::under_test()?.progress_notify_flag("500ms");
    let member = Member::under_test(&[&flag]).await;
    let client = member.client().await;
    replay(&client, Scale { pods: 1700, page: 500, changes: 800 }, true).await
}

#[tokio::test]
async fn lists_that_fill_their_pages_exactly() -> Result<()> {
    let member = Member::under_test(&[]).await;
    let client = member.client().await;
    replay(&client, Scale { pods: 60, page: 10, changes: 40 }, false).await
}
