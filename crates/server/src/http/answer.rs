//! Unary calls whose message is there as a whole: [`Grpc::unary`] does for them what [`Grpc::call`]
//! does for every call, in the same order, without bodies and layers in between.

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use tonic::{Request, Response, Status};

use super::{
    grpc::{Grpc, deadline},
    pieces::{Outgoing, Pieces},
};
use crate::{
    lists::Share,
    metrics::Call,
    services::Services,
    slow::{self, Ends},
    status::Failure,
    telemetry,
};

/// Bytes before each message: whether it is compressed, and its length.
pub(super) const PREFIX_BYTES: usize = 5;

/// What a service is doing.
pub(super) type Serving<A> = Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send>>;
/// A method of a service.
pub(super) type Service<Q, A> = fn(Services, Request<Q>) -> Serving<A>;

/// An answer as it goes out.
pub(super) enum Answer {
    /// A message behind its prefix, and headers beside gRPC's own.
    Message(Bytes, HeaderMap),
    /// A long one, in pieces.
    Long(Pieces, HeaderMap),
    /// A failure.
    Failure(Status),
}

impl Grpc {
    /// Answers a unary call of `path`, whose message had `bytes`.
    ///
    /// Everything up to the service's own work is done at once: what is awaited holds no request.
    pub(super) fn unary<Q, A: Outgoing + Send + 'static>(
        self: &Arc<Self>,
        path: &'static str,
        ends: Ends,
        request: Request<Q>,
        bytes: usize,
        service: Service<Q, A>,
    ) -> impl Future<Output = Answer> + Send + use<Q, A> {
        let metrics = &self.handle.metrics.grpc;
        let mut call = metrics.start(path);
        let tracer = &self.handle.tracer;
        let span = call.as_mut().and_then(|call| {
            call.begin_span(tracer.call(path, request.metadata().as_ref())?, ends.local)
        });
        let serving = self.begin(path, request, bytes, service, call.as_ref());
        let grpc = self.clone();
        async move {
            let watched = slow::watched(&grpc.handle, path, ends, serving);
            let answer = encoded(telemetry::within(span, watched).await);
            if let Some(call) = &mut call {
                let metrics = &grpc.handle.metrics.grpc;
                match &answer {
                    Answer::Message(framed, _) => {
                        metrics.answered(call, framed.len() - PREFIX_BYTES);
                    }
                    Answer::Long(pieces, _) => metrics.answered(call, pieces.length()),
                    Answer::Failure(status) => call.failed(status),
                }
            }
            answer
        }
    }

    /// Lets a call in, and its service begin when it is asked.
    fn begin<Q, A: Send + 'static>(
        &self,
        path: &str,
        request: Request<Q>,
        bytes: usize,
        service: Service<Q, A>,
        call: Option<&Call>,
    ) -> Serving<A> {
        let metrics = &self.handle.metrics.grpc;
        let headers = request.metadata().as_ref();
        let timeout = deadline(headers);
        match self.admit(path, headers) {
            Err(refusal) => {
                return Box::pin(std::future::ready(Err(Failure::from(refusal).into())));
            }
            Ok(version) => metrics.admitted(call, version),
        }
        if let Some(call) = call {
            metrics.received(call, bytes);
        }
        let serving = service(self.services.clone(), request);
        let Some(limit) = timeout else { return serving };
        Box::pin(async move {
            let served = tokio::time::timeout(limit, serving).await;
            served.unwrap_or_else(|_| Err(Failure::DEADLINE.into()))
        })
    }
}

fn encoded<A: Outgoing>(served: Result<Response<A>, Status>) -> Answer {
    let (metadata, message, mut extensions) = match served {
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
    let message = match message.pieces(length) {
        Ok(mut pieces) => {
            pieces.hold(extensions.remove::<Arc<Share>>().and_then(Arc::into_inner));
            return Answer::Long(pieces, metadata.into_headers());
        }
        Err(message) => message,
    };
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    framed.put_i32(prefixed);
    message.encode(&mut framed).expect("room was reserved");
    Answer::Message(framed.freeze(), metadata.into_headers())
}
