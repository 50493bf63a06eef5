//! `--log-outputs=systemd/journal`: lines as datagrams to the journal, in its native protocol: a
//! field a line, `NAME=value`.
//!
//! A line that the journal does not take goes to stderr.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::{Severity, os_error};

/// Where the journal listens.
pub(crate) const SOCKET: &str = "/run/systemd/journal/socket";

/// A connection to the journal.
pub(crate) struct Journal {
    socket: UnixDatagram,
    /// The program's name.
    identifier: String,
}

impl Journal {
    /// Connects. The error is etcd's.
    pub(crate) fn open(path: &str) -> Result<Journal, String> {
        connect(Path::new(path)).map_err(|error| {
            format!("can't find journal (dial unixgram {path}: connect: {})", os_error(&error))
        })
    }

    /// Sends one line; `package` is the folder of the file that says it.
    pub(crate) fn send(&self, severity: Severity, package: &str, line: &str) -> io::Result<()> {
        let (priority, line) = (priority(severity), line.trim_end_matches('\n'));
        let mut datagram = format!("PRIORITY={priority}\n").into_bytes();
        push(&mut datagram, "MESSAGE", line);
        push(&mut datagram, "PACKAGE", package);
        push(&mut datagram, "SYSLOG_IDENTIFIER", &self.identifier);
        self.socket.send(&datagram).map(|_| ())
    }
}

fn connect(path: &Path) -> io::Result<Journal> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    let program = std::env::args_os().next().unwrap_or_default();
    let identifier = Path::new(&program).file_name().unwrap_or_default();
    Ok(Journal { socket, identifier: identifier.to_string_lossy().into_owned() })
}

/// A field; a value of several lines comes with its length.
fn push(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

/// The level in syslog's numbers.
fn priority(severity: Severity) -> u8 {
    match severity {
        Severity::DPanic | Severity::Panic | Severity::Fatal => 2,
        Severity::Error => 3,
        Severity::Warn => 4,
        Severity::Info => 6,
        Severity::Debug => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_as_fields() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("socket");
        let journald = UnixDatagram::bind(&path).expect("a socket");
        let journal = Journal::open(&path.display().to_string()).expect("a journal");
        journal.send(Severity::Warn, "embed", "{\"level\":\"warn\"}\n").expect("sent");
        let mut buffer = [0; 1024];
        let length = journald.recv(&mut buffer).expect("a datagram");
        let text = std::str::from_utf8(&buffer[..length]).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["PRIORITY=4", "MESSAGE={\"level\":\"warn\"}", "PACKAGE=embed"]);
        assert!(lines[3].starts_with("SYSLOG_IDENTIFIER=config"), "{text}");
    }

    #[test]
    fn values_of_several_lines_have_a_length() {
        let mut datagram = Vec::new();
        push(&mut datagram, "MESSAGE", "a\nb");
        assert_eq!(datagram, b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }

    #[test]
    fn without_a_journal_the_error_is_etcds() {
        let error = Journal::open("/nope/socket").err().expect("no journal");
        let why = "dial unixgram /nope/socket: connect: no such file or directory";
        assert_eq!(error, format!("can't find journal ({why})"));
    }
}
