//! Maintenance: status, hashes, alarms, defragmentation (spec grpc.md section 8).

use std::pin::Pin;

use api::{
    error::Error,
    etcdserverpb::{
        AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo,
        DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest,
        HashResponse, InternalRaftRequest, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
        SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction,
        downgrade_request::DowngradeAction, maintenance_server::Maintenance,
    },
    ids::MemberId,
    version,
};
use apply::Response as Applied;
use futures_core::Stream;
use tonic::{Request, Response, Status};

use super::Services;
use crate::{driver::storage_loop, handle::Handle, status::Failure};

type Snapshots = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Maintenance for Services {
    type SnapshotStream = Snapshots;

    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        let request = request.into_inner();
        if AlarmAction::try_from(request.action).is_err() {
            // Real etcd crashes here; nothing of it reaches raft.
            let message = format!("etcdserver: unknown alarm action {}", request.action);
            return Err(Status::invalid_argument(message));
        }
        let alarm = Some(request);
        match self.0.propose(InternalRaftRequest { alarm, ..Default::default() }).await? {
            Applied::Alarm(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("an alarm request was answered by {other:?}"),
        }
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(status(&self.0)))
    }

    /// Answers at once: freed pages are reused as they are, there is nothing worth a pause.
    async fn defragment(
        &self,
        _request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        tracing::info!("finished defragmenting: freed pages are reused without it");
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    async fn hash(&self, _request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        let handle = self.0.clone();
        let hash = blocking(move || {
            storage_loop::flush(&handle);
            let view = handle.backend.read().expect("the store can be read");
            Ok(storage::hash_all(&*view).expect("the store can be read"))
        })
        .await?;
        Ok(Response::new(HashResponse { header: Some(self.0.header(0)), hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let revision = request.into_inner().revision;
        let handle = self.0.clone();
        let hash = blocking(move || Ok(handle.shared.store.hash_kv(revision)?)).await?;
        Ok(Response::new(HashKvResponse {
            header: Some(self.0.header(0)),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.revision,
        }))
    }

    async fn snapshot(
        &self,
        _request: Request<SnapshotRequest>,
    ) -> Result<Response<Snapshots>, Status> {
        Err(Failure::not_built("Maintenance.Snapshot").into())
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        let target = MemberId(request.into_inner().target_id);
        if self.0.progress.leader() != self.0.member {
            return Err(Failure::from(Error::NotLeader).into());
        }
        let known = self
            .0
            .shared
            .membership
            .read()
            .members()
            .any(|member| member.id == target && !member.is_learner);
        if !known {
            return Err(Failure::from(Error::BadLeaderTransferee).into());
        }
        if target != self.0.member {
            return Err(Failure::not_built("moving the leadership to another member").into());
        }
        Ok(Response::new(MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        if DowngradeAction::try_from(request.into_inner().action).is_err() {
            return Err(Status::unknown("etcdserver: unknown method"));
        }
        Err(Failure::not_built("downgrading a cluster").into())
    }
}

/// Runs `work` where blocking is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Error::Stopped.into()))
}

fn status(handle: &Handle) -> StatusResponse {
    let (allocated, in_use) = handle.progress.db_size();
    let leader = handle.progress.leader();
    let mut errors = Vec::new();
    if leader == MemberId(0) {
        errors.push(Error::NoLeader.message().to_owned());
    }
    errors.extend(handle.shared.alarms.read().texts());
    StatusResponse {
        header: Some(handle.header(0)),
        version: version::SERVER.to_owned(),
        db_size: allocated as i64,
        leader: leader.0,
        raft_index: handle.progress.committed().0,
        raft_term: handle.progress.term().0,
        raft_applied_index: handle.progress.applied().0,
        errors,
        db_size_in_use: in_use as i64,
        is_learner: false,
        storage_version: version::STORAGE.to_owned(),
        db_size_quota: handle.limits.quota_bytes,
        downgrade_info: Some(DowngradeInfo::default()),
    }
}
