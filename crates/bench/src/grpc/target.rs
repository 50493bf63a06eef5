//! Where connections go, and with what: TLS, and the token of a user.

use crate::{
    args::load::SecurityArgs,
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
    },
};
use anyhow::{Context as _, Result};
use api::etcdserverpb::{AuthenticateRequest, AuthenticateResponse};
use bytes::BytesMut;
use http::HeaderValue;
use prost::Message as _;

/// A member's client address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host:port`.
    pub(crate) authority: String,
    /// Its first part.
    pub(crate) host: String,
    /// Its second part.
    pub(crate) port: u16,
    /// Whether it was given as `https://`.
    pub(crate) tls: bool,
}

/// A member to connect to.
#[derive(Clone)]
pub(crate) struct Target {
    /// Its address.
    pub(crate) endpoint: Endpoint,
    /// Opens the connections.
    pub(crate) connector: tls::Connector,
    /// Goes with every request.
    pub(crate) token: Option<HeaderValue>,
}

impl Target {
    /// A member without TLS and authentication.
    pub(crate) fn plain(endpoint: Endpoint) -> Self {
        let connector = tls::Connector::plain(&tls::ClientOptions::default());
        Self { endpoint, connector, token: None }
    }

    /// Whether connections are encrypted.
    pub(crate) fn scheme(&self) -> tls::Scheme {
        if self.endpoint.tls { tls::Scheme::Tls } else { tls::Scheme::Plain }
    }
}

/// The members of a command line. A user is logged in at the first of them.
pub(crate) async fn open(endpoints: &[Endpoint], security: &SecurityArgs) -> Result<Vec<Target>> {
    let options = tls::ClientOptions {
        trusted_ca_file: security.cacert.clone(),
        key_pair: security.cert.clone().zip(security.key.clone()),
        insecure_skip_verify: security.insecure_skip_tls_verify,
        protocols: vec![tls::HTTP2],
        ..tls::ClientOptions::default()
    };
    let any = endpoints.iter().any(|endpoint| endpoint.tls);
    let connector = if any {
        tls::Connector::new(options).context("read the files of TLS")?
    } else {
        tls::Connector::plain(&options)
    };
    let target = |endpoint: &Endpoint| Target {
        endpoint: endpoint.clone(),
        connector: connector.clone(),
        token: None,
    };
    let mut targets: Vec<Target> = endpoints.iter().map(target).collect();
    if let (Some(user), Some(first)) = (&security.user, targets.first()) {
        let login =
            AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
        let mut message = BytesMut::new();
        frame::encode(&login, &mut message);
        let mut channel = Channel::connect(first).await?;
        let answer = channel
            .unary(Method::Authenticate, message.freeze(), Keep::Message)
            .await
            .with_context(|| format!("log in as {:?}", user.name))?;
        let answer = AuthenticateResponse::decode(answer.message).context("read the token")?;
        let mut token = HeaderValue::from_str(&answer.token).context("use the token")?;
        token.set_sensitive(true);
        targets.iter_mut().for_each(|target| target.token = Some(token.clone()));
    }
    Ok(targets)
}
