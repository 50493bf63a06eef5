//! `idle`: the memory and processor time of a server that does nothing, before it was used and after.

use crate::{
    args::compare::{HostArgs, IdleArgs},
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
        target::{Endpoint, Target},
    },
    launch::{Home, Ports, Program, Server},
    load::payload::{KeySpace, Values},
    probe::procfs,
    report::{
        emit,
        figures::{Better, Figures},
    },
};
use anyhow::{Context as _, Result};
use api::etcdserverpb::{PutRequest, RangeRequest};
use bytes::{Bytes, BytesMut};
use std::time::Duration;

/// Keys of a small use, each put once and read once.
pub(crate) const USED_KEYS: u64 = 1000;
/// Bytes of such a key.
const KEY_BYTES: usize = 16;
/// Bytes of such a value.
pub(crate) const VALUE_BYTES: usize = 256;

/// Runs the verb.
pub(crate) async fn run(args: &IdleArgs) -> Result<()> {
    let program = Program::new("server", &args.server, &args.host)?;
    let figures = measure(&program, &args.host, args.rest).await?;
    emit(&figures, &super::lines("idle", &figures), args.json.as_deref())
}

/// Starts `program`, lets it rest, reads its figures, uses it a little, lets it rest as long again.
pub(crate) async fn measure(program: &Program, host: &HostArgs, rest: Duration) -> Result<Figures> {
    let home = Home::create(host)?;
    let mut server = Server::start(program, &home, Ports::free()?)?;
    let started = server.ready(&home).await?;
    let before = procfs::cpu_time(server.pid()).context("read its processor time")?;
    tokio::time::sleep(rest).await;
    let after = procfs::cpu_time(server.pid()).context("read its processor time")?;
    let memory = procfs::memory(server.pid()).context("read its memory")?;
    use_a_little(server.endpoint()).await.context("use it")?;
    tokio::time::sleep(rest).await;
    let used = procfs::memory(server.pid()).context("read its memory")?;
    server.stop().await?;

    let mut figures = Figures::default();
    figures.push("first start to read, ms", started.as_secs_f64() * 1e3, Better::Lower);
    let cpu = after.since(before).as_secs_f64() * 1e3 / rest.as_secs_f64().max(1e-3);
    figures.push("CPU at rest, ms/s", cpu, Better::Lower);
    figures.push_memory(&memory);
    figures.push("RSS after use, MiB", used.rss_kib as f64 / 1024.0, Better::Lower);
    figures.push("private after use, MiB", used.rss_anon_kib as f64 / 1024.0, Better::Lower);
    Ok(figures)
}

/// One client puts some keys, reads them one by one, and lists them; then it goes.
async fn use_a_little(endpoint: &Endpoint) -> Result<()> {
    let mut channel = Channel::connect(&Target::plain(endpoint.clone())).await?;
    for (method, message) in requests()? {
        channel.unary(method, message, Keep::Nothing).await?;
    }
    Ok(())
}

/// What a small use asks for.
fn requests() -> Result<impl Iterator<Item = (Method, Bytes)>> {
    let space = KeySpace::new("", KEY_BYTES, USED_KEYS)?;
    let mut values = Values::new(VALUE_BYTES, 1);
    let keys: Vec<_> = (0..USED_KEYS).map(|number| space.key(number)).collect();
    let range_end = space.key(USED_KEYS);
    let list = RangeRequest { key: space.key(0), range_end, ..RangeRequest::default() };
    let puts = keys.clone().into_iter().map(move |key| {
        let put = PutRequest { key, value: values.next(), ..PutRequest::default() };
        (Method::Put, framed(&put))
    });
    let reads = keys.into_iter().map(|key| RangeRequest { key, ..RangeRequest::default() });
    let reads = reads.chain([list]).map(|read| (Method::Range, framed(&read)));
    Ok(puts.chain(reads))
}

fn framed(message: &impl prost::Message) -> Bytes {
    let mut framed = BytesMut::new();
    frame::encode(message, &mut framed);
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    /// Bytes before a message in its frame.
    const HEAD_BYTES: usize = 5;

    #[test]
    fn a_small_use_puts_reads_and_lists_every_key() {
        let (puts, reads): (Vec<_>, Vec<_>) =
            requests().expect("fits").partition(|(method, _)| *method == Method::Put);
        let put = |framed: &Bytes| PutRequest::decode(&framed[HEAD_BYTES..]).expect("a put");
        let read = |framed: &Bytes| RangeRequest::decode(&framed[HEAD_BYTES..]).expect("a read");
        let put: Vec<_> = puts.iter().map(|(_, framed)| put(framed)).collect();
        let mut read: Vec<_> = reads.iter().map(|(_, framed)| read(framed)).collect();
        let list = read.pop().expect("a list");
        assert_eq!(put.len() as u64, USED_KEYS);
        assert!(put.iter().all(|put| put.value.len() == VALUE_BYTES));
        assert!(put.iter().map(|put| &put.key).eq(read.iter().map(|read| &read.key)));
        assert!(read.iter().all(|read| read.range_end.is_empty()));
        assert_eq!(list.key, put[0].key);
        assert!(put.iter().all(|put| put.key < list.range_end));
    }
}
