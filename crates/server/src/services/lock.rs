//! Lock: one holder of a name at a time, in the order of asking (spec grpc.md section 10).

use api::{
    etcdserverpb::{TxnRequest, response_op::Response as Answer},
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server::Lock},
};
use bytes::Bytes;
use tonic::{Request, Response, Status};

use super::{
    Services,
    session::{
        Contender, Session, created_at, first, first_created, get, prefix_of, put_op, range_op,
        session_key,
    },
};

#[tonic::async_trait]
impl Lock for Services {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let (session, request) = Session::split(self, request);
        let lease = session.lease(request.lease).await?;
        let prefix = prefix_of(&request.name);
        let key = session_key(&prefix, lease);
        let answer = session
            .txn(TxnRequest {
                compare: vec![created_at(&key, 0)],
                success: vec![put_op(&key, Bytes::new(), lease), range_op(first_created(&prefix))],
                failure: vec![range_op(get(&key)), range_op(first_created(&prefix))],
            })
            .await?;
        let found = |at: usize| match &answer.responses[at].response {
            Some(Answer::ResponseRange(range)) => first(range),
            _ => None,
        };
        let revision = answer.header.map_or(0, |header| header.revision);
        // A session that asks again has its key already.
        let created = found(0).map_or(revision, |own| own.create_revision);
        if found(1).is_none_or(|owner| owner.create_revision == created) {
            return Ok(Response::new(LockResponse { header: answer.header, key }));
        }
        let contender = Contender::new(&session, &key, created);
        session.wait_deletes(&prefix, created - 1).await?;
        let own = session.range(get(&key)).await?;
        contender.won();
        if own.kvs.is_empty() {
            return Err(Status::unknown("mutex: session is expired"));
        }
        Ok(Response::new(LockResponse { header: own.header, key }))
    }

    async fn unlock(
        &self,
        request: Request<UnlockRequest>,
    ) -> Result<Response<UnlockResponse>, Status> {
        let (session, request) = Session::split(self, request);
        let header = session.delete(request.key).await?;
        Ok(Response::new(UnlockResponse { header }))
    }
}
