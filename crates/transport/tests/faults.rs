//! Connections that break off anywhere and hand over bytes in pieces of any size: what arrives is
//! always a whole message that was sent.

mod harness;

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use api::{
    ids::{MemberId, RaftIndex},
    raftpb::{Message, MessageType, Snapshot, SnapshotMetadata},
};
use bytes::Bytes;
use harness::{CLUSTER, Member, append, message, plain, timing, until};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
};
use transport::{
    Dial, SnapshotBody, Timing,
    dial::{BoxIo, Dialing},
    url::PeerUrl,
};

/// Numbers that look random and are the same in each run.
#[derive(Default)]
struct Dice(AtomicU64);

impl Dice {
    fn roll(&self, below: u64) -> u64 {
        let seed = self.0.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)) % below
    }
}

/// Opens connections that break after some bytes in either direction.
struct FlakyDial {
    inner: Arc<dyn Dial>,
    dice: Arc<Dice>,
    bytes_max: u64,
    calm: Arc<AtomicBool>,
}

struct Flaky {
    inner: BoxIo,
    dice: Arc<Dice>,
    left: u64,
    calm: Arc<AtomicBool>,
}

impl Flaky {
    /// How many bytes may pass now.
    fn allow(&self, wanted: usize) -> io::Result<usize> {
        if self.calm.load(Relaxed) {
            return Ok(wanted);
        }
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let piece = self.dice.roll(wanted as u64) + 1;
        Ok(piece.min(self.left) as usize)
    }
}

impl AsyncRead for Flaky {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowed = self.allow(buf.remaining().max(1))?;
        let mut part = vec![0; allowed.min(buf.remaining())];
        let mut piece = ReadBuf::new(&mut part);
        let polled = Pin::new(&mut self.inner).poll_read(cx, &mut piece);
        self.left = self.left.saturating_sub(piece.filled().len() as u64);
        buf.put_slice(piece.filled());
        polled
    }
}

impl AsyncWrite for Flaky {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = self.allow(buf.len().max(1))?.min(buf.len());
        let polled = Pin::new(&mut self.inner).poll_write(cx, &buf[..allowed]);
        if let Poll::Ready(Ok(written)) = &polled {
            self.left = self.left.saturating_sub(*written as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Dial for FlakyDial {
    fn dial<'a>(&'a self, url: &'a PeerUrl) -> Dialing<'a> {
        Box::pin(async move {
            let (dice, calm) = (self.dice.clone(), self.calm.clone());
            let left = dice.roll(self.bytes_max);
            let inner = self.inner.dial(url).await?;
            Ok(Box::new(Flaky { inner, dice, left, calm }) as BoxIo)
        })
    }
}

/// A member whose own connections break until `calm` is set.
async fn flaky(id: u64, bytes_max: u64) -> (Member, Arc<AtomicBool>) {
    let calm = Arc::new(AtomicBool::new(false));
    let dice = Arc::new(Dice(AtomicU64::new(id)));
    let dial = Arc::new(FlakyDial { inner: plain(), dice, bytes_max, calm: calm.clone() });
    let bind = SocketAddr::from(([127, 0, 0, 1], 0));
    let timing = Timing { redial: Duration::from_millis(1), ..timing() };
    let member = Member::start_with(MemberId(id), CLUSTER, bind, timing, (dial, None)).await;
    (member, calm)
}

/// A payload that tells its index at every place.
fn payload(index: u64) -> Bytes {
    let size = (index * 7919 % 40_000) as usize;
    index.to_be_bytes().repeat(size / 8).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_over_broken_streams_was_sent() {
    let (a, b) = (Member::start(1).await, flaky(2, 200_000).await);
    let (b, calm) = b;
    a.knows(&b);
    b.knows(&a);
    for index in 0..2000 {
        let heartbeat = message(MessageType::MsgHeartbeat, &a, &b, index);
        a.transport.send(vec![append(&a, &b, index, payload(index)), heartbeat]);
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    calm.store(true, Relaxed);
    until("streams", || a.transport.has_streams(b.id)).await;
    until("the last message", || {
        let last = append(&a, &b, 2000, payload(2000));
        a.transport.send(vec![last.clone()]);
        b.sink.messages.lock().contains(&last)
    })
    .await;
    let received = b.received();
    let arrived = received.len();
    for message in received {
        match message.r#type() {
            MessageType::MsgApp => {
                assert!(message == append(&a, &b, message.index, payload(message.index)));
            }
            kind => assert_eq!(kind, MessageType::MsgHeartbeat),
        }
    }
    assert!(arrived > 1000, "{arrived}");
    let stats = a.transport.stats().peer(b.id);
    assert!(stats.sent_failures.get() > 0, "no connection broke");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_arrives_whole_or_not_at_all() {
    let ((a, _), b) = (flaky(1, 700_000).await, Member::start(2).await);
    a.knows(&b);
    let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at / 5) as u8).collect();
    let metadata = SnapshotMetadata { index: 9, term: 1, conf_state: None };
    let snapshot = Some(Snapshot { metadata: Some(metadata), ..Snapshot::default() });
    let message = Message { snapshot, ..message(MessageType::MsgSnap, &a, &b, 0) };
    for sent in 1..=24 {
        let written = bytes.clone();
        let body =
            SnapshotBody::from_writer(&Handle::current(), move |out| out.write_all(&written));
        a.transport.send_snapshot(message.clone(), bytes.len() as u64, body);
        until("the end", || a.sink.statuses.lock().len() == sent).await;
    }
    let saved = b.sink.saved.lock().clone();
    assert!(saved.iter().all(|file| *file == (RaftIndex(9), bytes.clone())));
    let succeeded = a.sink.statuses.lock().iter().filter(|(_, ok)| *ok).count();
    assert!(succeeded > 0 && succeeded < 24, "{succeeded} of 24");
    // The answer to a database that was saved may be lost, not the other way round.
    assert!(saved.len() >= succeeded && b.received().len() == saved.len());
    assert_eq!(a.transport.stats().peer(b.id).snapshot_send_inflight.get(), 0);
}
