//! What systemd and kubeadm expect of the binary: messages on the notify socket, the probes of a static
//! pod on the metrics port, and an orderly end.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::{net::UnixDatagram, process::ExitStatusExt},
    process::{Child, Command, Stdio},
    time::Duration,
};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn kill(child: &Child, signal: i32) {
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: plain numbers; the child is not reaped yet, so the id is its own.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The next message that is not only a sign of life.
fn next_news(socket: &UnixDatagram, signs_of_life: &mut u32) -> String {
    let mut buffer = [0; 512];
    loop {
        let len = socket.recv(&mut buffer).expect("a message before the socket's timeout");
        let message = String::from_utf8(buffer[..len].to_vec()).unwrap();
        if message.trim() != "WATCHDOG=1" {
            return message;
        }
        *signs_of_life += 1;
    }
}

#[test]
fn systemd_sees_ready_signs_of_life_and_stopping() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (client, peer, metrics) = (free_port(), free_port(), free_port());
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_oxetcd"));
    let mut child = command
        .arg("server")
        .args(["--name=node", "--snapshot-count=10000", "--watch-progress-notify-interval=5s"])
        .arg(format!("--data-dir={}", dir.path().join("data").display()))
        .arg(format!("--listen-client-urls={}", url(client)))
        .arg(format!("--advertise-client-urls={}", url(client)))
        .arg(format!("--listen-peer-urls={}", url(peer)))
        .arg(format!("--initial-advertise-peer-urls={}", url(peer)))
        .arg(format!("--initial-cluster=node={}", url(peer)))
        .arg(format!("--listen-metrics-urls={}", url(metrics)))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut signs_of_life = 0;
    assert_eq!(next_news(&socket, &mut signs_of_life).trim(), "READY=1");
    assert!(get(metrics, "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(metrics, "/readyz").starts_with("HTTP/1.1 200"));
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM, libc::SIGIO] {
        kill(&child, signal);
    }
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..len].trim_ascii(), b"WATCHDOG=1");
    assert!(get(metrics, "/livez").starts_with("HTTP/1.1 200"), "it bears other signals");
    kill(&child, libc::SIGTERM);
    assert_eq!(next_news(&socket, &mut signs_of_life).trim(), "STOPPING=1");
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
}
