//! SRV records, asked of the name servers of `/etc/resolv.conf` (RFC 1035, RFC 2782).
//!
//! Over UDP, and over TCP where the answer was cut off. What comes back is matched with the
//! question: its id, its name, and where it comes from. Shared with the server, which finds the
//! other members of its cluster so.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use rand::Rng;
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Name servers that are asked.
const SERVERS_MAX: usize = 3;
/// The largest answer over UDP that is read.
const DATAGRAM_MAX: usize = 4096;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvRecord {
    /// Lower ones come first.
    pub priority: u16,
    /// Among equal priorities, higher ones are chosen more often.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host, without a dot at its end.
    pub target: String,
}

/// Asks name servers.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    /// Domains that names without enough dots are completed by.
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: usize,
}

/// Why one server gave no records.
enum Unanswered {
    /// There are none of this name.
    NoSuchHost,
    /// Another server, or the same at another time, may know.
    Retry(String),
}

impl Resolver {
    /// What this machine is configured for.
    pub fn of_system() -> io::Result<Resolver> {
        match std::fs::read_to_string(Path::new("/etc/resolv.conf")) {
            Ok(text) => Ok(Resolver::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Resolver::parse("")),
            Err(error) => Err(error),
        }
    }

    /// Reads the text of a `resolv.conf`; without a server it is the local one.
    fn parse(text: &str) -> Resolver {
        let mut resolver = Resolver {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") if resolver.servers.len() < SERVERS_MAX => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    resolver.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("domain" | "search") => resolver.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| resolver.set(word)),
                _ => {}
            }
        }
        if resolver.servers.is_empty() {
            let local = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
            resolver.servers = local.map(|address| SocketAddr::new(address, 53)).to_vec();
        }
        resolver
    }

    fn set(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<usize>() else { return };
        match name {
            "ndots" => self.ndots = value.min(15),
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 60) as u64),
            "attempts" => self.attempts = value.clamp(1, 10),
            _ => {}
        }
    }

    /// The records of `_service._tcp.domain`, the first to use first. The error is in the words of
    /// Go's resolver.
    pub async fn srv(&self, service: &str, domain: &str) -> Result<Vec<SrvRecord>, String> {
        let name = format!("_{service}._tcp.{domain}");
        let mut reason = "no such host".to_owned();
        for candidate in self.candidates(&name) {
            match self.ask_all(&candidate).await {
                Ok(mut records) => {
                    records.sort_by(|a, b| {
                        let order = |r: &SrvRecord| (r.priority, std::cmp::Reverse(r.weight));
                        order(a).cmp(&order(b)).then_with(|| a.target.cmp(&b.target))
                    });
                    return Ok(records);
                }
                Err(Unanswered::NoSuchHost) => {}
                Err(Unanswered::Retry(error)) => reason = error,
            }
        }
        let server = self.servers.first().map(|server| format!(" on {server}"));
        Err(format!("lookup {name}{}: {reason}", server.unwrap_or_default()))
    }

    /// The full names that a name may stand for, in the order to try them.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(rooted) = name.strip_suffix('.') {
            return vec![rooted.to_owned()];
        }
        let completed = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let plain = std::iter::once(name.to_owned());
        match name.matches('.').count() >= self.ndots {
            true => plain.chain(completed).collect(),
            false => completed.chain(plain).collect(),
        }
    }

    async fn ask_all(&self, name: &str) -> Result<Vec<SrvRecord>, Unanswered> {
        let mut last = Unanswered::NoSuchHost;
        for _ in 0..self.attempts {
            for server in &self.servers {
                match self.ask(*server, name).await {
                    Err(Unanswered::Retry(error)) => last = Unanswered::Retry(error),
                    answered => return answered,
                }
            }
        }
        Err(last)
    }

    async fn ask(&self, server: SocketAddr, name: &str) -> Result<Vec<SrvRecord>, Unanswered> {
        let id = rand::rng().random();
        let query = query(id, name).ok_or(Unanswered::NoSuchHost)?;
        let retry = |error: io::Error| Unanswered::Retry(error.to_string());
        let answer = timeout(self.timeout, over_udp(server, &query, id)).await;
        let mut answer = answer.unwrap_or_else(|_| Err(timed_out())).map_err(retry)?;
        if is_cut_off(&answer) {
            let whole = timeout(self.timeout, over_tcp(server, &query)).await;
            answer = whole.unwrap_or_else(|_| Err(timed_out())).map_err(retry)?;
        }
        read(&answer, id, name)
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")
}

/// A question; `None` when the name cannot be one.
fn query(id: u16, name: &str) -> Option<Vec<u8>> {
    let name = Name::new(name).ok()?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind, class) = (QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(name, kind, class, false));
    packet.build_bytes_vec().ok()
}

/// The datagram that answers the question; others are passed over.
async fn over_udp(server: SocketAddr, query: &[u8], id: u16) -> io::Result<Vec<u8>> {
    let local = match server {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let datagram = &buffer[..length];
        if datagram.starts_with(&id.to_be_bytes()) {
            return Ok(datagram.to_vec());
        }
    }
}

/// The same over TCP: each message after its length.
async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn is_cut_off(answer: &[u8]) -> bool {
    const TRUNCATED: u8 = 2;
    answer.get(2).is_some_and(|flags| flags & TRUNCATED != 0)
}

/// The records in an answer.
fn read(answer: &[u8], id: u16, name: &str) -> Result<Vec<SrvRecord>, Unanswered> {
    let broken = || Unanswered::Retry("cannot unmarshal DNS message".to_owned());
    let packet = Packet::parse(answer).map_err(|_| broken())?;
    let asked = packet.questions.first().map(|question| question.qname.to_string());
    let is_ours = asked.is_some_and(|asked| asked.eq_ignore_ascii_case(name));
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) || !is_ours {
        return Err(broken());
    }
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Err(Unanswered::NoSuchHost),
        _ => return Err(Unanswered::Retry("server misbehaving".to_owned())),
    }
    let records: Vec<SrvRecord> = packet.answers.iter().filter_map(record).collect();
    if records.is_empty() { Err(Unanswered::NoSuchHost) } else { Ok(records) }
}

/// A record of ours, if it is one: aliases may come before.
fn record(answer: &simple_dns::ResourceRecord<'_>) -> Option<SrvRecord> {
    let RData::SRV(srv) = &answer.rdata else { return None };
    let target = srv.target.to_string();
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let sound = !target.is_empty() && target.bytes().all(is_host);
    let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
    sound.then_some(SrvRecord { priority, weight, port, target })
}

#[cfg(test)]
mod tests;
