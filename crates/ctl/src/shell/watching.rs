//! `watch`: changes as they come.

use std::io::Write;

use api::{
    etcdserverpb::WatchCreateRequest,
    kv::KeyValue,
    mvccpb::{Event, event::EventType},
};
use bytes::Bytes;

use super::place::Place;
use crate::{
    cli::flag::Flags,
    decode::Show,
    exit::{Failure, Outcome},
    gotext::size,
    history::lines,
    tree::{
        children::SEPARATOR,
        keyspace::{count, range_of},
    },
};

/// Shows changes of a key, or of all keys below a prefix, until the wanted number has come.
pub(super) async fn watch(
    place: &Place,
    flags: &Flags,
    args: &[Vec<u8>],
    out: &mut dyn Write,
) -> Outcome {
    let path = place.argument(args)?;
    let values = flags.bool("values");
    let (key, range_end) = range(place, &path).await?;
    let revision = match (flags.int("rev"), place.view.keys.revision) {
        (0, 0) => 0,
        // In the past, what came after it.
        (0, past) => past + 1,
        (rev, _) => rev,
    };
    let request = WatchCreateRequest {
        key,
        range_end,
        start_revision: revision,
        prev_kv: values,
        ..WatchCreateRequest::default()
    };
    let mut left = Some(flags.uint("count")).filter(|count| *count > 0);
    let mut watcher = place.view.keys.client.require_leader().watch(request).await;
    while let Some(response) = watcher.next().await {
        if let Some(error) = response.error() {
            return Err(error.into());
        }
        for event in &response.events {
            show(place, event, values, Show::from_flags(flags), out)?;
            left = left.map(|left| left - 1);
            if left == Some(0) {
                return Ok(());
            }
        }
        out.flush()?;
    }
    Err(Failure::from(client::error::Error::Canceled))
}

/// A key if it is one, else everything below it.
async fn range(place: &Place, path: &[u8]) -> Result<(Bytes, Bytes), Failure> {
    if path.is_empty() || path.last() == Some(&SEPARATOR) {
        return Ok(range_of(path));
    }
    let prefix = [path, &[SEPARATOR]].concat();
    match count(&place.view.keys, &prefix, 0).await? {
        0 => Ok((path.to_vec().into(), Bytes::new())),
        _ => Ok(range_of(&prefix)),
    }
}

fn show(
    place: &Place,
    event: &Event,
    values: bool,
    show: Show,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let paint = place.view.look.screen.paint;
    let decoded = |kv: &Option<api::kv::RawKeyValue>| -> Option<KeyValue> {
        kv.as_ref().and_then(|kv| kv.decode().ok())
    };
    let kv = decoded(&event.kv).unwrap_or_default();
    let (mark, name) = match event.r#type() {
        EventType::Delete => (paint.removed("-"), "deleted".to_owned()),
        EventType::Put => {
            let size = size::bytes(kv.value.len() as u64);
            match kv.version {
                1 => (paint.added("+"), format!("created, {size}")),
                version => (paint.changed("~"), format!("version {version}, {size}")),
            }
        }
    };
    let name = paint.faint(&format!("({name})"));
    write!(out, "{:>8} {mark} ", kv.mod_revision)?;
    out.write_all(&place.view.look.screen.key(&kv.key))?;
    writeln!(out, " {name}")?;
    if values && event.r#type() == EventType::Put {
        let before = decoded(&event.prev_kv).unwrap_or_default();
        lines::changed(&before.value, &kv.value, show, paint, out)?;
    }
    Ok(())
}
