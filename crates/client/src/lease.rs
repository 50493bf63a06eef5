//! Keeping leases alive.
//!
//! A lease is renewed after a third of its TTL. While the cluster does not answer, renewals are
//! sent again every [`PAUSE`], over new streams if need be, until the lease must have expired.

use std::time::Duration;

use api::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::{client::Client, error::Error};

const PATH: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// Between attempts while there is no answer.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the first answer may take, beside the dial timeout.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// How long the first answer may take when there is no dial timeout.
const FIRST_ANSWER_UNDIALLED: Duration = Duration::from_secs(5);
/// Renewals that wait to be sent.
const REQUESTS: usize = 4;

/// Keeps one lease alive for as long as [`KeepAlive::next`] is awaited.
pub struct KeepAlive {
    client: Client,
    id: i64,
    stream: Option<Open>,
    /// When the next renewal is due.
    renew: Instant,
    /// When the lease must have expired.
    expiry: Instant,
    ended: bool,
}

struct Open {
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Client {
    /// Begins to keep a lease alive.
    pub fn keep_alive(&self, id: i64) -> KeepAlive {
        let first = match self.config().dial_timeout {
            Some(timeout) if !timeout.is_zero() => timeout + FIRST_ANSWER,
            _ => FIRST_ANSWER_UNDIALLED,
        };
        let now = Instant::now();
        KeepAlive {
            client: self.without_deadline().require_leader(),
            id,
            stream: None,
            renew: now,
            expiry: now + first,
            ended: false,
        }
    }

    /// Renews a lease once; a lease that is gone is an error.
    pub async fn keep_alive_once(&self, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        loop {
            match self.renew(id).await {
                Ok(answer) if answer.ttl <= 0 => {
                    return Err(Error::Status {
                        code: Code::NotFound,
                        message: api::error::Error::LeaseNotFound.message().to_owned(),
                    });
                }
                Err(error) if matches!(error.code(), Code::Unavailable | Code::Internal) => {
                    tokio::time::sleep(crate::retry::jitter(Duration::from_millis(25))).await;
                }
                result => return result,
            }
        }
    }

    async fn renew(&self, id: i64) -> Result<LeaseKeepAliveResponse, Error> {
        let request = tokio_stream::once(LeaseKeepAliveRequest { id });
        let mut answers = self.streaming(PATH, request).await?;
        self.receive(&mut answers).await?.ok_or_else(|| Error::Status {
            code: Code::Unavailable,
            message: "the server closed the lease stream".to_owned(),
        })
    }
}

impl KeepAlive {
    /// The answer to the next renewal; `None` once the lease has expired or was revoked. May be
    /// dropped and called again.
    pub async fn next(&mut self) -> Option<LeaseKeepAliveResponse> {
        while !self.ended {
            let step = tokio::time::timeout_at(self.expiry, self.step()).await;
            match step {
                Ok(Some(answer)) => return Some(answer),
                Ok(None) => {}
                Err(_) => self.ended = true,
            }
        }
        None
    }

    async fn step(&mut self) -> Option<LeaseKeepAliveResponse> {
        let Some(open) = &mut self.stream else {
            tokio::time::sleep_until(self.renew).await;
            self.renew = Instant::now() + PAUSE;
            match self.open().await {
                Ok(open) => self.stream = Some(open),
                Err(error) => self.failed(&error),
            }
            return None;
        };
        tokio::select! {
            answer = open.answers.message() => match answer {
                Ok(Some(answer)) => return self.answered(answer),
                Ok(None) => self.stream = None,
                Err(status) => {
                    self.stream = None;
                    self.failed(&status.into());
                }
            },
            () = tokio::time::sleep_until(self.renew) => {
                self.renew = Instant::now() + PAUSE;
                // A full queue means that the stream is stuck; the next renewal will do.
                let _ = open.requests.try_send(LeaseKeepAliveRequest { id: self.id });
            }
        }
        None
    }

    async fn open(&self) -> Result<Open, Error> {
        let (requests, queue) = mpsc::channel(REQUESTS);
        requests
            .try_send(LeaseKeepAliveRequest { id: self.id })
            .expect("a new queue has room for one request");
        let answers = self.client.streaming(PATH, ReceiverStream::new(queue)).await?;
        Ok(Open { requests, answers })
    }

    fn answered(&mut self, answer: LeaseKeepAliveResponse) -> Option<LeaseKeepAliveResponse> {
        let Ok(ttl) = u64::try_from(answer.ttl) else {
            self.ended = true;
            return None;
        };
        if answer.id != self.id {
            return None;
        }
        if ttl == 0 {
            self.ended = true;
            return None;
        }
        let now = Instant::now();
        let ttl = Duration::from_secs(ttl);
        self.renew = now + ttl / 3;
        self.expiry = now + ttl;
        Some(answer)
    }

    fn failed(&self, error: &Error) {
        let error = error.rpc_text();
        tracing::warn!(error, "error occurred during lease keep alive loop");
    }
}

#[cfg(test)]
mod tests;
