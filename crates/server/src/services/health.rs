//! The standard gRPC health service: the empty service name is SERVING once clients are served.

use std::pin::Pin;

use api::health::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health as HealthService,
};
use futures_core::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::handle::Handle;

/// Answers health checks of one member.
#[derive(Clone)]
pub(crate) struct Health(pub(crate) Handle);

type Statuses = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl HealthService for Health {
    type WatchStream = Statuses;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if request.into_inner().service.is_empty() {
            return Ok(Response::new(answer(ServingStatus::Serving)));
        }
        Err(Status::not_found("unknown service"))
    }

    /// Sends the present status, and the end of serving when the member stops.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Statuses>, Status> {
        let known = request.into_inner().service.is_empty();
        let (sender, stream) = tokio::sync::mpsc::channel(2);
        let handle = self.0.clone();
        let first = if known { ServingStatus::Serving } else { ServingStatus::ServiceUnknown };
        tokio::spawn(async move {
            if sender.send(Ok(answer(first))).await.is_err() {
                return;
            }
            tokio::select! {
                () = handle.progress.wait_stopping() => {
                    let _gone = sender.send(Ok(answer(ServingStatus::NotServing))).await;
                }
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}
