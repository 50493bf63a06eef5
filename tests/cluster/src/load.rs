//! Clients that use a cluster and write down what they asked for and what they were answered.

mod convert;
mod keys;
mod leases;
mod watchers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use checker::history::{History, Operation, Outcome, Request, Response};
use tokio::task::JoinSet;
use tonic::Status;

use crate::connection::Server;

/// How a load is made up.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Clients that read and write.
    pub clients: u32,
    /// Keys that they use; pairs for transactions come on top.
    pub keys: u32,
    /// Requests a second, of all clients together.
    pub rate: u32,
    /// Clients that grant, renew, revoke leases and let them end.
    pub leases: u32,
    /// Watchers that come and go.
    pub watchers: u32,
    /// Decides what is asked for.
    pub seed: u64,
    /// A client waits so long for an answer.
    pub patience: Duration,
    /// So many revisions are kept when history is compacted now and then; 0: it never is.
    pub keep: i64,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            clients: 16,
            keys: 200,
            rate: 400,
            leases: 4,
            watchers: 4,
            seed: 1,
            patience: Duration::from_secs(4),
            keep: 20_000,
        }
    }
}

/// Moments of one run: nanoseconds of a monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Begins at 0, now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// The present moment.
    pub fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// What all clients of a load share.
struct Shared {
    servers: Vec<Server>,
    plan: Plan,
    clock: Clock,
    /// Clients that write stop.
    stop: AtomicBool,
    /// Watchers end when they were told everything up to this revision; 0: not yet.
    target: AtomicI64,
    /// The slots whose members must be there then, as bits.
    expected: AtomicU64,
    /// The newest revision anybody was told of.
    newest: AtomicI64,
    compacted: AtomicI64,
    answered: AtomicU64,
    unanswered: AtomicU64,
    next_client: AtomicU64,
}

/// A load that runs.
pub struct Load {
    shared: Arc<Shared>,
    writers: JoinSet<History>,
    watchers: JoinSet<History>,
}

impl Load {
    /// Starts to use the members at these places, which need not all be there.
    pub fn start(servers: Vec<Server>, plan: Plan, clock: Clock) -> Load {
        let slots = servers.len();
        let shared = Arc::new(Shared {
            servers,
            plan,
            clock,
            stop: AtomicBool::new(false),
            target: AtomicI64::new(0),
            expected: AtomicU64::new(0),
            newest: AtomicI64::new(1),
            compacted: AtomicI64::new(0),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            next_client: AtomicU64::new(0),
        });
        let (mut writers, mut watchers) = (JoinSet::new(), JoinSet::new());
        for number in 0..plan.clients {
            writers.spawn(keys::run(shared.clone(), number));
        }
        for number in 0..plan.leases {
            writers.spawn(leases::run(shared.clone(), number));
        }
        if plan.keep > 0 {
            writers.spawn(keys::compact(shared.clone()));
        }
        for slot in 0..slots {
            watchers.spawn(watchers::everything(shared.clone(), slot));
        }
        for number in 0..plan.watchers {
            writers.spawn(watchers::come_and_go(shared.clone(), number));
        }
        Load { shared, writers, watchers }
    }

    /// Requests answered and not answered so far.
    pub fn counts(&self) -> (u64, u64) {
        let Shared { answered, unanswered, .. } = &*self.shared;
        (answered.load(Ordering::Relaxed), unanswered.load(Ordering::Relaxed))
    }

    /// The newest revision anybody was told of.
    pub fn newest(&self) -> i64 {
        self.shared.newest.load(Ordering::Relaxed)
    }

    /// The newest revision that history was compacted at.
    pub fn compacted(&self) -> i64 {
        self.shared.compacted.load(Ordering::Relaxed)
    }

    /// Ends the clients that write and answers what they recorded.
    pub async fn stop_writers(&mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut history = History::default();
        while let Some(part) = self.writers.join_next().await {
            join(&mut history, part.expect("a client of the load does not panic"));
        }
        history
    }

    /// Waits until the watchers of everything at the members in `slots` were told all up to
    /// `revision`, and answers what all watchers recorded. Those that were not told in a minute say
    /// so in their records.
    pub async fn stop_watchers(mut self, revision: i64, slots: &[usize]) -> History {
        let mask = slots.iter().fold(0, |mask, slot| mask | 1 << slot);
        self.shared.expected.store(mask, Ordering::Relaxed);
        self.shared.target.store(revision, Ordering::Relaxed);
        let mut history = History::default();
        while let Some(part) = self.watchers.join_next().await {
            join(&mut history, part.expect("a watcher of the load does not panic"));
        }
        history
    }
}

/// Adds a part of a history to another.
pub fn join(history: &mut History, part: History) {
    history.operations.extend(part.operations);
    history.watches.extend(part.watches);
    history.leases.extend(part.leases);
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn told(&self, revision: i64) {
        self.newest.fetch_max(revision, Ordering::Relaxed);
    }

    /// Puts one request with its end into the history; what was refused for certain, and reads
    /// that failed, tell nothing and are left out.
    fn record(
        &self,
        history: &mut History,
        client: u32,
        invoked: u64,
        request: Request,
        result: Result<Response, Status>,
    ) {
        let returned = self.clock.now();
        let outcome = match result {
            Ok(response) => {
                self.told(response.revision);
                self.answered.fetch_add(1, Ordering::Relaxed);
                Outcome::Done(response)
            }
            Err(status) if !request.may_write() || refused_for_certain(&status) => return,
            Err(_) => {
                self.unanswered.fetch_add(1, Ordering::Relaxed);
                Outcome::Unknown
            }
        };
        let returned = if outcome == Outcome::Unknown { u64::MAX } else { returned };
        history.operations.push(Operation { client, invoked, returned, request, outcome });
    }
}

/// Whether an error says that the request was not, and will not be, carried out.
fn refused_for_certain(status: &Status) -> bool {
    const BEFORE_PROPOSAL: &[&str] = &[
        "etcdserver: too many requests",
        "etcdserver: no leader",
        "etcdserver: not capable",
        "etcdserver: rpc not supported for learner",
        "etcdserver: request is too large",
        // Applied, and found to be impossible.
        "etcdserver: requested lease not found",
        "etcdserver: mvcc: required revision has been compacted",
        "etcdserver: mvcc: required revision is a future revision",
    ];
    BEFORE_PROPOSAL.contains(&status.message()) || never_sent(status)
}

/// Whether no connection could be made to send the request over.
fn never_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
