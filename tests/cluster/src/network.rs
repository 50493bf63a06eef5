//! How members reach each other.
//!
//! With [`Network::wired`] each member has a network namespace of its own with the address
//! `10.0.0.N` and the ports of the book, and the test's own threads sit in another with
//! `10.0.0.100`. Between them is a [`Wire`]: a thread per member that carries packets from one TUN
//! device to the other, or drops, delays and reorders them. Kernels often lack `netem`; this needs
//! TUN devices only. Namespaces have no names: when the process ends, however it does, the kernel
//! takes them away.

mod namespace;
mod wire;

use std::{net::TcpListener, os::fd::AsFd, sync::Arc};

use anyhow::{Context, Result, bail};

pub(crate) use self::namespace::{Namespace, enter as enter_namespace};
pub use self::wire::{Rule, Wire};

/// Most members a network has room for.
pub const SLOTS: usize = 9;

/// The place of the test's own threads in a wired network.
pub const CLIENT: usize = SLOTS;

/// A network with a slot for each member.
pub struct Network {
    kind: Kind,
}

enum Kind {
    /// Client and peer port on 127.0.0.1, by slot.
    Loopback(Vec<(u16, u16)>),
    Wired {
        /// By slot, the last is the test's own.
        namespaces: Vec<Arc<Namespace>>,
        wire: Wire,
    },
}

impl Network {
    /// Free ports on 127.0.0.1 for so many members.
    pub fn loopback(slots: usize) -> Result<Network> {
        // All are held at once, so that they differ.
        let free = || TcpListener::bind("127.0.0.1:0").context("find a free port");
        let held: Vec<(TcpListener, TcpListener)> =
            (0..slots).map(|_| Ok((free()?, free()?))).collect::<Result<_>>()?;
        let ports = held
            .iter()
            .map(|(client, peer)| Ok((client.local_addr()?.port(), peer.local_addr()?.port())))
            .collect::<Result<_>>()?;
        Ok(Network { kind: Kind::Loopback(ports) })
    }

    /// Namespaces for so many members and for the test, with a wire between. `seed` decides which
    /// packets a lossy link drops.
    pub fn wired(slots: usize, seed: u64) -> Result<Network> {
        if slots > SLOTS {
            bail!("a network has room for {SLOTS} members, not {slots}");
        }
        let places: Vec<usize> = (0..slots).chain([CLIENT]).collect();
        let made: Vec<(Namespace, std::os::fd::OwnedFd)> =
            places.iter().map(|&place| Namespace::create(address(place))).collect::<Result<_>>()?;
        let (namespaces, devices): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let ends = places.into_iter().zip(devices).collect();
        Ok(Network {
            kind: Kind::Wired {
                namespaces: namespaces.into_iter().map(Arc::new).collect(),
                wire: Wire::start(ends, seed)?,
            },
        })
    }

    /// Why this machine cannot have a wired network, if it cannot.
    pub fn wired_is_impossible() -> Option<String> {
        Namespace::create([10, 0, 0, 1]).err().map(|error| format!("{error:#}"))
    }

    /// The wire; an error on loopback.
    pub fn wire(&self) -> Result<&Wire> {
        match &self.kind {
            Kind::Loopback(_) => bail!("a loopback network has no wire"),
            Kind::Wired { wire, .. } => Ok(wire),
        }
    }

    /// The IP address of a slot.
    pub fn address(&self, slot: usize) -> String {
        match &self.kind {
            Kind::Loopback(_) => "127.0.0.1".to_owned(),
            Kind::Wired { .. } => address(slot).map(|byte| byte.to_string()).join("."),
        }
    }

    /// Host and port for clients.
    pub fn client_endpoint(&self, slot: usize) -> String {
        match &self.kind {
            Kind::Loopback(ports) => format!("127.0.0.1:{}", ports[slot].0),
            Kind::Wired { .. } => format!("{}:2379", self.address(slot)),
        }
    }

    /// Host and port for peers.
    pub fn peer_endpoint(&self, slot: usize) -> String {
        match &self.kind {
            Kind::Loopback(ports) => format!("127.0.0.1:{}", ports[slot].1),
            Kind::Wired { .. } => format!("{}:2380", self.address(slot)),
        }
    }

    /// The namespace that a process of this slot must run in.
    pub(crate) fn namespace(&self, slot: usize) -> Option<Arc<Namespace>> {
        match &self.kind {
            Kind::Loopback(_) => None,
            Kind::Wired { namespaces, .. } if slot == CLIENT => namespaces.last().cloned(),
            Kind::Wired { namespaces, .. } => Some(namespaces[slot].clone()),
        }
    }

    /// Runs what `make` makes on a runtime whose threads are inside the network, where members can
    /// be reached.
    pub fn run<T, F>(&self, make: impl FnOnce() -> F + Send) -> T
    where
        T: Send,
        F: Future<Output = T>,
    {
        let namespace = self.namespace(CLIENT);
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                if let Some(namespace) = namespace {
                    namespace.enter().expect("a thread may enter a namespace it made");
                }
                // Threads that a thread starts are in its namespace.
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .expect("a runtime can be built");
                runtime.block_on(make())
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// For [`crate::process`]: what a child enters before it becomes the program.
pub(crate) fn descriptor(namespace: &Namespace) -> std::os::fd::BorrowedFd<'_> {
    namespace.as_fd()
}

fn address(place: usize) -> [u8; 4] {
    let last = if place == CLIENT { 100 } else { place as u8 + 1 };
    [10, 0, 0, last]
}
