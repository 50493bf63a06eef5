//! Cluster: the members, and changes of them (spec grpc.md section 7).

use api::{
    etcdserverpb::{
        Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
        MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
        MemberUpdateRequest, MemberUpdateResponse, cluster_server::Cluster,
    },
    ids::MemberId,
};
use http::HeaderValue;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::Services;
use crate::{auth::Caller, members};

#[tonic::async_trait]
impl Cluster for Services {
    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        let (caller, request) = Caller::split(request);
        let new = members::new_member(&request.peer_urls, request.is_learner)?;
        self.0.require_admin(&caller).await?;
        let members = members::add(&self.0, &new).await?;
        Ok(Response::new(MemberAddResponse {
            header: Some(self.0.header_without_revision()),
            member: Some(new.to_proto()),
            members: to_proto(&members),
        }))
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let id = MemberId(request.id);
        let members = members::remove(&self.0, id).await?;
        let header = Some(self.0.header_without_revision());
        Ok(Response::new(MemberRemoveResponse { header, members: to_proto(&members) }))
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        let (caller, request) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let members = members::update(&self.0, MemberId(request.id), request.peer_urls).await?;
        let header = Some(self.0.header_without_revision());
        Ok(Response::new(MemberUpdateResponse { header, members: to_proto(&members) }))
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        let (caller, request) = Caller::split(request);
        if request.linearizable {
            self.0.linearizable().await?;
        }
        self.0.require_user(&caller).await?;
        let membership = self.0.shared.membership.read();
        let members = membership.members().map(membership::Member::to_proto).collect();
        Ok(Response::new(MemberListResponse {
            header: Some(self.0.header_without_revision()),
            members,
        }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        let token = token(request.metadata());
        let (caller, request) = Caller::split(request);
        self.0.require_admin(&caller).await?;
        let id = MemberId(request.id);
        let members = members::promote(&self.0, id, token.as_ref()).await?;
        let header = Some(self.0.header_without_revision());
        Ok(Response::new(MemberPromoteResponse { header, members: to_proto(&members) }))
    }
}

fn to_proto(members: &[membership::Member]) -> Vec<Member> {
    members.iter().map(membership::Member::to_proto).collect()
}

/// The token of a call, for the leader to which it is passed on.
fn token(metadata: &MetadataMap) -> Option<HeaderValue> {
    let token = metadata.get("token").or_else(|| metadata.get("authorization"))?;
    HeaderValue::from_bytes(token.as_bytes()).ok()
}
