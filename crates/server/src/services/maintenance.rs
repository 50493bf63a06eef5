//! Maintenance: status, hashes, alarms, defragmentation (spec grpc.md section 8).

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use api::{
    error::Error,
    etcdserverpb::{
        AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, DowngradeInfo,
        DowngradeRequest, DowngradeResponse, HashKvRequest, HashKvResponse, HashRequest,
        HashResponse, InternalRaftRequest, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest,
        SnapshotResponse, StatusRequest, StatusResponse, alarm_request::AlarmAction,
        maintenance_server::Maintenance,
    },
    ids::MemberId,
    version,
};
use apply::Response as Applied;
use futures_core::Stream;
use membership::Downgrade;
use tonic::{Request, Response, Status};

use super::Services;
use crate::{
    auth::Caller,
    cluster_version::{self, downgrade},
    driver::storage_loop,
    handle::Handle,
    status::Failure,
};

/// A transfer of leadership has no time limit but its client's.
const UNTIL_THE_CLIENT_LEAVES: Duration = Duration::from_secs(u32::MAX as u64);

type Snapshots = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Maintenance for Services {
    type SnapshotStream = Snapshots;

    async fn alarm(
        &self,
        request: Request<AlarmRequest>,
    ) -> Result<Response<AlarmResponse>, Status> {
        let (caller, request) = Caller::split(request);
        match AlarmAction::try_from(request.action) {
            Ok(AlarmAction::Get) => self.0.require_user(&caller).await?,
            _ => self.0.require_admin(&caller).await?,
        }
        if AlarmAction::try_from(request.action).is_err() {
            // Real etcd crashes here; nothing of it reaches raft.
            let message = format!("etcdserver: unknown alarm action {}", request.action);
            return Err(Status::invalid_argument(message));
        }
        let alarm = Some(request);
        let request = InternalRaftRequest { alarm, ..Default::default() };
        match self.0.propose_as(&caller, request).await? {
            Applied::Alarm(mut response) => {
                self.0.complete(&mut response.header);
                Ok(Response::new(response))
            }
            other => unreachable!("an alarm request was answered by {other:?}"),
        }
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        self.0.require_user(&Caller::split(request).0).await?;
        Ok(Response::new(status(&self.0)))
    }

    /// Answers at once: freed pages are reused as they are, there is nothing worth a pause.
    async fn defragment(
        &self,
        request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.0.require_admin(&Caller::split(request).0).await?;
        let began = Instant::now();
        tracing::info!("finished defragmenting: freed pages are reused without it");
        self.0.metrics.store.defrag.observe(began.elapsed().as_secs_f64());
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.0.require_admin(&Caller::split(request).0).await?;
        let handle = self.0.clone();
        let began = Instant::now();
        let hash = blocking(move || {
            storage_loop::flush(&handle);
            let view = handle.backend.read().expect("the store can be read");
            Ok(storage::hash_all(&*view).expect("the store can be read"))
        })
        .await?;
        self.0.metrics.store.hash.observe(began.elapsed().as_secs_f64());
        Ok(Response::new(HashResponse { header: Some(self.0.header(0)), hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<HashKvRequest>,
    ) -> Result<Response<HashKvResponse>, Status> {
        let (caller, HashKvRequest { revision }) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let handle = self.0.clone();
        let began = Instant::now();
        let hash = blocking(move || Ok(handle.shared.store.hash_kv(revision)?)).await?;
        self.0.metrics.store.hash_rev.observe(began.elapsed().as_secs_f64());
        Ok(Response::new(HashKvResponse {
            header: Some(self.0.header(0)),
            hash: hash.hash,
            compact_revision: hash.compact_revision,
            hash_revision: hash.revision,
        }))
    }

    async fn snapshot(
        &self,
        request: Request<SnapshotRequest>,
    ) -> Result<Response<Snapshots>, Status> {
        // What `etcdutl rebuild` asks for: a member cannot do without them.
        let with_v2 = request.metadata().contains_key("oxetcd-v2-keys");
        self.0.require_admin(&Caller::split(request).0).await?;
        let messages = super::snapshot::stream(&self.0, with_v2).await;
        Ok(Response::new(Box::pin(messages)))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let target = MemberId(request.target_id);
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
        self.0.transfer_leader(target, UNTIL_THE_CLIENT_LEAVES).await?;
        Ok(Response::new(MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        request: Request<DowngradeRequest>,
    ) -> Result<Response<DowngradeResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let answer = downgrade::downgrade(&self.0, request).await?;
        Ok(Response::new(answer))
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
    let storage_version = cluster_version::storage::version(handle)
        .map(|version| version.to_string())
        .unwrap_or_default();
    let downgrade_info = {
        let membership = handle.shared.membership.read();
        let Downgrade { enabled, target_version } = membership.downgrade().clone();
        DowngradeInfo { enabled, target_version }
    };
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
        is_learner: handle.is_learner(),
        storage_version,
        db_size_quota: handle.limits.quota_bytes,
        downgrade_info: Some(downgrade_info),
    }
}
