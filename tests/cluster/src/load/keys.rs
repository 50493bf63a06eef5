//! Clients that read and write keys.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering, time::Duration};

use api::etcdserverpb as pb;
use bytes::Bytes;
use checker::history::{
    Compare, Consistency, History, Relation, Request, Response, Step, StepResult, Target,
};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use tonic::Status;

use super::{
    Shared,
    convert::{self, Message},
};
use crate::connection::Connection;

/// Half of all requests are about so many keys.
const HOT: u32 = 8;
/// Groups of keys that transactions and ranges join.
const GROUPS: u32 = 20;
/// Keys of a group.
const GROUP: u32 = 4;

/// One client: its requests one after the other, each to the endpoint that served the last.
pub(super) struct Client {
    shared: Arc<Shared>,
    number: u32,
    rng: SmallRng,
    connections: Vec<Option<Connection>>,
    endpoint: usize,
    /// What it believes of keys: the revision it last saw.
    revisions: HashMap<Bytes, i64>,
    unique: u64,
    history: History,
}

impl Client {
    pub(super) fn new(shared: Arc<Shared>, role: u64, number: u32) -> Client {
        let mut rng = SmallRng::seed_from_u64(shared.plan.seed ^ (role << 32 | u64::from(number)));
        let connections = vec![None; shared.servers.len()];
        let endpoint = rng.random_range(0..connections.len());
        let id = shared.next_client.fetch_add(1, Ordering::Relaxed) as u32;
        Client {
            shared,
            number: id,
            rng,
            connections,
            endpoint,
            revisions: HashMap::new(),
            unique: 0,
            history: History::default(),
        }
    }

    /// Stubs of the endpoint in use.
    pub(super) fn connection(&mut self) -> Connection {
        let Client { shared, endpoint, connections, .. } = self;
        let connect = || {
            Connection::to(&shared.servers[*endpoint], shared.plan.patience)
                .expect("an endpoint of a network is a valid one")
        };
        connections[*endpoint].get_or_insert_with(connect).clone()
    }

    /// Goes on with another endpoint, after a moment.
    pub(super) async fn move_on(&mut self) {
        let pause = Duration::from_millis(self.rng.random_range(5..60));
        tokio::time::sleep(pause).await;
        self.endpoint = self.rng.random_range(0..self.connections.len());
    }

    pub(super) fn rng(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    pub(super) fn into_history(self) -> History {
        self.history
    }

    /// A value that nobody else writes.
    pub(super) fn value(&mut self) -> Bytes {
        self.unique += 1;
        format!("{}-{}", self.number, self.unique).into()
    }

    /// Sends a request and writes it down; whether it was answered.
    pub(super) async fn send(&mut self, request: Request, prev: bool) -> Option<Response> {
        let connection = self.connection();
        let invoked = self.shared.clock.now();
        let result = call(&connection, &request, prev).await;
        let answer = result.as_ref().ok().cloned();
        let shared = self.shared.clone();
        shared.record(&mut self.history, self.number, invoked, request, result);
        answer
    }

    async fn once(&mut self) {
        let (request, prev) = self.choose();
        match self.send(request.clone(), prev).await {
            Some(response) => self.learn(&request, &response),
            None => self.move_on().await,
        }
        if self.rng.random_bool(0.01) {
            self.endpoint = self.rng.random_range(0..self.connections.len());
        }
    }

    /// Remembers revisions, to compare with them later.
    fn learn(&mut self, request: &Request, response: &Response) {
        let steps = request.branch(response.succeeded);
        for (step, result) in steps.iter().zip(&response.results) {
            match (step, result) {
                (Step::Put { key, .. }, _) => {
                    self.revisions.insert(key.clone(), response.revision);
                }
                (Step::Range { key, end }, StepResult::Range(kvs)) if end.is_empty() => {
                    let revision = kvs.first().map_or(0, |kv| kv.mod_revision);
                    self.revisions.insert(key.clone(), revision);
                }
                _ => {}
            }
        }
    }

    fn choose(&mut self) -> (Request, bool) {
        let key = self.key();
        let value = self.value();
        let request = match self.rng.random_range(0..100) {
            0..25 => Request::put(key, value),
            25..30 => return (Request::put(key, value), true),
            30..52 => Request::get(key),
            52..57 => Request { consistency: Consistency::Serializable, ..Request::get(key) },
            57..60 => {
                let newest = self.shared.newest.load(Ordering::Relaxed);
                let at = Consistency::At((newest - self.rng.random_range(0..50)).max(1));
                Request { consistency: at, ..Request::get(key) }
            }
            60..75 => {
                let known = self.revisions.get(&key).copied().unwrap_or(0);
                Request::compare_and_put(key, known, value)
            }
            75..80 => self.compare_value_or_version(key, value),
            80..85 => Request::delete(key),
            85..92 => self.write_group(value),
            92..96 => self.read_group(),
            96..98 => {
                let (key, end) = self.group();
                Request::of(Step::Range { key, end })
            }
            _ => {
                let (key, end) = self.group();
                Request::of(Step::Delete { key, end })
            }
        };
        (request, false)
    }

    fn key(&mut self) -> Bytes {
        let keys = self.shared.plan.keys.max(HOT + 1);
        let hot = self.rng.random();
        let number =
            if hot { self.rng.random_range(0..HOT) } else { self.rng.random_range(HOT..keys) };
        format!("k/{number:05}").into()
    }

    fn compare_value_or_version(&mut self, key: Bytes, value: Bytes) -> Request {
        let target = match self.rng.random_range(0..4) {
            0 => Target::Version(self.rng.random_range(0..3)),
            1 => Target::Value(value.clone()),
            2 => Target::Create(self.revisions.get(&key).copied().unwrap_or(0)),
            _ => Target::Lease(0),
        };
        let relations = [Relation::Equal, Relation::Greater, Relation::Less, Relation::NotEqual];
        let relation = *relations.choose(&mut self.rng).expect("there are four");
        let compares = vec![Compare { key: key.clone(), target, relation }];
        let put = Step::Put { key: key.clone(), value, lease: 0 };
        let delete = Step::Delete { key, end: Bytes::new() };
        Request { compares, success: vec![put], failure: vec![delete], ..Request::default() }
    }

    /// Start and end of the keys of a group.
    fn group(&mut self) -> (Bytes, Bytes) {
        let group = self.rng.random_range(0..GROUPS);
        (format!("g/{group:03}/").into(), format!("g/{group:03}0").into())
    }

    fn member(&mut self, group: &Bytes) -> Bytes {
        let member = self.rng.random_range(0..GROUP);
        [&group[..], member.to_string().as_bytes()].concat().into()
    }

    /// Writes two keys of a group at once, sometimes under a condition on a third.
    fn write_group(&mut self, value: Bytes) -> Request {
        let (group, _) = self.group();
        let (first, mut second) = (self.member(&group), self.member(&group));
        while second == first {
            second = self.member(&group);
        }
        let put = |key: Bytes, value: Bytes| Step::Put { key, value, lease: 0 };
        let read = Step::Range { key: second.clone(), end: Bytes::new() };
        let mut request = Request {
            success: vec![put(first.clone(), value.clone()), put(second, value.clone())],
            failure: vec![read, put(first, value)],
            ..Request::default()
        };
        if self.rng.random() {
            let key = self.member(&group);
            let target = Target::Version(self.rng.random_range(0..4));
            request.compares = vec![Compare { key, target, relation: Relation::Greater }];
        }
        request
    }

    /// Reads two keys of a group in one transaction.
    fn read_group(&mut self) -> Request {
        let (group, _) = self.group();
        let step = |key: Bytes| Step::Range { key, end: Bytes::new() };
        let success = vec![step(self.member(&group)), step(self.member(&group))];
        Request { success, ..Request::default() }
    }
}

/// Sends one request. An answer that makes no sense is an error of the kind that has no effect on
/// what is known: the server's fault shows elsewhere.
async fn call(connection: &Connection, request: &Request, prev: bool) -> Result<Response, Status> {
    let mut kv = connection.kv.clone();
    let answer = match convert::message(request, prev) {
        Message::Range(range) => convert::range_answer(kv.range(range).await?.into_inner()),
        Message::Put(put) => convert::put_answer(kv.put(put).await?.into_inner(), prev),
        Message::Delete(delete) => {
            Ok(convert::delete_answer(kv.delete_range(delete).await?.into_inner()))
        }
        Message::Txn(txn) => convert::txn_answer(kv.txn(txn).await?.into_inner(), prev),
    };
    answer.map_err(|error| Status::internal(format!("the answer cannot be read: {error:#}")))
}

/// A client that reads and writes until the load stops.
pub(super) async fn run(shared: Arc<Shared>, number: u32) -> History {
    let mut client = Client::new(shared.clone(), 1, number);
    let pace =
        Duration::from_secs_f64(f64::from(shared.plan.clients) / f64::from(shared.plan.rate));
    while !shared.stopped() {
        let due = tokio::time::Instant::now() + pace.mul_f64(client.rng.random_range(0.5..1.5));
        client.once().await;
        tokio::time::sleep_until(due).await;
    }
    client.into_history()
}

/// Compacts history now and then, so that a number of revisions is kept.
pub(super) async fn compact(shared: Arc<Shared>) -> History {
    let mut client = Client::new(shared.clone(), 2, 0);
    while !shared.stopped() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let newest = shared.newest.load(Ordering::Relaxed);
        let revision = newest - shared.plan.keep;
        if revision < shared.compacted.load(Ordering::Relaxed) + shared.plan.keep / 2 {
            continue;
        }
        let request = pb::CompactionRequest { revision, physical: client.rng.random() };
        // Unanswered or not: it may have happened.
        shared.compacted.fetch_max(revision, Ordering::Relaxed);
        if client.connection().kv.compact(request).await.is_err() {
            client.move_on().await;
        }
    }
    History::default()
}
