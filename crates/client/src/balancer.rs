//! The client's endpoints and their connections: every endpoint is kept connected, calls go to
//! the connected ones in turn, and wait while there is none.
//!
//! One task an endpoint connects, drives the connection and connects again after it ended, with
//! pauses that grow while the endpoint fails. The tasks end with the balancer.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use crate::{
    connect::{Connection, Connector, cause},
    endpoint::Endpoint,
    retry::jitter,
};

/// The pause after a first failure to connect; it doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts to connect to one endpoint.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A connection that ended earlier than this counts as a failure to connect.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// Picks connections for calls.
pub(crate) struct Balancer {
    shared: Arc<Shared>,
    connector: Connector,
}

struct Shared {
    state: Mutex<State>,
    /// Told whenever an endpoint's link changed.
    changed: Notify,
}

struct State {
    members: Vec<Member>,
    /// Where the next call begins to look.
    next: usize,
    /// Identity of the next member, so that a task of a dropped member changes nothing.
    next_id: u64,
}

struct Member {
    id: u64,
    endpoint: Endpoint,
    link: Link,
    task: Option<AbortHandle>,
}

enum Link {
    Connecting,
    Ready(Connection),
    Failed(String),
}

impl Balancer {
    /// Begins to connect to every endpoint.
    pub(crate) fn new(endpoints: Vec<Endpoint>, connector: Connector) -> Balancer {
        let state = State { members: Vec::new(), next: 0, next_id: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() });
        let balancer = Balancer { shared, connector };
        balancer.set_endpoints(endpoints);
        balancer
    }

    /// The endpoints as they are now.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.shared.state.lock().members.iter().map(|member| member.endpoint.clone()).collect()
    }

    /// Replaces the endpoints; connections to those that stay are kept.
    pub(crate) fn set_endpoints(&self, endpoints: Vec<Endpoint>) {
        let mut state = self.shared.state.lock();
        let mut old = std::mem::take(&mut state.members);
        for endpoint in endpoints {
            if let Some(at) = old.iter().position(|member| member.endpoint == endpoint) {
                state.members.push(old.swap_remove(at));
                continue;
            }
            let id = state.next_id;
            state.next_id += 1;
            let task = tokio::spawn(maintain(
                Arc::downgrade(&self.shared),
                id,
                endpoint.clone(),
                self.connector.clone(),
            ));
            let task = Some(task.abort_handle());
            state.members.push(Member { id, endpoint, link: Link::Connecting, task });
        }
        drop(state);
        self.shared.changed.notify_waiters();
    }

    /// A connection for the next call; waits until there is one.
    pub(crate) async fn pick(&self) -> Connection {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(connection) = self.shared.state.lock().pick() {
                return connection;
            }
            changed.await;
        }
    }

    /// Why there is no connection: the failure of an endpoint, when none is connected.
    pub(crate) fn failure(&self) -> Option<String> {
        let state = self.shared.state.lock();
        let mut failure = None;
        for member in &state.members {
            match &member.link {
                Link::Ready(_) => return None,
                Link::Failed(why) => failure = Some(why.clone()),
                Link::Connecting => {}
            }
        }
        failure
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl State {
    fn pick(&mut self) -> Option<Connection> {
        let count = self.members.len();
        for step in 0..count {
            let at = (self.next + step) % count;
            if let Link::Ready(connection) = &self.members[at].link
                && !connection.sender.is_closed()
            {
                self.next = (at + 1) % count;
                return Some(connection.clone());
            }
        }
        None
    }
}

impl Shared {
    /// Records an endpoint's link, unless the endpoint has gone.
    fn set(&self, id: u64, link: Link) {
        let mut state = self.state.lock();
        if let Some(member) = state.members.iter_mut().find(|member| member.id == id) {
            member.link = link;
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

/// Keeps one endpoint connected for as long as the balancer lives.
async fn maintain(shared: Weak<Shared>, id: u64, endpoint: Endpoint, connector: Connector) {
    let set = |link: Link| shared.upgrade().map(|shared| shared.set(id, link));
    let mut pause = FIRST_PAUSE;
    loop {
        let failure = match connector.connect(&endpoint).await {
            Ok((connection, driver)) => {
                if set(Link::Ready(connection)).is_none() {
                    return;
                }
                let since = Instant::now();
                let end = driver.await;
                if since.elapsed() >= SHORT_LIFE {
                    pause = FIRST_PAUSE;
                    set(Link::Connecting);
                    continue;
                }
                match end {
                    Ok(()) => "error reading from server: EOF".to_owned(),
                    Err(error) => format!("error reading from server: {}", cause(&error)),
                }
            }
            Err(failure) => failure,
        };
        tracing::debug!(endpoint = endpoint.as_str(), error = failure, "cannot connect");
        if set(Link::Failed(failure)).is_none() {
            return;
        }
        tokio::time::sleep(jitter(pause)).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
