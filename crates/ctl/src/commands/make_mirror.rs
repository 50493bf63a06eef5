//! `make-mirror`: copies keys to another cluster, and goes on copying their changes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use api::{
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, WatchCreateRequest,
    },
    mvccpb::{Event, event::EventType},
    range::prefix_end,
};
use bytes::Bytes;
use client::{client::Client, error::Error, kv};

use crate::{
    cli::{
        Command, Group, Invocation,
        flag::{Flag, Flags, Kind},
    },
    exit::{Code, Failure, Outcome},
    global::{self, Secure, Spec},
    progress::{Progress, Unit},
    session::Session,
};

/// Keys that are read at once.
const PAGE: i64 = 1000;
/// Keys that are on their way to the destination at once.
const IN_FLIGHT: usize = 16;
/// How often the number of copied changes is printed.
const REPORT: Duration = Duration::from_secs(30);

/// `make-mirror`.
pub(crate) static COMMAND: Command = Command {
    usage: "make-mirror [options] <destination>",
    short: "Keeps a copy of keys in another cluster",
    group: Some(Group::Utility),
    flags: &[
        Flag::new("prefix", Kind::Text, "copy keys with this prefix only"),
        Flag::new("rev", Kind::Int, "copy changes from this revision on, without what was before"),
        Flag::new("max-txn-ops", Kind::Uint, "most changes in one transaction").default("128"),
        Flag::new("dest-prefix", Kind::Text, "prefix at the destination instead of --prefix"),
        Flag::new("no-dest-prefix", Kind::Bool, "drop the prefix at the destination"),
        Flag::new("dest-cert", Kind::Text, "client certificate file for the destination"),
        Flag::new("dest-key", Kind::Text, "key file of that certificate"),
        Flag::new("dest-cacert", Kind::Text, "authorities of the destination's certificates"),
        Flag::new(
            "dest-insecure-transport",
            Kind::Bool,
            "allow connections to the destination without TLS",
        )
        .default("true"),
        Flag::new("dest-user", Kind::Text, "name[:password] at the destination"),
        Flag::new("dest-password", Kind::Text, "password, when --dest-user has only the name"),
    ],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let [destination] = &invocation.args[..] else {
        return Err(Failure::bad_args("make-mirror takes one destination argument"));
    };
    let destination = String::from_utf8_lossy(destination).into_owned();
    let flags = &invocation.flags;
    let credentials = global::password(
        flags.text("dest-user"),
        flags.text("dest-password"),
        "Destination Password: ",
    )?;
    let session = Session::open(invocation)?;
    let spec = Spec {
        endpoints: vec![destination],
        secure: Secure {
            cert: flags.text("dest-cert").to_owned(),
            key: flags.text("dest-key").to_owned(),
            cacert: flags.text("dest-cacert").to_owned(),
            insecure_transport: flags.bool("dest-insecure-transport"),
            ..Secure::default()
        },
        credentials,
        ..session.spec.clone()
    };
    let to = session.client_of(&spec)?;
    let from = session.client()?;
    let mirror = Mirror::new(from, to, flags)?;
    let end = session.run(mirror.run(flags.int("rev")));
    let text = end.err().map_or_else(|| "<nil>".to_owned(), |error| error.to_string());
    Err(Failure::new(Code::Error, text))
}

struct Mirror {
    from: Client,
    to: Client,
    prefix: Vec<u8>,
    dest_prefix: Vec<u8>,
    /// Whether the prefix is dropped at the destination.
    no_dest_prefix: bool,
    max_txn_ops: usize,
    copied: Arc<AtomicI64>,
}

impl Mirror {
    fn new(from: Client, to: Client, flags: &Flags) -> Result<Mirror, Failure> {
        let no_dest_prefix = flags.bool("no-dest-prefix");
        let dest_prefix = flags.text("dest-prefix").as_bytes().to_vec();
        if no_dest_prefix && !dest_prefix.is_empty() {
            return Err(Failure::bad_args(
                "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
            ));
        }
        Ok(Mirror {
            from,
            to,
            prefix: flags.text("prefix").as_bytes().to_vec(),
            dest_prefix,
            no_dest_prefix,
            max_txn_ops: usize::try_from(flags.uint("max-txn-ops")).unwrap_or(usize::MAX).max(1),
            copied: Arc::default(),
        })
    }

    /// Copies until something fails, or the source ends the watch.
    async fn run(mut self, rev: i64) -> Result<(), Error> {
        let copied = self.copied.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REPORT).await;
                println!("{}", copied.load(Ordering::Relaxed));
            }
        });
        let start = match rev - 1 {
            ..=0 => {
                // As in etcdctl: only a mirror that begins with a copy keeps the prefix by itself.
                if !self.no_dest_prefix && self.dest_prefix.is_empty() {
                    self.dest_prefix.clone_from(&self.prefix);
                }
                self.copy().await?
            }
            start => start,
        };
        self.follow(start + 1).await
    }

    /// Copies everything as it is at one revision; that revision.
    async fn copy(&self) -> Result<i64, Error> {
        let probe = if self.prefix.is_empty() { b"foo".to_vec() } else { self.prefix.clone() };
        let answer = self.from.range(kv::get(probe)).await?;
        let revision = answer.header.unwrap_or_default().revision;
        let (mut key, range_end) = self.range();
        let mut progress = Progress::new("copying", Unit::Things("keys"));
        let mut total = None;
        loop {
            let page = self
                .from
                .range(RangeRequest {
                    range_end: range_end.clone(),
                    limit: PAGE,
                    revision,
                    ..kv::get(key)
                })
                .await?;
            // The first page counts them all.
            let total = *total.get_or_insert(u64::try_from(page.count).unwrap_or(0));
            let mut last = Bytes::new();
            for chunk in page.kvs.chunks(IN_FLIGHT) {
                let mut puts = tokio::task::JoinSet::new();
                for raw in chunk {
                    let kv = raw.decode().map_err(|_| Error::Recipe("malformed key-value"))?;
                    last = kv.key.clone();
                    let (to, put) = (self.to.clone(), self.put(&kv.key, kv.value));
                    puts.spawn(async move { to.put(put).await });
                }
                while let Some(done) = puts.join_next().await {
                    done.expect("a put does not panic")?;
                    self.copied.fetch_add(1, Ordering::Relaxed);
                }
                let copied = u64::try_from(self.copied.load(Ordering::Relaxed)).unwrap_or(0);
                progress.show(copied, Some(total));
            }
            if !page.more {
                return Ok(revision);
            }
            key = [&last[..], &[0]].concat().into();
        }
    }

    /// Copies changes: one transaction a revision, unless a revision has too many of them.
    async fn follow(&self, from: i64) -> Result<(), Error> {
        let (key, range_end) = self.range();
        let request =
            WatchCreateRequest { key, range_end, start_revision: from, ..Default::default() };
        let mut watcher = self.from.watch(request).await;
        while let Some(response) = watcher.next().await {
            if let Some(error) = response.error() {
                return Err(error);
            }
            let mut last = 0;
            let mut ops = Vec::new();
            for event in &response.events {
                let (revision, op) = self.change(event)?;
                if (revision > last && last != 0) || ops.len() == self.max_txn_ops {
                    self.commit(&mut ops).await?;
                }
                last = revision;
                ops.push(op);
            }
            self.commit(&mut ops).await?;
        }
        Ok(())
    }

    async fn commit(&self, ops: &mut Vec<RequestOp>) -> Result<(), Error> {
        if ops.is_empty() {
            return Ok(());
        }
        let count = ops.len();
        let txn = TxnRequest { success: std::mem::take(ops), ..TxnRequest::default() };
        self.to.txn(txn).await?;
        self.copied.fetch_add(i64::try_from(count).unwrap_or(i64::MAX), Ordering::Relaxed);
        Ok(())
    }

    /// The revision of an event, and what it is at the destination.
    fn change(&self, event: &Event) -> Result<(i64, RequestOp), Error> {
        let kv = event.kv.as_ref().and_then(|kv| kv.decode().ok());
        let kv = kv.ok_or(Error::Recipe("malformed event"))?;
        let op = match event.r#type() {
            EventType::Put => kv::put_op(self.put(&kv.key, kv.value)),
            EventType::Delete => kv::delete_op(DeleteRangeRequest {
                key: self.moved(&kv.key),
                ..DeleteRangeRequest::default()
            }),
        };
        Ok((kv.mod_revision, op))
    }

    fn put(&self, key: &[u8], value: Bytes) -> PutRequest {
        PutRequest { key: self.moved(key), value, ..PutRequest::default() }
    }

    /// The key at the destination.
    fn moved(&self, key: &[u8]) -> Bytes {
        let rest = key.strip_prefix(&self.prefix[..]).unwrap_or(key);
        [&self.dest_prefix[..], rest].concat().into()
    }

    /// The keys to copy.
    fn range(&self) -> (Bytes, Bytes) {
        match self.prefix.is_empty() {
            true => (Bytes::from_static(&[0]), Bytes::from_static(&[0])),
            false => (self.prefix.clone().into(), prefix_end(&self.prefix)),
        }
    }
}
