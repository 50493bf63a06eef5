//! The handle on a cluster, and how one call is made: metadata, size limits, deadline, retries.

use std::{sync::Arc, time::Duration};

use http::uri::PathAndQuery;
use parking_lot::RwLock;
use prost::Message;
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::{
    Request, Status, Streaming,
    body::Body,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
};
use tonic_prost::ProstCodec;
use tower_service::Service as _;

use crate::{
    balancer::Balancer,
    channel::Channel,
    config::{Config, Credentials},
    connect::Connector,
    endpoint::Endpoint,
    error::Error,
    retry::{self, MAX_ATTEMPTS, Next, Policy, Situation},
};

/// The API version that requests name.
const API_VERSION: &str = "3.7";
/// What a message of a request has beside its bytes on the wire.
const USER_AGENT: &str = concat!("oxetcd-client/", env!("CARGO_PKG_VERSION"));

/// A client of a cluster. Clones share connections and token; each may have its own deadline.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    options: Options,
}

struct Shared {
    config: Config,
    balancer: Arc<Balancer>,
    token: RwLock<Option<MetadataValue<Ascii>>>,
}

/// What a clone of a client may set for its calls.
#[derive(Clone, Default)]
struct Options {
    deadline: Option<Instant>,
    require_leader: bool,
    /// See [`Client::with_v2_keys`].
    v2_keys: bool,
    /// Instead of the token that the clones share.
    token: Option<MetadataValue<Ascii>>,
}

impl Client {
    /// A client for `config`. Does not wait for a connection, unless a password must be exchanged
    /// for a token; that is bounded by the dial timeout. Must be called within a tokio runtime.
    pub async fn new(config: Config) -> Result<Client, Error> {
        if config.endpoints.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let connector = Connector::new(&config)?;
        let balancer = Arc::new(Balancer::new(config.endpoints.clone(), connector));
        let shared = Shared { config, balancer, token: RwLock::new(None) };
        let client = Client { shared: Arc::new(shared), options: Options::default() };
        let dialing = match client.shared.config.dial_timeout {
            Some(timeout) if !timeout.is_zero() => client.with_timeout(timeout),
            _ => client.clone(),
        };
        dialing.refresh_token().await?;
        Ok(client)
    }

    /// This client with calls that end `timeout` from now.
    pub fn with_timeout(&self, timeout: Duration) -> Client {
        self.with_deadline(Instant::now() + timeout)
    }

    /// This client with calls that end at `deadline`.
    pub fn with_deadline(&self, deadline: Instant) -> Client {
        let options = Options { deadline: Some(deadline), ..self.options.clone() };
        Client { shared: self.shared.clone(), options }
    }

    /// This client with calls that have no deadline.
    pub fn without_deadline(&self) -> Client {
        let options = Options { deadline: None, ..self.options.clone() };
        Client { shared: self.shared.clone(), options }
    }

    /// This client with calls that a member without a leader refuses.
    pub fn require_leader(&self) -> Client {
        let options = Options { require_leader: true, ..self.options.clone() };
        Client { shared: self.shared.clone(), options }
    }

    /// This client with snapshots that hold the keys of the v2 API too, in a bucket of their own. Members
    /// that know nothing of this leave them out.
    pub fn with_v2_keys(&self) -> Client {
        let options = Options { v2_keys: true, ..self.options.clone() };
        Client { shared: self.shared.clone(), options }
    }

    /// This client with calls in the name of somebody else's token, which is never refreshed.
    pub fn with_token(&self, token: MetadataValue<Ascii>) -> Client {
        let options = Options { token: Some(token), ..self.options.clone() };
        Client { shared: self.shared.clone(), options }
    }

    /// Sends somebody else's call to one of the endpoints as it is: only scheme and authority are
    /// this client's. Waits for a connection; never tried again once it left.
    pub async fn forward(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Status> {
        let mut channel = Channel::new(self.shared.balancer.clone());
        Ok(channel.call(request).await?.map(Body::new))
    }

    /// The endpoints that calls may go to.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.shared.balancer.endpoints()
    }

    /// Replaces the endpoints; an empty list is refused.
    pub fn set_endpoints(&self, endpoints: Vec<Endpoint>) -> Result<(), Error> {
        if endpoints.is_empty() {
            return Err(Error::NoEndpoints);
        }
        self.shared.balancer.set_endpoints(endpoints);
        Ok(())
    }

    /// The settings that the client was made from.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Fetches a token for the configured name and password; a cluster without authentication
    /// needs none.
    pub(crate) async fn refresh_token(&self) -> Result<(), Error> {
        let token = match &self.shared.config.credentials {
            None => return Ok(()),
            Some(Credentials::Token(token)) => token.clone(),
            Some(Credentials::Password { name, password }) => {
                if name.is_empty() || password.is_empty() {
                    return Ok(());
                }
                let request = api::etcdserverpb::AuthenticateRequest {
                    name: name.clone(),
                    password: password.clone(),
                };
                // Boxed: a call may refresh the token, which is a call.
                match Box::pin(self.authenticate(request)).await {
                    Ok(answer) => answer.token,
                    Err(error) if error.is(api::error::Error::AuthNotEnabled) => String::new(),
                    Err(error) => return Err(error),
                }
            }
        };
        let value = match token.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| {
                Error::Config("the authentication token cannot be sent as metadata".to_owned())
            })?),
        };
        *self.shared.token.write() = value;
        Ok(())
    }

    /// Makes a unary call, again as often as [`retry`] allows.
    pub(crate) async fn unary<M, R>(
        &self,
        path: &'static str,
        policy: Policy,
        message: M,
    ) -> Result<R, Error>
    where
        M: Message + Clone + Send + Sync + 'static,
        R: Message + Default + Send + 'static,
    {
        let size = message.encoded_len();
        let mut attempt = 0;
        loop {
            let endpoints = self.shared.balancer.endpoints().len();
            if let Some(pause) = retry::pause(attempt, endpoints) {
                let sleep = async {
                    tokio::time::sleep(pause).await;
                    Ok(())
                };
                self.bounded(sleep).await?;
            }
            let call = async {
                self.check_size(size)?;
                let mut grpc = self.grpc();
                let request = self.request(message.clone());
                let answer = grpc
                    .unary(request, PathAndQuery::from_static(path), ProstCodec::<M, R>::default())
                    .await;
                answer.map(tonic::Response::into_inner).map_err(|status| self.error(status))
            };
            let error = match self.bounded(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.log_failure(path, attempt, &error);
            attempt += 1;
            if matches!(error, Error::DeadlineExceeded { .. }) || attempt == MAX_ATTEMPTS {
                return Err(error);
            }
            match retry::next(&error, self.situation(policy, endpoints)) {
                Next::Fail => return Err(error),
                Next::Again => {}
                Next::Authenticate => self.refresh_token().await?,
            }
        }
    }

    /// Opens a stream of answers to one message. A fresh token is fetched first, as streams are
    /// not tried again within a call.
    pub(crate) async fn server_streaming<M, R>(
        &self,
        path: &'static str,
        message: M,
    ) -> Result<Streaming<R>, Error>
    where
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + 'static,
    {
        self.check_size(message.encoded_len())?;
        self.refresh_token().await?;
        let codec = ProstCodec::<M, R>::default();
        let call = async {
            let mut grpc = self.grpc();
            let request = self.request(message);
            let answer = grpc.server_streaming(request, PathAndQuery::from_static(path), codec);
            answer.await.map_err(|status| self.error(status))
        };
        Ok(self.bounded(call).await?.into_inner())
    }

    /// Opens a stream both ways.
    pub(crate) async fn streaming<M, R, S>(
        &self,
        path: &'static str,
        messages: S,
    ) -> Result<Streaming<R>, Error>
    where
        S: Stream<Item = M> + Send + 'static,
        M: Message + Send + Sync + 'static,
        R: Message + Default + Send + 'static,
    {
        self.refresh_token().await?;
        let codec = ProstCodec::<M, R>::default();
        let call = async {
            let mut grpc = self.grpc();
            let request = self.request(messages);
            let answer = grpc.streaming(request, PathAndQuery::from_static(path), codec);
            answer.await.map_err(|status| self.error(status))
        };
        Ok(self.bounded(call).await?.into_inner())
    }

    /// The next message of a stream, within the deadline.
    pub(crate) async fn receive<R>(&self, stream: &mut Streaming<R>) -> Result<Option<R>, Error> {
        self.bounded(async { stream.message().await.map_err(|status| self.error(status)) }).await
    }

    /// `work`, unless the deadline comes first. One that has passed ends it before it begins: the
    /// timer has a resolution of a millisecond, in which a server can answer.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Some(deadline) = self.options.deadline else { return work.await };
        let in_time = match deadline <= Instant::now() {
            true => None,
            false => tokio::time::timeout_at(deadline, work).await.ok(),
        };
        match in_time {
            Some(result) => result,
            None => Err(Error::DeadlineExceeded { connecting: self.shared.balancer.failure() }),
        }
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(Channel::new(self.shared.balancer.clone()))
            .max_decoding_message_size(self.shared.config.max_recv_bytes)
    }

    fn check_size(&self, bytes: usize) -> Result<(), Error> {
        let max = self.shared.config.max_request_bytes;
        if bytes <= max {
            return Ok(());
        }
        let text = format!("trying to send message larger than max ({bytes} vs. {max})");
        Err(Status::resource_exhausted(text).into())
    }

    /// A request with the metadata of every call.
    fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(deadline) = self.options.deadline {
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        }
        let metadata = request.metadata_mut();
        metadata.insert("user-agent", MetadataValue::from_static(USER_AGENT));
        metadata.insert("client-api-version", MetadataValue::from_static(API_VERSION));
        if self.options.require_leader {
            metadata.insert("hasleader", MetadataValue::from_static("true"));
        }
        if self.options.v2_keys {
            metadata.insert("oxetcd-v2-keys", MetadataValue::from_static("true"));
        }
        let own = self.options.token.clone();
        if let Some(token) = own.or_else(|| self.shared.token.read().clone()) {
            metadata.insert("token", token);
        }
        request
    }

    fn situation(&self, policy: Policy, endpoints: usize) -> Situation {
        let credentials = &self.shared.config.credentials;
        Situation {
            policy,
            has_password: matches!(
                credentials,
                Some(Credentials::Password { name, password })
                    if !name.is_empty() && !password.is_empty()
            ),
            has_token: matches!(credentials, Some(Credentials::Token(_))),
            endpoints,
        }
    }

    /// A status as an error: what the deadline did is the deadline's, and a response above the
    /// limit is told as gRPC's Go library tells it.
    fn error(&self, status: Status) -> Error {
        let late = self.options.deadline.is_some_and(|deadline| deadline <= Instant::now());
        if late && matches!(status.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled) {
            return Error::DeadlineExceeded { connecting: None };
        }
        if let Some(bytes) = oversized(status.message()) {
            let max = self.shared.config.max_recv_bytes;
            let text = format!("grpc: received message larger than max ({bytes} vs. {max})");
            return Status::resource_exhausted(text).into();
        }
        status.into()
    }

    /// Tells the log of a failed attempt.
    fn log_failure(&self, method: &'static str, attempt: usize, error: &Error) {
        let text = match error {
            Error::DeadlineExceeded { connecting: Some(why) } => format!(
                "rpc error: code = DeadlineExceeded desc = latest balancer error: \
                 connection error: desc = \"{why}\""
            ),
            error => error.rpc_text(),
        };
        let endpoints = self.endpoints();
        let target = endpoints.first().map_or("", |endpoint| endpoint.authority.as_str());
        let target = format!("etcd-endpoints:///{target}");
        tracing::warn!(target, method, attempt, error = text, "retrying of unary invoker failed");
    }
}

/// The size of the message that tonic refused to decode.
fn oversized(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("Error, decoded message length too large: found ")?;
    rest.split(' ').next()
}

#[cfg(test)]
mod tests;
