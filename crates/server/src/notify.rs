//! What systemd is told (`Type=notify`): that the member serves, that it stops and, if the unit asks
//! for it (`WatchdogSec=`), that it is alive.
//!
//! Alive means that the node thread answers: a process whose raft loop hangs is not worth keeping.
//! Nothing is sent, and nothing fails, where nobody listens (`NOTIFY_SOCKET` is not set). The
//! variable is left in place, as in etcd.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{interval, timeout};

use crate::handle::Handle;

/// Runs until the member stops.
pub(crate) async fn run(handle: Handle) {
    tokio::select! {
        () = handle.progress.wait_ready() => {}
        () = handle.progress.wait_stopping() => return,
    }
    tell(&[NotifyState::Ready]);
    tokio::select! {
        () = watchdog(&handle) => {}
        () = handle.progress.wait_stopping() => {}
    }
    tell(&[NotifyState::Stopping]);
}

/// Tells that the member is alive, twice as often as asked; without a watchdog waits for ever.
async fn watchdog(handle: &Handle) {
    let Some(limit) = watchdog_limit() else { return std::future::pending().await };
    let mut ticks = interval(limit / 2);
    loop {
        ticks.tick().await;
        if timeout(limit / 2, handle.inspect()).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::warn!("the node thread does not answer; systemd's watchdog is not fed");
        }
    }
}

/// How long systemd waits for a sign of life of this process; `None` when it does not.
fn watchdog_limit() -> Option<Duration> {
    let limit = sd_notify::watchdog_enabled()?;
    (!limit.is_zero()).then_some(limit)
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::error!(%error, "failed to notify systemd");
    }
}
