//! Who sends a request, and whether it may: tokens and certificates become identities, identities
//! are judged by the store of users.
//!
//! The judgement of what goes through raft is apply's; services ask here for what never does. Both
//! use the same rules (`apply::Permit`).

mod caller;
mod jwt;
mod leases;
mod login;
mod options;
mod v2;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use api::{
    error::Error,
    etcdserverpb::{
        AuthenticateRequest, AuthenticateResponse, InternalAuthenticateRequest, InternalRaftRequest,
    },
    ids::{RaftIndex, Term},
};
use apply::{Permit, Response};
use auth::Identity;
use config::Config;
use rand::Rng;
use ring::digest;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

pub(crate) use caller::{Caller, CommonName};

use crate::{
    handle::{Handle, Outcome},
    limits::LOGINS_AT_ONCE_MAX,
    proposal::Proposal,
    status::Failure,
};
use login::Passwords;
use options::Provider;

/// How often tokens that ended are dropped.
const SWEEP: Duration = Duration::from_secs(1);
/// Letters in a simple token before the index.
const TOKEN_LETTERS: usize = 16;

/// What a member needs to know who its callers are.
pub(crate) struct Gate {
    provider: Provider,
    passwords: Passwords,
    /// One permit for each login that may be on its way through the cluster: thousands at once would
    /// all be in front of the writes that come after them.
    pub(crate) logins: Semaphore,
    /// `--client-cert-auth`: certificates name users.
    trusts_certificates: bool,
}

impl Gate {
    /// The gate that the flags describe.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Gate> {
        let provider = Provider::new(&config.auth_token).inspect_err(|error| {
            tracing::warn!(%error, "failed to create token provider");
        })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // Half of the cores at most: writes go on while users log in.
        let passwords = Passwords::new(checked_cost(config.bcrypt_cost), (cores / 2).max(1))
            .context("start the threads that compare passwords")?;
        let trusts_certificates = config.client_tls.client_cert_auth;
        let logins = Semaphore::new(LOGINS_AT_ONCE_MAX);
        Ok(Gate { provider, passwords, logins, trusts_certificates })
    }
}

/// A cost that bcrypt does not have is replaced, as in etcd.
fn checked_cost(given: u64) -> u32 {
    let cost = u32::try_from(given).ok().filter(|cost| auth::password::COSTS.contains(cost));
    cost.unwrap_or_else(|| {
        let (min, max) = auth::password::COSTS.into_inner();
        let default = auth::password::DEFAULT_COST;
        tracing::warn!(
            "min-cost" = min,
            "max-cost" = max,
            "default-cost" = default,
            "given-cost" = given,
            "use default bcrypt cost instead of the invalid given cost"
        );
        default
    })
}

impl Handle {
    /// Who sends a call: the user of its token, else of its certificate; `None` when it does not
    /// say, or while authentication is off. A token that is not good is refused.
    pub(crate) async fn identify(&self, caller: &Caller) -> Result<Option<Identity>, Failure> {
        if !self.shared.auth.read().is_enabled() {
            return Ok(None);
        }
        if let Some(token) = &caller.token {
            let who = match &self.auth.provider {
                // In a box: it is not to make the futures of those without a token larger.
                Provider::Simple => Box::pin(self.of_simple_token(token)).await,
                Provider::Jwt(jwt) => jwt.verify(token, since_epoch()),
                Provider::None => None,
            };
            if who.is_none() {
                tracing::warn!("token-fingerprint" = fingerprint(token), "invalid auth token");
            }
            return Ok(Some(who.ok_or(Error::InvalidAuthToken)?));
        }
        if !self.auth.trusts_certificates {
            return Ok(None);
        }
        let revision = self.shared.auth.read().revision();
        let named = caller.common_name.as_ref();
        Ok(named.map(|name| Identity { user: name.to_string(), revision }))
    }

    /// The user of a simple token. The index in the token is that of the entry before the one that
    /// made it: this member must have applied that one to judge the token.
    async fn of_simple_token(&self, token: &str) -> Option<Identity> {
        let (_, index) = token.split_once('.')?;
        let made = index.parse::<u64>().ok()?.saturating_add(1);
        let known = self.progress.wait_applied(RaftIndex(made));
        timeout(self.limits.request_timeout, known).await.ok()?;
        // The revision of the moment at which the token was found good.
        let auth = self.shared.auth.read();
        let mut tokens = self.shared.tokens.lock();
        let user = tokens.user_of(token, self.clock.now_ms())?.to_owned();
        Some(Identity { user, revision: auth.revision() })
    }

    /// Refuses a call of nobody; any user will do.
    pub(crate) async fn require_user(&self, caller: &Caller) -> Result<(), Failure> {
        let who = self.identify(caller).await?;
        if who.is_none() && self.shared.auth.read().is_enabled() {
            return Err(Error::UserEmpty.into());
        }
        Ok(())
    }

    /// Refuses a call of anyone but an administrator.
    pub(crate) async fn require_admin(&self, caller: &Caller) -> Result<(), Failure> {
        let who = self.identify(caller).await?.unwrap_or_default();
        Ok(self.shared.auth.read().check_admin(&who)?)
    }

    /// Judges a call that is answered from the state here. What it returns is to be shown to
    /// [`Handle::still_permitted`] when the answer is made.
    pub(crate) async fn permitted(
        &self,
        caller: &Caller,
        check: impl FnOnce(&Permit<'_>) -> Result<(), auth::Error>,
    ) -> Result<Identity, Failure> {
        let who = self.identify(caller).await?.unwrap_or_default();
        let auth = self.shared.auth.read();
        if auth.is_enabled() {
            check(&Permit { auth: &auth, lessor: &self.shared.lessor, who: &who })?;
        }
        Ok(who)
    }

    /// Refuses an answer when users or roles have changed since its caller was judged.
    pub(crate) fn still_permitted(&self, who: &Identity) -> Result<(), Failure> {
        Ok(self.shared.auth.read().check_current(who)?)
    }

    /// Takes a caller's request through raft; see [`Handle::propose`]. Apply judges it by the name
    /// that it carries.
    pub(crate) fn propose_as(
        &self,
        caller: &Caller,
        request: impl Into<Proposal>,
    ) -> impl Future<Output = Outcome> + Send {
        // Not within the future: see `Proposal`.
        let proposal = request.into();
        async move {
            self.check_pressure_on(&proposal)?;
            let who = self.identify(caller).await?;
            self.propose_for(who.unwrap_or_default(), proposal).await
        }
    }

    /// Takes a request of this member itself through raft, with every right, while it leads `term`:
    /// what one leader decided by its clock is not the next one's to propose.
    pub(crate) async fn propose_as_leader(
        &self,
        request: InternalRaftRequest,
        term: Term,
    ) -> Outcome {
        let who = {
            let auth = self.shared.auth.read();
            if auth.is_enabled() { auth.root() } else { Identity::nobody() }
        };
        let proposal = Proposal::from(request);
        self.check_pressure_on(&proposal)?;
        self.propose_in(who, proposal, term).await
    }

    /// Hashes the password of a user that an administrator makes or changes. Hashing costs time:
    /// whoever is surely refused later is refused before it.
    pub(crate) async fn hash_password(
        &self,
        caller: &Caller,
        password: String,
    ) -> Result<String, Failure> {
        if self.require_admin(caller).await.is_err() {
            // This member may be behind.
            self.linearizable().await?;
            self.require_admin(caller).await?;
        }
        self.auth.passwords.hash(password).await
    }

    /// Logs a user in: compares the password here, then lets every member know the token. When the
    /// store of users changed in between, the password is compared again: it may be another.
    pub(crate) async fn authenticate(
        &self,
        request: AuthenticateRequest,
    ) -> Result<AuthenticateResponse, Failure> {
        {
            let _turn = self.login_turn().await?;
            self.linearizable().await?;
        }
        // No turn is held while a password is compared, which takes long.
        loop {
            let revision = self.compare_password(&request).await?;
            let (mut response, signed_at) = {
                let _turn = self.login_turn().await?;
                self.propose_login(&request.name).await?
            };
            if revision != self.shared.auth.read().revision() {
                tracing::info!("revision when password checked became stale; retrying");
                continue;
            }
            if let Provider::Jwt(jwt) = &self.auth.provider {
                let who = Identity { user: request.name, revision: signed_at };
                response.token = jwt.sign(&who, since_epoch());
            }
            return Ok(response);
        }
    }

    /// Waits until few enough logins are on their way, for as long as a request may take.
    async fn login_turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        let turn = timeout(self.limits.request_timeout, self.auth.logins.acquire()).await;
        turn.map_err(|_| Error::Timeout)?.map_err(|_| Error::Stopped.into())
    }

    /// The auth revision at which a name and a password were found to belong together.
    async fn compare_password(&self, request: &AuthenticateRequest) -> Result<u64, Failure> {
        let (hash, revision) = {
            let auth = self.shared.auth.read();
            if !auth.is_enabled() {
                return Err(Error::AuthNotEnabled.into());
            }
            let user = auth.user(&request.name).ok_or(Error::AuthFailed)?;
            if user.has_no_password() {
                return Err(auth::Error::NO_PASSWORD_USER.into());
            }
            (user.password_hash(), auth.revision())
        };
        let (name, password) = (&request.name, request.password.clone());
        if self.auth.passwords.matches(name, hash, password).await? {
            return Ok(revision);
        }
        tracing::warn!(user = %name, "invalid authentication was requested");
        Err(Error::AuthFailed.into())
    }

    /// Proposes the token of a login; with the answer comes the auth revision at its apply.
    async fn propose_login(&self, name: &str) -> Result<(AuthenticateResponse, u64), Failure> {
        let simple_token = match &self.auth.provider {
            Provider::Simple => random_letters(),
            Provider::Jwt(jwt) if jwt.is_verify_only() => return Err(VERIFY_ONLY),
            Provider::Jwt(_) | Provider::None => String::new(),
        };
        let authenticate = Some(InternalAuthenticateRequest {
            name: name.to_owned(),
            // Never in the log: it was compared here.
            password: String::new(),
            simple_token,
        });
        let request = InternalRaftRequest { authenticate, ..Default::default() };
        match self.propose(request).await? {
            Response::Authenticate { .. } if matches!(self.auth.provider, Provider::None) => {
                Err(Error::AuthFailed.into())
            }
            Response::Authenticate { response, revision } => Ok((response, revision)),
            other => unreachable!("a login was answered by {other:?}"),
        }
    }
}

/// What etcd says when it has a public key only.
const VERIFY_ONLY: Failure = Failure {
    code: api::error::Code::Unknown,
    message: std::borrow::Cow::Borrowed("auth: token signing attempted with verify-only key"),
};

/// What the log may show of a token.
fn fingerprint(token: &str) -> String {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_letters() -> String {
    let mut random = rand::rng();
    let letter = |n: u8| char::from(if n < 26 { b'a' + n } else { b'A' + n - 26 });
    (0..TOKEN_LETTERS).map(|_| letter(random.random_range(0..52))).collect()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Drops tokens that ended, until the member stops.
pub(crate) async fn sweep(handle: Handle) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = ticks.tick() => handle.shared.tokens.lock().sweep(handle.clock.now_ms()),
            () = handle.progress.wait_stopping() => return,
        }
    }
}

impl From<auth::Error> for Failure {
    fn from(error: auth::Error) -> Failure {
        Failure { code: error.code, message: error.message.into() }
    }
}
