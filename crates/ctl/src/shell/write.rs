//! Verbs that write: `put`, `rm`, `cp`, `mv`.

use std::io::Write;

use api::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, ResponseOp,
        compare::{CompareResult, CompareTarget, TargetUnion},
        response_op::Response,
    },
    kv::KeyValue,
};
use bytes::Bytes;
use client::kv::{created_at, delete_op, put_op, txn};

use super::{path::last_part, place::Place, verbs::Step};
use crate::{
    cli::flag::Flags,
    commands::put as put_command,
    decode::text,
    exit::{Code, Failure, Outcome},
    printer::Answer,
    tree::{
        children::{SEPARATOR, prefix_of},
        keyspace::{Keyspace, Pages, Read, What, count, get as get_key, range_of},
        ls::keys_text,
        nothing_at,
    },
};

/// Keys of one transaction: two comparisons and two operations each are what etcd accepts.
const BATCH: usize = 64;
/// Bytes of one transaction, well below what etcd accepts.
const BATCH_BYTES: usize = 1 << 20;

/// Writes one key.
pub(super) async fn put(
    place: &Place,
    flags: &Flags,
    args: &[Vec<u8>],
    out: &mut dyn Write,
) -> Outcome {
    place.writable()?;
    let wanted = if flags.bool("ignore-value") { 1 } else { 2 };
    if args.len() != wanted {
        return Err(Failure::bad_args("put takes a key and a value"));
    }
    let mut args = args.to_vec();
    args[0] = place.resolve(&args[0]);
    let request = put_command::request(flags, &args)?;
    let answer = place.view.keys.call().put(request).await?;
    place.format.printer(place.hex, false).print(&Answer::Put(&answer), out)
}

/// Ranges to delete.
#[derive(Debug)]
pub(super) struct Deletion {
    ranges: Vec<(Bytes, Bytes)>,
    /// The revision at which the keys were counted; nothing that is newer is deleted. 0 when nobody
    /// is asked.
    revision: i64,
    /// What is asked before.
    pub(super) question: String,
}

/// Deletes keys; asks before, unless told not to.
pub(super) async fn rm(
    place: &Place,
    flags: &Flags,
    args: &[Vec<u8>],
    out: &mut dyn Write,
) -> Result<Step, Failure> {
    place.writable()?;
    if args.is_empty() {
        return Err(Failure::bad_args("rm takes a key"));
    }
    let keys = &place.view.keys;
    let (mut ranges, mut lines) = (Vec::new(), Vec::new());
    // Of the first count: what came later was perhaps not counted.
    let mut revision = 0;
    for word in args {
        let path = place.resolve(word);
        let prefix = prefix_of(&path);
        let (below, counted_at) = count_at(keys, &prefix).await?;
        revision = if revision == 0 { counted_at } else { revision };
        let itself = match path.is_empty() {
            true => None,
            false => get_key(keys, &path, 0).await?,
        };
        if itself.is_none() && below == 0 {
            return Err(nothing_at(&path));
        }
        if let Some(kv) = itself
            && path != prefix
        {
            lines.push(format!("  {}", text::key(&kv.key)));
            ranges.push((kv.key, Bytes::new()));
        } else if !flags.bool("recursive") {
            let (shown, below) = (text::key(&prefix), keys_text(below));
            return Err(Failure::bad_args(format!("{shown} has {below} below it: rm -r")));
        }
        if flags.bool("recursive") && below > 0 {
            lines.push(format!("  {} ({})", text::key(&prefix), keys_text(below)));
            ranges.push(range_of(&prefix));
        }
    }
    let question = format!("{}\ndelete? [y/N] ", lines.join("\n"));
    let mut deletion = Deletion { ranges, revision: 0, question };
    if !flags.bool("force") {
        deletion.revision = revision;
        return Ok(Step::Confirm(deletion));
    }
    delete(place, deletion, out).await?;
    Ok(Step::Done)
}

/// Deletes what was confirmed.
pub(super) async fn delete(place: &Place, deletion: Deletion, out: &mut dyn Write) -> Outcome {
    let mut deleted = 0;
    for (key, range_end) in deletion.ranges {
        let request = DeleteRangeRequest { key, range_end, prev_kv: false };
        if deletion.revision == 0 {
            deleted += place.view.keys.call().delete_range(request).await?.deleted;
            continue;
        }
        let compare = not_newer(&request, deletion.revision);
        let delete = vec![delete_op(request)];
        let answer = place.view.keys.call().txn(txn(vec![compare], delete, Vec::new())).await?;
        if !answer.succeeded {
            let text = format!("keys changed meanwhile; {} deleted", keys_text(deleted));
            return Err(Failure::new(Code::Error, text));
        }
        deleted += answer.responses.iter().map(deleted_by).sum::<i64>();
    }
    Ok(writeln!(out, "{} deleted", keys_text(deleted))?)
}

/// How many keys have this prefix, and at which revision.
async fn count_at(keys: &Keyspace, prefix: &[u8]) -> Result<(i64, i64), Failure> {
    let (key, range_end) = range_of(prefix);
    let request = RangeRequest { key, range_end, count_only: true, ..RangeRequest::default() };
    let answer = keys.range(request).await?;
    Ok((answer.count, answer.header.unwrap_or_default().revision))
}

/// How many keys an operation deleted.
fn deleted_by(answer: &ResponseOp) -> i64 {
    match &answer.response {
        Some(Response::ResponseDeleteRange(answer)) => answer.deleted,
        _ => 0,
    }
}

/// One key on its way.
struct Transfer {
    kv: KeyValue,
    to: Vec<u8>,
}

/// Copies or moves.
pub(super) async fn copy(
    place: &Place,
    flags: &Flags,
    args: &[Vec<u8>],
    remove: bool,
    out: &mut dyn Write,
) -> Outcome {
    place.writable()?;
    let [from, to] = args else { return Err(Failure::bad_args("two paths: from, to")) };
    let (from, to) = (place.resolve(from), place.resolve(to));
    let work = Work { place, force: flags.bool("force"), remove };
    let done = if flags.bool("recursive") {
        let (from, to) = (prefix_of(&from), prefix_of(&to));
        if to.starts_with(&from) {
            let text = "a prefix cannot be copied or moved to below itself";
            return Err(Failure::bad_args(text));
        }
        work.keep_sources(&from, &to).await?;
        work.prefix(&from, &to).await?
    } else {
        let Some(kv) = get_key(&place.view.keys, &from, 0).await? else {
            let below = count(&place.view.keys, &prefix_of(&from), 0).await?;
            return Err(match below {
                0 => nothing_at(&from),
                below => {
                    let (shown, below) = (text::key(&from), keys_text(below));
                    Failure::bad_args(format!("{shown} has {below} below it: -r"))
                }
            });
        };
        // Into a prefix, under the same name.
        let to = match to.last() {
            None | Some(&SEPARATOR) => [&to[..], last_part(&from)].concat(),
            Some(_) => to,
        };
        if to == from {
            return Err(Failure::bad_args("both paths are the same"));
        }
        work.batch(vec![Transfer { kv, to }]).await?;
        1
    };
    let verb = if remove { "moved" } else { "copied" };
    Ok(writeln!(out, "{} {verb}", keys_text(done))?)
}

struct Work<'a> {
    place: &'a Place,
    force: bool,
    remove: bool,
}

impl Work<'_> {
    /// Fails when a key would be written to where another one is yet to be read from: `/a/b/b/x`
    /// becomes `/a/b/x` when `/a/b/` goes to `/a/`.
    async fn keep_sources(&self, from: &[u8], to: &[u8]) -> Outcome {
        let Some(inner) = from.strip_prefix(to) else { return Ok(()) };
        let inner = [from, inner].concat();
        match count(&self.place.view.keys, &inner, 0).await? {
            0 => Ok(()),
            keys => {
                let (shown, keys) = (text::key(&inner), keys_text(keys));
                let text = format!("{shown} has {keys} that would replace others on their way");
                Err(Failure::bad_args(text))
            }
        }
    }

    /// Everything below a prefix, as of one revision, in batches that are done whole or not.
    async fn prefix(&self, from: &[u8], to: &[u8]) -> Result<i64, Failure> {
        let mut pages = Pages::new(&self.place.view.keys, from, 0);
        let mut done = 0;
        let mut batch: Vec<Transfer> = Vec::new();
        let mut bytes = 0;
        loop {
            let page = pages.next(BATCH as i64, What::Values).await?;
            let end = page.is_empty();
            for kv in page {
                let to = [to, &kv.key[from.len()..]].concat();
                let size = kv.value.len() + kv.key.len() + to.len();
                if batch.len() == BATCH || (bytes + size > BATCH_BYTES && !batch.is_empty()) {
                    done += batch.len() as i64;
                    self.batch(std::mem::take(&mut batch)).await?;
                    bytes = 0;
                }
                bytes += size;
                batch.push(Transfer { kv, to });
            }
            if end {
                break;
            }
        }
        if batch.is_empty() && done == 0 {
            return Err(nothing_at(from));
        }
        if !batch.is_empty() {
            done += batch.len() as i64;
            self.batch(batch).await?;
        }
        Ok(done)
    }

    /// One transaction: nothing is written if a source changed since, or a destination is there.
    async fn batch(&self, batch: Vec<Transfer>) -> Outcome {
        let mut compare = Vec::new();
        let mut ops = Vec::new();
        for Transfer { kv, to } in &batch {
            compare.push(unchanged(kv));
            if !self.force {
                compare.push(created_at(to.clone(), 0));
            }
            ops.push(self.put(kv, to));
            if self.remove {
                let key = kv.key.clone();
                ops.push(delete_op(DeleteRangeRequest { key, ..Default::default() }));
            }
        }
        let answer = self.place.view.keys.call().txn(txn(compare, ops, Vec::new())).await?;
        if answer.succeeded {
            return Ok(());
        }
        if !self.force {
            for Transfer { to, .. } in &batch {
                if get_key(&self.place.view.keys, to, 0).await?.is_some() {
                    let text = format!("{} is there already: -f replaces it", text::key(to));
                    return Err(Failure::new(Code::Error, text));
                }
            }
        }
        Err(Failure::new(Code::Error, "keys changed meanwhile; the rest was left as it is"))
    }

    /// A move takes the lease along; a copy is there to stay.
    fn put(&self, kv: &KeyValue, to: &[u8]) -> RequestOp {
        let lease = if self.remove { kv.lease } else { 0 };
        let (key, value) = (to.to_vec().into(), kv.value.clone());
        put_op(PutRequest { key, value, lease, ..PutRequest::default() })
    }
}

/// True while no key of the range was written after `revision`.
fn not_newer(range: &DeleteRangeRequest, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Less.into(),
        target: CompareTarget::Mod.into(),
        key: range.key.clone(),
        range_end: range.range_end.clone(),
        target_union: Some(TargetUnion::ModRevision(revision.saturating_add(1))),
    }
}

/// True while the key is as it was read.
fn unchanged(kv: &KeyValue) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key: kv.key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::ModRevision(kv.mod_revision)),
    }
}
