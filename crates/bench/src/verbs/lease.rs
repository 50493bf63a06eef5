//! `lease-grant` and `lease-keepalive`.

use crate::{
    args::load::LeaseArgs,
    grpc::{
        channel::{Channel, Keep},
        frame,
        method::Method,
        status::Failure,
        stream,
    },
    load::{
        fleet::Fleet,
        run::{Load, Run},
        unary::{Call, Requests},
    },
};
use anyhow::{Context as _, Result};
use api::etcdserverpb::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
};
use bytes::{Bytes, BytesMut};
use prost::Message as _;
use std::{rc::Rc, time::Duration};
use tokio::{task::JoinSet, time::timeout};

/// Grants of leases whose ids the server chooses.
#[derive(Debug)]
pub(crate) struct Grants {
    ttl: i64,
}

impl Grants {
    /// The grants of a command line.
    pub(crate) fn new(args: &LeaseArgs) -> Self {
        Self { ttl: args.ttl }
    }
}

impl Requests for Grants {
    fn next(&mut self, message: &mut BytesMut) -> Call {
        frame::encode(&LeaseGrantRequest { ttl: self.ttl, id: 0 }, message);
        Call { method: Method::LeaseGrant, ticket: 0 }
    }
}

/// Grants of leases with the ids 1, 2, ...
#[derive(Debug)]
pub(crate) struct Numbered {
    ttl: i64,
    last: i64,
}

impl Numbered {
    /// Leases that live for `ttl` seconds.
    pub(crate) fn new(ttl: i64) -> Self {
        Self { ttl, last: 0 }
    }
}

impl Requests for Numbered {
    fn next(&mut self, message: &mut BytesMut) -> Call {
        self.last += 1;
        frame::encode(&LeaseGrantRequest { ttl: self.ttl, id: self.last }, message);
        Call { method: Method::LeaseGrant, ticket: 0 }
    }
}

/// Clients that renew a lease each, over and over.
#[derive(Debug)]
pub(crate) struct KeepAliveLoad {
    clients: usize,
    ttl: i64,
    leases: Vec<i64>,
}

impl KeepAliveLoad {
    /// The load of a command line.
    pub(crate) fn new(args: &LeaseArgs) -> Self {
        Self { clients: args.load.clients, ttl: args.ttl, leases: Vec::new() }
    }
}

impl Load for KeepAliveLoad {
    async fn prepare(&mut self, fleet: &Fleet, stall: Duration) -> Result<()> {
        for index in 0..self.clients {
            let mut message = BytesMut::new();
            frame::encode(&LeaseGrantRequest { ttl: self.ttl, id: 0 }, &mut message);
            let mut channel = fleet.channel(index);
            let grant = channel.unary(Method::LeaseGrant, message.freeze(), Keep::Message);
            let answer = timeout(stall, grant).await.context("grant a lease in time")?;
            let answer = answer.context("grant a lease")?;
            self.leases.push(LeaseGrantResponse::decode(answer.message)?.id);
        }
        Ok(())
    }

    fn spawn(&mut self, fleet: &Fleet, run: &Rc<Run>, clients: &mut JoinSet<()>) {
        for (index, &lease) in self.leases.iter().enumerate() {
            let (channel, run) = (fleet.channel(index), Rc::clone(run));
            clients.spawn_local(async move {
                if let Err(failure) = keep_alive(channel, lease, &run).await {
                    run.failed(failure);
                }
            });
        }
    }
}

/// Renews `lease` until the load is over.
async fn keep_alive(mut channel: Channel, lease: i64, run: &Run) -> Result<(), Failure> {
    let mut framed = BytesMut::new();
    frame::encode(&LeaseKeepAliveRequest { id: lease }, &mut framed);
    let framed: Bytes = framed.freeze();
    let (mut sender, mut receiver) = stream::open(&mut channel, Method::LeaseKeepAlive).await?;
    while let Some(start) = run.pacer.next_start().await {
        sender.send(framed.clone())?;
        let Some(message) = receiver.next().await? else {
            return Err(Failure::Transport("the keep-alive stream ended".into()));
        };
        let bytes = message.len() + frame::HEADER_LEN;
        let answer = LeaseKeepAliveResponse::decode(message)
            .map_err(|error| Failure::Transport(format!("keep-alive answer: {error}")))?;
        if answer.id != lease || answer.ttl <= 0 {
            return Err(Failure::Transport("the lease expired".into()));
        }
        run.done(start, bytes);
    }
    sender.close()
}
