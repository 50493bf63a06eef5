//! Election: one leader of a name at a time, with a value that it proclaims (spec grpc.md
//! section 10).

use std::pin::Pin;

use api::{
    etcdserverpb::{ResponseHeader, TxnRequest, response_op::Response as Answer},
    kv::RawKeyValue,
    mvccpb::event::EventType,
    range::{KeyRange, prefix_end},
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse,
        ProclaimRequest, ProclaimResponse, ResignRequest, ResignResponse,
        election_server::Election,
    },
};
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    Services,
    session::{
        Contender, Session, created_at, first, first_created, get, prefix_of, put_op, range_op,
        release, session_key,
    },
};
use crate::handle::Handle;

/// Leaders that may wait for a client that observes.
const OBSERVED_MAX: usize = 16;

type Leaders = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Election for Services {
    type ObserveStream = Leaders;

    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let (session, CampaignRequest { name, lease, value }) = Session::split(self, request);
        let lease = session.lease(lease).await?;
        let prefix = prefix_of(&name);
        let key = session_key(&prefix, lease);
        let answer = session
            .txn(TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![put_op(&key, value.clone(), lease)],
                failure: vec![range_op(get(&key))],
            })
            .await?;
        let header = answer.header;
        let mut rev = header.map_or(0, |header| header.revision);
        let own = match answer.responses.first().and_then(|op| op.response.as_ref()) {
            Some(Answer::ResponseRange(range)) => first(range),
            _ => None,
        };
        if let Some(own) = &own {
            rev = own.create_revision;
        }
        let contender = Contender::new(&session, &key, rev);
        if own.is_some_and(|own| own.value != value) {
            proclaim(&session, &key, rev, value, lease).await?;
        }
        session.wait_deletes(&prefix, rev - 1).await?;
        contender.won();
        let leader = Some(LeaderKey { name, key, rev, lease });
        Ok(Response::new(CampaignResponse { header, leader }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let (session, request) = Session::split(self, request);
        let leader = request.leader.ok_or_else(missing_leader)?;
        let lease = session.lease(leader.lease).await?;
        let header = proclaim(&session, &leader.key, leader.rev, request.value, lease).await?;
        Ok(Response::new(ProclaimResponse { header }))
    }

    async fn leader(
        &self,
        request: Request<LeaderRequest>,
    ) -> Result<Response<LeaderResponse>, Status> {
        let (session, request) = Session::split(self, request);
        let answer = session.range(first_created(&prefix_of(&request.name))).await?;
        let Some(kv) = answer.kvs.into_iter().next() else {
            return Err(Status::unknown("election: no leader"));
        };
        Ok(Response::new(LeaderResponse { header: answer.header, kv: Some(kv) }))
    }

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Leaders>, Status> {
        let (session, request) = Session::split(self, request);
        let (leaders, stream) = mpsc::channel(OBSERVED_MAX);
        let observer =
            Observer { session, handle: self.0.clone(), prefix: prefix_of(&request.name), leaders };
        tokio::spawn(async move {
            let client_gone = observer.leaders.clone();
            tokio::select! {
                () = client_gone.closed() => {}
                // The stream ends without a word when leaders cannot be followed, as in etcd.
                _ended = observer.run() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn resign(
        &self,
        request: Request<ResignRequest>,
    ) -> Result<Response<ResignResponse>, Status> {
        let (session, request) = Session::split(self, request);
        let leader = request.leader.ok_or_else(missing_leader)?;
        let answer = session.txn(release(&leader.key, leader.rev)).await?;
        Ok(Response::new(ResignResponse { header: answer.header }))
    }
}

fn missing_leader() -> Status {
    Status::unknown("\"leader\" field must be provided")
}

/// Sets the value of a leader, if it still is the one of this revision.
async fn proclaim(
    session: &Session,
    key: &Bytes,
    rev: i64,
    value: Bytes,
    lease: i64,
) -> Result<Option<ResponseHeader>, Status> {
    let txn = TxnRequest {
        compare: vec![created_at(key, rev)],
        success: vec![put_op(key, value, lease)],
        failure: Vec::new(),
    };
    let answer = session.txn(txn).await?;
    if answer.succeeded {
        return Ok(answer.header);
    }
    Err(Status::unknown("election: not leader"))
}

/// Follows the leaders of a name: who leads now, each value it proclaims, and who leads after it.
struct Observer {
    session: Session,
    handle: Handle,
    prefix: Bytes,
    leaders: mpsc::Sender<Result<LeaderResponse, Status>>,
}

/// Leaders are not followed any further.
struct Ended;

impl From<Status> for Ended {
    fn from(_told_to_nobody: Status) -> Ended {
        Ended
    }
}

impl Observer {
    async fn run(&self) -> Result<(), Ended> {
        loop {
            let answer = self.session.range(first_created(&self.prefix)).await?;
            let revision = answer.header.map_or(0, |header| header.revision);
            let (revision, kv) = match answer.kvs.into_iter().next() {
                Some(kv) => (revision, kv),
                None => self.next_candidate(revision).await?,
            };
            let key = kv.decode().expect("the store holds encoded key-values only").key;
            self.send(revision, kv).await?;
            self.follow(key, revision + 1).await?;
        }
    }

    /// The first key that is put below the prefix.
    async fn next_candidate(&self, from: i64) -> Result<(i64, RawKeyValue), Ended> {
        let range = KeyRange::new(self.prefix.clone(), prefix_end(&self.prefix));
        let mut watch = self.session.watch(range, from).await?;
        loop {
            let (_, events) = watch.next().await?;
            let put = events.iter().find(|event| event.r#type == EventType::Put as i32);
            if let Some(kv) = put.and_then(|event| event.kv.clone()) {
                let at = kv.decode().expect("events hold encoded key-values only").mod_revision;
                return Ok((at, kv));
            }
        }
    }

    /// Sends what a leader proclaims until its key is gone.
    async fn follow(&self, key: Bytes, from: i64) -> Result<(), Ended> {
        let mut watch = self.session.watch(KeyRange::Single(key), from).await?;
        loop {
            let (revision, events) = watch.next().await?;
            for event in events.iter() {
                if event.r#type == EventType::Delete as i32 {
                    return Ok(());
                }
                if let Some(kv) = event.kv.clone() {
                    self.send(revision, kv).await?;
                }
            }
        }
    }

    async fn send(&self, revision: i64, kv: RawKeyValue) -> Result<(), Ended> {
        let header = Some(self.handle.header(revision));
        let leader = LeaderResponse { header, kv: Some(kv) };
        self.leaders.send(Ok(leader)).await.map_err(|_| Ended)
    }
}
