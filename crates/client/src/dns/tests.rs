//! Against a name server of our own.

use simple_dns::{ResourceRecord, rdata::SRV};

use super::*;

fn resolver(server: SocketAddr) -> Resolver {
    let mut resolver = Resolver::parse("options timeout:1 attempts:2");
    resolver.servers = vec![server];
    resolver
}

/// What a name server says to a question.
#[derive(Clone, Copy)]
enum Say {
    Records,
    CutOff,
    NoSuchName,
    Failure,
    Garbage,
    OtherQuestion,
}

fn answer(query: &[u8], say: Say) -> Vec<u8> {
    let asked = Packet::parse(query).unwrap();
    let mut reply = Packet::new_reply(asked.id());
    reply.questions = asked.questions.clone();
    let name = Name::new("_etcd-server._tcp.example.com").unwrap();
    for (priority, port, target) in [(20, 2, "b.example.com"), (10, 1, "a.example.com")] {
        let target = Name::new(target).unwrap();
        let srv = RData::SRV(SRV { priority, weight: 5, port, target });
        reply.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, srv));
    }
    match say {
        Say::Records => {}
        Say::CutOff => {
            reply.answers.clear();
            reply.set_flags(PacketFlag::TRUNCATION);
        }
        Say::NoSuchName => *reply.rcode_mut() = RCODE::NameError,
        Say::Failure => *reply.rcode_mut() = RCODE::ServerFailure,
        Say::Garbage => {
            return [&asked.id().to_be_bytes()[..], &[0x80, 0, 0, 9, 0xff, 0xff, 0xc0, 0xc0]]
                .concat();
        }
        Say::OtherQuestion => {
            let other = Name::new("other.example.com").unwrap();
            reply.questions =
                vec![Question::new(other, QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN), false)];
        }
    }
    reply.build_bytes_vec_compressed().unwrap()
}

/// Two sockets of one number, which somebody else's connection may hold on one of the two sides.
async fn sockets() -> (UdpSocket, tokio::net::TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = tokio::net::TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

/// A name server that answers with one thing over UDP and with records over TCP.
async fn server(say: Say) -> SocketAddr {
    let (udp, tcp) = sockets().await;
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let reply = answer(&buffer[..length], say);
            // An answer to somebody else comes first.
            udp.send_to(&[0, 0, 0x80, 0], from).await.unwrap();
            udp.send_to(&reply, from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut query).await.unwrap();
            let reply = answer(&query, Say::Records);
            stream.write_u16(reply.len() as u16).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    address
}

async fn look_up(say: Say) -> Result<Vec<(u16, String)>, String> {
    let resolver = resolver(server(say).await);
    let records = resolver.srv("etcd-server", "example.com").await;
    records.map(|list| list.into_iter().map(|record| (record.port, record.target)).collect())
}

#[tokio::test]
async fn records_come_by_priority() {
    let expected = vec![(1, "a.example.com".to_owned()), (2, "b.example.com".to_owned())];
    assert_eq!(look_up(Say::Records).await, Ok(expected.clone()));
    assert_eq!(look_up(Say::CutOff).await, Ok(expected), "over TCP");
}

#[tokio::test]
async fn failures_are_told_in_gos_words() {
    let ends = |text: Result<_, String>, end: &str| {
        let text = text.unwrap_err();
        assert!(text.starts_with("lookup _etcd-server._tcp.example.com on 127.0.0.1:"), "{text}");
        assert!(text.ends_with(end), "{text}");
    };
    ends(look_up(Say::NoSuchName).await, ": no such host");
    ends(look_up(Say::Failure).await, ": server misbehaving");
    ends(look_up(Say::Garbage).await, ": cannot unmarshal DNS message");
    ends(look_up(Say::OtherQuestion).await, ": cannot unmarshal DNS message");
}

#[tokio::test]
async fn clients_find_endpoints_of_a_domain() {
    let found = resolver(server(Say::Records).await);
    let endpoints = crate::discovery::endpoints(&found, "example.com", "").await.unwrap();
    let expected = ["https://a.example.com:1", "https://b.example.com:2"];
    assert_eq!(endpoints[..2], expected);
    assert_eq!(endpoints[2..], ["http://a.example.com:1", "http://b.example.com:2"]);
    let none = resolver(server(Say::NoSuchName).await);
    let error = crate::discovery::endpoints(&none, "example.com", "x").await.unwrap_err();
    assert!(error.starts_with("dns lookup errors: lookup _etcd-client-ssl-x._tcp.example.com on"));
    assert!(error.contains(" and lookup _etcd-client-x._tcp.example.com on"), "{error}");
}

#[test]
fn the_configuration_is_read() {
    let text = "# comment\nnameserver 10.0.0.1\nnameserver ::1\nnameserver x\n\
                search a.example b.example\noptions ndots:2 timeout:9 attempts:0 rotate\n";
    let resolver = Resolver::parse(text);
    assert_eq!(resolver.servers, ["10.0.0.1:53", "[::1]:53"].map(|s| s.parse().unwrap()));
    assert_eq!((resolver.ndots, resolver.attempts), (2, 1));
    assert_eq!(resolver.timeout, Duration::from_secs(9));
    assert_eq!(resolver.candidates("a.b.c"), ["a.b.c", "a.b.c.a.example", "a.b.c.b.example"]);
    assert_eq!(resolver.candidates("a.b"), ["a.b.a.example", "a.b.b.example", "a.b"]);
    assert_eq!(resolver.candidates("a."), ["a"]);
    assert_eq!(Resolver::parse("").servers.len(), 2);
}

#[test]
fn names_that_cannot_be_are_not_asked_for() {
    assert!(query(1, &"x".repeat(64)).is_none());
    assert!(query(1, &"abc.".repeat(80)).is_none());
    assert!(query(1, "_etcd-server._tcp.example.com").is_some());
}
