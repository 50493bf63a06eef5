//! The connections of a load, shared out among its clients.

use crate::grpc::{channel::Channel, target::Target};
use anyhow::{Result, ensure};

/// Open connections to one server, or to the members of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    channels: Vec<Channel>,
}

impl Fleet {
    /// Opens `connections` connections, to `targets` in turn.
    pub(crate) async fn connect(targets: &[Target], connections: usize) -> Result<Self> {
        ensure!(connections > 0, "a load needs at least one connection");
        ensure!(!targets.is_empty(), "a load needs a server");
        let mut channels = Vec::with_capacity(connections);
        for target in targets.iter().cycle().take(connections) {
            channels.push(Channel::connect(target).await?);
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
