//! One oxetcd member in a cluster with real etcd: what works, step by step.
//!
//! `cargo run -p cluster --bin mixed`. Two members of etcd are started, the third is added and
//! started as `existing`. A step that fails is told with its reason; the next goes on.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use api::etcdserverpb as pb;
use clap::Parser;
use cluster::{
    binary::Binary,
    cluster::{Cluster, Options, READY_LIMIT},
    connection::Connection,
};

/// A cluster of two members of etcd and one of oxetcd.
#[derive(Parser)]
struct Arguments {
    /// What the first two run: `etcd`, `oxetcd` or a path.
    #[arg(long, default_value = "etcd")]
    others: String,
    /// What is added.
    #[arg(long, default_value = "oxetcd")]
    joining: String,
    /// Prints the ends of all logs when a step fails.
    #[arg(long)]
    logs: bool,
}

/// The slot of the member that joins.
const OURS: usize = 2;
/// A further slot, for a learner.
const LEARNER: usize = 3;
/// So many entries make a snapshot, and so few are kept for slow followers.
const SNAPSHOT: (u64, u64) = (200, 50);

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let others = Binary::named(&arguments.others)?;
    let joining = Binary::named(&arguments.joining)?;
    let mut options = Options::of(others.clone(), 2).spare(2);
    options.binaries = vec![others.clone(), others.clone(), joining.clone(), others.clone()];
    // oxetcd understands the older names too.
    options.flags = others.short_log_flags(SNAPSHOT.0, SNAPSHOT.1);
    println!(
        "mixed: two members of {}, joined by one of {}",
        others.describe(),
        joining.describe()
    );
    let failed = Cluster::with(options, async move |cluster| {
        let mut run = Run { cluster, failed: 0, logs: arguments.logs };
        run.all().await;
        Ok(run.failed)
    })?;
    println!(
        "{}",
        if failed == 0 { "everything works".into() } else { format!("{failed} steps failed") }
    );
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Run<'a> {
    cluster: &'a mut Cluster,
    failed: usize,
    logs: bool,
}

/// Runs one step and tells how it went.
macro_rules! step {
    ($run:ident, $name:literal, $step:expr) => {{
        let began = Instant::now();
        let result: Result<()> = $step.await;
        $run.tell($name, began, result).await;
    }};
}

impl Run<'_> {
    async fn all(&mut self) {
        step!(self, "member add, start as existing", self.join());
        step!(self, "log replication; equal HashKV", self.replication());
        step!(self, "its name and URLs are in everyone's member list", self.attributes());
        step!(self, "writes and linearizable reads through it", self.through_us());
        step!(self, "leases through it: grant, keep alive, revoke", self.leases());
        step!(self, "transactions, deletions, compaction; equal HashKV", self.transactions());
        step!(self, "its vote: an etcd becomes leader with it", self.vote());
        step!(self, "move-leader to it; it leads", self.lead());
        step!(self, "etcd follows it: writes at every member", self.led_by_us());
        step!(self, "leases while it leads", self.leases());
        step!(self, "a snapshot from it to etcd", self.snapshot(OURS, 0));
        step!(self, "move-leader away from it", self.lead_by(0));
        step!(self, "a snapshot from etcd to it", self.snapshot(0, OURS));
        step!(self, "it starts again from its directory", self.restart());
        step!(self, "a learner added through it, promoted, removed", self.learner());
        step!(self, "it leads, is killed, comes back", self.killed());
        step!(self, "all killed, all back; equal HashKV", self.all_killed());
        step!(self, "it is removed and ends by itself", self.removed());
    }

    async fn tell(&mut self, name: &str, began: Instant, result: Result<()>) {
        let took = began.elapsed();
        match result {
            Ok(()) => println!("  works    {name} ({took:.1?})"),
            Err(error) => {
                self.failed += 1;
                println!("  FAILS    {name} ({took:.1?}): {error:#}");
                if self.logs {
                    self.cluster.print_logs();
                }
            }
        }
        for crash in self.cluster.crashes() {
            self.failed += 1;
            println!("  CRASHED  {crash}");
        }
        for slot in self.cluster.configured() {
            let member = self.cluster.member(slot);
            if !member.is_running()
                && let Err(error) = member.start()
            {
                println!("  member {slot} cannot be started: {error:#}");
            }
        }
        if let Err(error) = self.cluster.wait_ready(Duration::from_secs(20)).await {
            println!("  not all members serve: {error:#}");
        }
    }

    fn ours(&self) -> Connection {
        self.cluster.connection(OURS)
    }

    async fn put(&self, slot: usize, key: &str, value: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let connection = self.cluster.connection(slot);
        while let Err(status) = connection.put(key, value).await {
            ensure!(Instant::now() < deadline, "put at {slot}: {status}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    async fn equal(&self) -> Result<()> {
        self.cluster.wait_equal(Duration::from_secs(20)).await?;
        Ok(())
    }

    async fn join(&mut self) -> Result<()> {
        for i in 0..20 {
            self.put(0, &format!("before/{i}"), "value").await?;
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.cluster.add(OURS, false).await {
            ensure!(Instant::now() < deadline, "member add: {error:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.cluster.member(OURS).start()?;
        self.cluster.wait_member(OURS, Instant::now() + READY_LIMIT).await
    }

    async fn replication(&mut self) -> Result<()> {
        self.put(0, "replicated", "1").await?;
        self.equal().await?;
        let read = self.ours().get("replicated", true).await?;
        ensure!(read.as_deref() == Some("1"), "read {read:?}");
        let read = self.ours().get("before/19", true).await?;
        ensure!(read.as_deref() == Some("value"), "from before it joined: {read:?}");
        Ok(())
    }

    async fn attributes(&mut self) -> Result<()> {
        let name = self.cluster.member(OURS).name();
        let url = self.cluster.member(OURS).client_url().to_owned();
        let mut lists = Vec::new();
        for slot in self.cluster.running() {
            let mut members = self.cluster.connection(slot).members().await?;
            members.sort_by_key(|member| member.id);
            let found = members.iter().any(|m| m.name == name && m.client_urls.contains(&url));
            ensure!(found, "member {slot} lists {members:?}");
            lists.push(members);
        }
        ensure!(lists.windows(2).all(|pair| pair[0] == pair[1]), "lists differ: {lists:?}");
        Ok(())
    }

    async fn through_us(&mut self) -> Result<()> {
        for i in 0..50 {
            self.put(OURS, &format!("through/{i}"), &i.to_string()).await?;
            let read = self.ours().get(&format!("through/{i}"), false).await?;
            ensure!(read == Some(i.to_string()), "read {read:?}");
        }
        self.equal().await
    }

    async fn leases(&mut self) -> Result<()> {
        let mut lease = self.ours().lease;
        let granted = lease.lease_grant(pb::LeaseGrantRequest { ttl: 30, id: 0 }).await?;
        let id = granted.into_inner().id;
        for slot in [0, 1, OURS] {
            let mut lease = self.cluster.connection(slot).lease;
            let request = tokio_stream::once(pb::LeaseKeepAliveRequest { id });
            let mut answers = lease.lease_keep_alive(request).await?.into_inner();
            let answer = answers.message().await?.context("no answer to a renewal")?;
            ensure!(answer.ttl == 30, "renewed at {slot}: {answer:?}");
            let request = pb::LeaseTimeToLiveRequest { id, keys: true };
            let answer = lease.lease_time_to_live(request).await?.into_inner();
            ensure!(answer.granted_ttl == 30, "asked at {slot}: {answer:?}");
        }
        let request = pb::PutRequest {
            key: "leased".into(),
            value: "value".into(),
            lease: id,
            ..Default::default()
        };
        self.ours().kv.put(request).await?;
        lease.lease_revoke(pb::LeaseRevokeRequest { id }).await?;
        self.equal().await?;
        let read = self.cluster.connection(0).get("leased", false).await?;
        ensure!(read.is_none(), "the leased key is still there");
        Ok(())
    }

    async fn transactions(&mut self) -> Result<()> {
        for slot in [0, OURS] {
            let mut kv = self.cluster.connection(slot).kv;
            for i in 0..30 {
                let key = format!("txn/{}", i % 5);
                let put = pb::PutRequest {
                    key: key.clone().into(),
                    value: i.to_string().into(),
                    ..Default::default()
                };
                let op = pb::request_op::Request::RequestPut(put);
                let success = vec![pb::RequestOp { request: Some(op) }];
                kv.txn(pb::TxnRequest { success, ..Default::default() }).await?;
            }
            let request = pb::DeleteRangeRequest {
                key: "txn/3".into(),
                range_end: "txn/5".into(),
                ..Default::default()
            };
            kv.delete_range(request).await?;
            let revision = self.ours().put("compact", "here").await?;
            kv.compact(pb::CompactionRequest { revision, physical: true }).await?;
        }
        self.equal().await
    }

    /// Without one of the two, the other needs our vote.
    async fn vote(&mut self) -> Result<()> {
        for killed in [0, 1] {
            self.cluster.member(killed).kill();
            self.put(1 - killed, "vote", &killed.to_string()).await?;
            self.cluster.member(killed).start()?;
            self.cluster.wait_ready(READY_LIMIT).await?;
        }
        self.equal().await
    }

    async fn lead_by(&mut self, slot: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.cluster.leader().await != Some(slot) {
            let moved = self.cluster.move_leader(slot).await;
            ensure!(Instant::now() < deadline, "not the leader yet: {moved:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    }

    async fn lead(&mut self) -> Result<()> {
        self.lead_by(OURS).await
    }

    async fn led_by_us(&mut self) -> Result<()> {
        for i in 0..60 {
            self.put(i % 3, &format!("led/{i}"), "value").await?;
        }
        for slot in [0, 1, OURS] {
            let read = self.cluster.connection(slot).get("led/59", false).await?;
            ensure!(read.as_deref() == Some("value"), "read at {slot}: {read:?}");
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        ensure!(self.cluster.leader().await == Some(OURS), "it does not lead any more");
        self.equal().await
    }

    /// `to` is away so long that `from`, which leads, has to send it a snapshot.
    async fn snapshot(&mut self, from: usize, to: usize) -> Result<()> {
        self.lead_by(from).await?;
        self.cluster.member(to).kill();
        for i in 0..SNAPSHOT.0 * 4 {
            let (key, value) = (format!("snapshot/{}", i % 300), format!("{from} {i}"));
            self.put(from, &key, &value).await?;
        }
        let before = self.cluster.member(to).log().len();
        self.cluster.member(to).start()?;
        self.cluster.wait_member(to, Instant::now() + Duration::from_secs(40)).await?;
        self.equal().await?;
        let log = self.cluster.member(to).log();
        ensure!(log[before..].contains("applied snapshot"), "no snapshot was applied");
        Ok(())
    }

    async fn restart(&mut self) -> Result<()> {
        self.cluster.restart(OURS).await?;
        self.equal().await
    }

    async fn learner(&mut self) -> Result<()> {
        self.lead_by(OURS).await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.cluster.add(LEARNER, true).await {
            ensure!(Instant::now() < deadline, "member add --learner: {error:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.cluster.member(LEARNER).start()?;
        self.cluster.promote(LEARNER, Duration::from_secs(30)).await?;
        self.put(LEARNER, "learner", "voter").await?;
        self.equal().await?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.cluster.remove(LEARNER).await {
            ensure!(Instant::now() < deadline, "member remove: {error:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.cluster.member(LEARNER).wait_end(Duration::from_secs(20)).await?;
        self.cluster.member(LEARNER).replace()
    }

    async fn killed(&mut self) -> Result<()> {
        self.lead_by(OURS).await?;
        self.cluster.member(OURS).kill();
        self.put(0, "killed", "value").await?;
        self.cluster.member(OURS).start()?;
        self.cluster.wait_ready(READY_LIMIT).await?;
        let read = self.ours().get("killed", false).await?;
        ensure!(read.as_deref() == Some("value"), "read {read:?}");
        self.equal().await
    }

    async fn all_killed(&mut self) -> Result<()> {
        self.equal().await?;
        for slot in [0, 1, OURS] {
            self.cluster.member(slot).kill();
        }
        for slot in [0, 1, OURS] {
            self.cluster.member(slot).start()?;
        }
        self.cluster.wait_ready(READY_LIMIT).await?;
        self.equal().await
    }

    async fn removed(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while let Err(error) = self.cluster.remove(OURS).await {
            ensure!(Instant::now() < deadline, "member remove: {error:#}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        self.cluster.member(OURS).wait_end(Duration::from_secs(20)).await?;
        self.cluster.member(OURS).replace()?;
        self.put(0, "without", "it").await?;
        self.equal().await
    }
}
