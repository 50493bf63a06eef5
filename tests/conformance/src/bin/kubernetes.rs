//! Replays the traffic of a Kubernetes API server against one executable, oxetcd or a real etcd,
//! and fails on the first wrong answer.

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use clap::Parser;
use conformance::{
    kubernetes::{Scale, replay},
    member::{Binary, Member},
};

/// What to run and how much of it.
#[derive(Parser)]
struct Arguments {
    /// The server's executable; the reference etcd when absent.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Objects to create.
    #[arg(long, default_value_t = 5000)]
    pods: usize,
    /// Objects of a page.
    #[arg(long, default_value_t = 500)]
    page: i64,
    /// Updates and deletions.
    #[arg(long, default_value_t = 5000)]
    changes: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let binary = match &arguments.binary {
        Some(path) => Binary::at(path)?,
        None => Binary::reference()?,
    };
    let flag = binary.progress_notify_flag("500ms");
    let mut member = Member::start(&binary, &[&flag, "--unsafe-no-fsync"]).await?;
    let client = member.client().await;
    let Arguments { pods, page, changes, .. } = arguments;
    let started = Instant::now();
    replay(&client, Scale { pods, page, changes }, true).await?;
    member.assert_sound();
    let path = binary.path().display();
    println!(
        "{path}: {pods} objects, {changes} changes, all answers right, {:?}",
        started.elapsed()
    );
    Ok(())
}
