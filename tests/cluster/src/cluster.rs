//! A cluster of processes, with what an operator can do to it.

mod member;
mod membership;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

pub use self::member::Member;
use crate::{
    binary::Binary,
    certificates::Certificates,
    connection::{Connection, Server},
    disk::Disk,
    network::Network,
    volatile::Volatile,
};

/// How long a cluster or a member may take until it serves; debug builds on a busy machine are
/// slow.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long one call of an operator may take: as long as a request in etcd.
const CALL_LIMIT: Duration = Duration::from_secs(8);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(50);

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Members it starts with.
    pub members: usize,
    /// Slots for members that are added later.
    pub spare: usize,
    /// What slot `i` runs: number `i`, counted round.
    pub binaries: Vec<Binary>,
    /// A namespace and a wire for each member, or loopback.
    pub wired: bool,
    /// Decides what a lossy wire drops.
    pub seed: u64,
    /// A disk of its own for each member.
    pub disks: bool,
    /// A disk in memory for each member, which loses with the power what was not synced.
    pub volatile: bool,
    /// Certificates for peers and clients, both sides.
    pub tls: bool,
    /// Further flags of every member.
    pub flags: Vec<String>,
    /// Keeps logs and data here; a temporary directory without.
    pub directory: Option<PathBuf>,
}

impl Options {
    /// So many members that run `binary`, on loopback, with flags as etcd has them.
    pub fn of(binary: Binary, members: usize) -> Options {
        Options {
            members,
            spare: 0,
            binaries: vec![binary],
            wired: false,
            seed: 1,
            disks: false,
            volatile: false,
            tls: false,
            flags: Vec::new(),
            directory: None,
        }
    }

    /// With this flag, as `--name=value`.
    pub fn flag(mut self, flag: &str) -> Options {
        self.flags.push(flag.to_owned());
        self
    }

    /// With so many more slots.
    pub fn spare(mut self, spare: usize) -> Options {
        self.spare = spare;
        self
    }

    /// With a disk of its own for each member.
    pub fn disks(mut self) -> Options {
        self.disks = true;
        self
    }

    /// With a disk for each member that loses what was not synced.
    pub fn volatile(mut self) -> Options {
        self.volatile = true;
        self
    }

    /// With mutual TLS for peers and clients.
    pub fn tls(mut self) -> Options {
        self.tls = true;
        self
    }

    /// On a wire.
    pub fn wired(mut self) -> Options {
        self.wired = true;
        self
    }
}

/// A running cluster. Dropping it ends every process.
pub struct Cluster {
    members: Vec<Member>,
    network: Arc<Network>,
    certificates: Option<Certificates>,
    /// How the operator connects.
    connector: Option<tls::Connector>,
    directory: PathBuf,
    /// Held for its removal.
    _temporary: Option<TempDir>,
}

impl Cluster {
    /// Starts a cluster, waits until it serves and runs `test` where it can be reached. When the
    /// test fails, what the members wrote last goes to stderr.
    pub fn with<T: Send>(
        options: Options,
        test: impl AsyncFnOnce(&mut Cluster) -> Result<T> + Send,
    ) -> Result<T> {
        let slots = options.members + options.spare;
        let network = match options.wired {
            true => Network::wired(slots, options.seed)?,
            false => Network::loopback(slots)?,
        };
        let network = Arc::new(network);
        let inner = network.clone();
        network.run(move || async move {
            let mut cluster = Cluster::prepare(inner, &options)?;
            let result = async {
                cluster.start_all().await?;
                test(&mut cluster).await
            };
            let result = result.await;
            if result.is_err() {
                cluster.print_logs();
            }
            result
        })
    }

    fn prepare(network: Arc<Network>, options: &Options) -> Result<Cluster> {
        ensure!(!options.binaries.is_empty(), "a cluster needs a binary");
        let temporary = match &options.directory {
            Some(_) => None,
            None => Some(TempDir::with_prefix("cluster-").context("create a directory")?),
        };
        let directory = match (&options.directory, &temporary) {
            (Some(directory), _) => directory.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => unreachable!("one of the two is there"),
        };
        std::fs::create_dir_all(&directory)?;
        let certificates = match options.tls {
            true => {
                let all = 0..options.members + options.spare;
                let mut addresses: Vec<String> = all.map(|slot| network.address(slot)).collect();
                addresses.dedup();
                Some(Certificates::make(&directory.join("pki"), &addresses)?)
            }
            false => None,
        };
        let mut flags = certificates.as_ref().map(Certificates::flags).unwrap_or_default();
        flags.extend_from_slice(&options.flags);
        let connector = certificates.as_ref().map(|all| all.connector(Some("user")));
        let scheme = if options.tls { "https" } else { "http" };
        let token = format!("cluster-{:x}", options.seed);
        let slots = 0..options.members + options.spare;
        let disks = slots.clone().map(|slot| {
            let disk = options.disks.then(|| Disk::make(&directory, &format!("disk{}", slot + 1)));
            disk.transpose()
        });
        let disks: Vec<Option<Disk>> = disks.collect::<Result<_>>()?;
        let volatile = slots.clone().map(|slot| {
            let (name, seed) = (format!("disk{}", slot + 1), options.seed + slot as u64);
            options.volatile.then(|| Volatile::make(&directory, &name, seed)).transpose()
        });
        let volatile: Vec<Option<Volatile>> = volatile.collect::<Result<_>>()?;
        let mut members: Vec<Member> = slots
            .map(|slot| {
                let binary = options.binaries[slot % options.binaries.len()].clone();
                Member::new(slot, binary, (&network, scheme), &directory, &token, &flags)
            })
            .collect();
        let all: Vec<String> =
            members[..options.members].iter().map(Member::initial_entry).collect();
        for (member, disk) in members.iter_mut().zip(disks) {
            member.put_on(disk);
        }
        for (member, disk) in members.iter_mut().zip(volatile) {
            member.put_on_volatile(disk);
        }
        for member in &mut members[..options.members] {
            member.join_as(&all.join(","), "new");
        }
        let connector = connector.transpose()?;
        Ok(Cluster { members, network, certificates, connector, directory, _temporary: temporary })
    }

    async fn start_all(&mut self) -> Result<()> {
        for slot in self.configured() {
            self.members[slot].start()?;
        }
        self.wait_ready(READY_LIMIT).await
    }

    /// A member by its slot.
    pub fn member(&mut self, slot: usize) -> &mut Member {
        &mut self.members[slot]
    }

    /// The processor time that all members together have used.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.members.iter().map(Member::cpu_time).sum()
    }

    /// The network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Where logs and data are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Slots that belong to the cluster, whether their processes run or not.
    pub fn configured(&self) -> Vec<usize> {
        self.slots(|member| member.is_configured())
    }

    /// Slots without a member.
    pub fn spare(&self) -> Vec<usize> {
        self.slots(|member| !member.is_configured())
    }

    /// Slots whose process runs and is not paused.
    pub fn running(&self) -> Vec<usize> {
        self.slots(|member| member.is_running())
    }

    fn slots(&self, which: impl Fn(&Member) -> bool) -> Vec<usize> {
        (0..self.members.len()).filter(|&slot| which(&self.members[slot])).collect()
    }

    /// The certificates, when it has TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Where every slot serves clients, spare ones included.
    pub fn servers(&self) -> Vec<Server> {
        (0..self.members.len()).map(|slot| self.server(slot)).collect()
    }

    /// Where a slot serves clients.
    pub fn server(&self, slot: usize) -> Server {
        Server { address: self.network.client_endpoint(slot), tls: self.connector.clone() }
    }

    /// Stubs for one member.
    pub fn connection(&self, slot: usize) -> Connection {
        Connection::to(&self.server(slot), CALL_LIMIT)
            .expect("an endpoint of a network is a valid one")
    }

    /// The slot of the leader that most members with the newest term agree on, if any says so.
    pub async fn leader(&self) -> Option<usize> {
        let mut best: Option<(u64, usize)> = None;
        for slot in self.running() {
            let connection = self.connection(slot);
            let asked = tokio::time::timeout(Duration::from_secs(1), connection.status()).await;
            let Ok(Ok(status)) = asked else { continue };
            let own = status.header.map_or(0, |header| header.member_id);
            if status.leader == own && own != 0 {
                best = best.max(Some((status.raft_term, slot)));
            }
        }
        best.map(|(_, slot)| slot)
    }

    /// Waits until a running member says that it leads.
    pub async fn wait_leader(&self, limit: Duration) -> Result<usize> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(leader) = self.leader().await {
                return Ok(leader);
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("no leader within {limit:?}")
    }

    /// Waits until every running member answers a linearizable read.
    pub async fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        for slot in self.running() {
            self.wait_member(slot, deadline).await?;
        }
        Ok(())
    }

    /// Waits until one member serves linearizable reads.
    pub async fn wait_member(&mut self, slot: usize, deadline: Instant) -> Result<()> {
        let mut last = String::from("nothing was asked");
        while Instant::now() < deadline {
            self.members[slot].ensure_alive()?;
            let connection = self.connection(slot);
            let read = connection.get("ready", false);
            match tokio::time::timeout(Duration::from_secs(2), read).await {
                Ok(Ok(_)) => return Ok(()),
                // A learner serves, but not this.
                Ok(Err(status)) if status.message().contains("for learner") => return Ok(()),
                Ok(Err(status)) => last = status.to_string(),
                Err(_) => last = "no answer".into(),
            }
            tokio::time::sleep(POLL).await;
        }
        let name = self.members[slot].name().to_owned();
        bail!("{name} does not serve in time: {last}\n{}", self.members[slot].log_tail(20))
    }

    /// Ends a member as a crash would and starts it again.
    pub async fn restart(&mut self, slot: usize) -> Result<()> {
        self.members[slot].kill();
        self.members[slot].start()?;
        self.wait_member(slot, Instant::now() + READY_LIMIT).await
    }

    /// Waits until all running members are at one revision with one `HashKV`; answers both.
    pub async fn wait_equal(&self, limit: Duration) -> Result<(i64, u32)> {
        let deadline = Instant::now() + limit;
        loop {
            let seen = self.hashes().await;
            if let Ok(seen) = &seen {
                let equal = seen.windows(2).all(|pair| pair[0].1 == pair[1].1);
                if let (true, Some((_, (revision, _, hash)))) = (equal, seen.first()) {
                    return Ok((*revision, *hash));
                }
            }
            if Instant::now() > deadline {
                bail!("the members differ (slot, (revision, compacted, hash)): {seen:?}");
            }
            tokio::time::sleep(POLL * 4).await;
        }
    }

    /// Revision, compacted revision and hash of every running member.
    pub async fn hashes(&self) -> Result<Vec<(usize, (i64, i64, u32))>> {
        let mut all = Vec::new();
        for slot in self.running() {
            let response = self.connection(slot).hash_kv(0).await?;
            let revision = response.header.map_or(0, |header| header.revision);
            all.push((slot, (revision, response.compact_revision, response.hash)));
        }
        Ok(all)
    }

    /// Panics or ends that nobody asked for, of all members.
    pub fn crashes(&mut self) -> Vec<String> {
        self.members.iter_mut().filter_map(Member::crash).collect()
    }

    /// How many processes ended because their disk was full or failed.
    pub fn ended_for_disk(&self) -> usize {
        self.members.iter().map(|member| member.ended_for_disk).sum()
    }

    /// The ends of all logs, to stderr.
    pub fn print_logs(&self) {
        for member in self.members.iter().filter(|member| member.log_path().exists()) {
            eprintln!("--- {}:\n{}", member.log_path().display(), member.log_tail(15));
        }
    }
}
