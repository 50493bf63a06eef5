//! Pings to a client that was silent for long, and the end of one that does not answer
//! (`--grpc-keepalive-interval`, `--grpc-keepalive-timeout`).

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// The client did not answer in time.
pub(super) struct Silent;

/// The pings of one connection.
pub(super) struct KeepAlive {
    pings: PingPong,
    interval: Duration,
    timeout: Duration,
    /// When to look again.
    timer: Pin<Box<Sleep>>,
    heard_at: Instant,
    asked: bool,
}

impl KeepAlive {
    /// Pings over `pings` after `interval` without a byte.
    pub(super) fn new(pings: PingPong, interval: Duration, timeout: Duration) -> KeepAlive {
        let (timer, heard_at) = (Box::pin(sleep(interval)), Instant::now());
        KeepAlive { pings, interval, timeout, timer, heard_at, asked: false }
    }

    /// Does what is due; `heard` says whether the client was heard of since the last call.
    pub(super) fn poll(&mut self, heard: bool, cx: &mut Context<'_>) -> Result<(), Silent> {
        if heard {
            self.heard_at = Instant::now();
        }
        if self.asked && self.pings.poll_pong(cx).is_ready() {
            self.asked = false;
            self.timer.as_mut().reset(self.heard_at + self.interval);
        }
        while let Poll::Ready(()) = self.timer.as_mut().poll(cx) {
            if self.asked {
                return Err(Silent);
            }
            let quiet_until = self.heard_at + self.interval;
            if quiet_until > Instant::now() {
                self.timer.as_mut().reset(quiet_until);
                continue;
            }
            // Fails only when the connection is over anyway.
            self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
            let next = if self.asked { self.timeout } else { self.interval };
            self.timer.as_mut().reset(Instant::now() + next);
        }
        Ok(())
    }
}
