//! Unary calls whose message is there as a whole: [`Grpc::unary`] does for them what [`Grpc::call`]
//! does for every call, in the same order, without bodies and layers in between.

use std::{future::Future, pin::Pin};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use prost::Message;
use tonic::{Request, Response, Status};

use super::grpc::{Grpc, deadline};
use crate::{
    metrics::Call,
    services::Services,
    slow::{self, Ends},
    status::Failure,
    telemetry,
};

/// Bytes before each message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// What a service is doing.
type Serving<'a, A> = Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send + 'a>>;
/// A method of a service.
pub(super) type Service<Q, A> = for<'a> fn(&'a Services, Request<Q>) -> Serving<'a, A>;

/// An answer as it goes out.
pub(super) enum Answer {
    /// A message behind its prefix, and headers beside gRPC's own.
    Message(Bytes, HeaderMap),
    /// A failure.
    Failure(Status),
}

impl Grpc {
    /// Answers a unary call of `path`, whose message had `bytes`.
    pub(super) async fn unary<Q, A: Message>(
        &self,
        path: &'static str,
        ends: Ends,
        request: Request<Q>,
        bytes: usize,
        service: Service<Q, A>,
    ) -> Answer {
        let metrics = &self.handle.metrics.grpc;
        let mut call = metrics.start(path);
        let tracer = &self.handle.tracer;
        let span = call.as_mut().and_then(|call| {
            call.begin_span(tracer.call(path, request.metadata().as_ref())?, ends.local)
        });
        telemetry::within(span, async {
            let work = self.judged(path, request, bytes, service, call);
            slow::watched(&self.handle, path, ends, work).await
        })
        .await
    }

    async fn judged<Q, A: Message>(
        &self,
        path: &'static str,
        request: Request<Q>,
        bytes: usize,
        service: Service<Q, A>,
        mut call: Option<Call>,
    ) -> Answer {
        let metrics = &self.handle.metrics.grpc;
        let headers = request.metadata().as_ref();
        let timeout = deadline(headers);
        let answer = match self.admit(path, headers) {
            Err(refusal) => Answer::Failure(Failure::from(refusal).into()),
            Ok(version) => {
                metrics.admitted(call.as_ref(), version);
                if let Some(call) = &call {
                    metrics.received(call, bytes);
                }
                let serving = service(&self.services, request);
                let served = match timeout {
                    None => serving.await,
                    Some(limit) => tokio::time::timeout(limit, serving)
                        .await
                        .unwrap_or_else(|_| Err(Failure::DEADLINE.into())),
                };
                encoded(served)
            }
        };
        if let Some(call) = &mut call {
            match &answer {
                Answer::Message(framed, _) => metrics.answered(call, framed.len() - PREFIX_BYTES),
                Answer::Failure(status) => call.failed(status),
            }
        }
        answer
    }
}

fn encoded<A: Message>(served: Result<Response<A>, Status>) -> Answer {
    let (metadata, message, _) = match served {
        Ok(response) => response.into_parts(),
        Err(status) => return Answer::Failure(status),
    };
    let length = message.encoded_len();
    // The general way has the same limit.
    let Ok(prefixed) = i32::try_from(length) else {
        let limit = i32::MAX;
        let text = format!(
            "Error, encoded message length too large: found {length} bytes, the limit is: {limit} bytes"
        );
        return Answer::Failure(Status::out_of_range(text));
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    framed.put_i32(prefixed);
    message.encode(&mut framed).expect("room was reserved");
    Answer::Message(framed.freeze(), metadata.into_headers())
}
