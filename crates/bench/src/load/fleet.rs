//! The connections of a load, shared out among its clients.

use crate::grpc::channel::Channel;
use anyhow::{Result, ensure};

/// Open connections to one server.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    channels: Vec<Channel>,
}

impl Fleet {
    /// Opens `connections` connections to `authority`.
    pub(crate) async fn connect(authority: &str, connections: usize) -> Result<Self> {
        ensure!(connections > 0, "a load needs at least one connection");
        let mut channels = Vec::with_capacity(connections);
        for _ in 0..connections {
            channels.push(Channel::connect(authority).await?);
        }
        Ok(Self { channels })
    }

    /// The connection of client `index`: clients take connections in turn.
    pub(crate) fn channel(&self, index: usize) -> Channel {
        self.channels[index % self.channels.len()].clone()
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.channels.len()
    }
}
