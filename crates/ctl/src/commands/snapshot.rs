//! `snapshot`: the store of a member as a file.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use client::client::Client;

use crate::{
    cli::{Command, Group, Invocation, flag::Kind},
    exit::{Code, Failure, Outcome},
    global::FLAGS,
    gotext::{duration, size},
    log,
    progress::{Progress, Unit},
    session::{Session, say},
};

/// The store of a snapshot is whole disk sectors; a SHA-256 of it follows.
const SECTOR: u64 = 512;
const CHECKSUM: u64 = 32;

/// `snapshot`.
pub(crate) static COMMAND: Command = Command {
    usage: "snapshot <subcommand>",
    short: "Saves the store of a member",
    example: "  etcdctl snapshot save /backup/etcd-snapshot.db\n  \
              etcdctl --endpoints=127.0.0.1:3000 snapshot save backup.db",
    group: Some(Group::Maintenance),
    children: &[&SAVE, &STATUS, &RESTORE],
    ..Command::BASE
};

static SAVE: Command = Command {
    usage: "save <filename>",
    short: "Saves the store of a member to a file",
    run: Some(save),
    ..Command::BASE
};

static STATUS: Command = Command {
    usage: "status <filename>",
    short: "[deprecated] Runs etcdutl snapshot status",
    forward: Some(status),
    ..Command::BASE
};

static RESTORE: Command = Command {
    usage: "restore <filename>",
    short: "[deprecated] Runs etcdutl snapshot restore",
    forward: Some(restore),
    ..Command::BASE
};

fn status(words: Vec<Vec<u8>>) -> ExitCode {
    offline("status", words)
}

fn restore(words: Vec<Vec<u8>>) -> ExitCode {
    offline("restore", words)
}

/// Runs the tool that works on files, which has these commands since etcd 3.6.
fn offline(verb: &str, words: Vec<Vec<u8>>) -> ExitCode {
    eprintln!("Deprecated: Use `etcdutl snapshot {verb}` instead.\n");
    let mut args: Vec<OsString> = vec!["etcdutl".into(), "snapshot".into(), verb.into()];
    args.extend(without_cluster_flags(words).into_iter().map(OsString::from_vec));
    utl::main(args)
}

/// The words without flags that say how to reach a cluster: no cluster is asked here.
fn without_cluster_flags(words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = String::from_utf8_lossy(&word).into_owned();
        let name = text.strip_prefix("--").map(|name| name.split('=').next().unwrap_or(name));
        let known = FLAGS.iter().find(|flag| Some(flag.name) == name && flag.name != "write-out");
        match known {
            None => kept.push(word),
            Some(flag) if flag.kind != Kind::Bool && !text.contains('=') => drop(words.next()),
            Some(_) => {}
        }
    }
    kept
}

fn save(invocation: &Invocation) -> Outcome {
    let [path] = &invocation.args[..] else {
        return Err(Failure::bad_args("snapshot save expects one argument <filename>"));
    };
    let path = PathBuf::from(OsStr::from_bytes(path));
    let session = Session::open(invocation)?;
    let failed = |text: String| Failure::new(Code::Interrupted, text);
    let endpoint = match &session.spec.endpoints[..] {
        [endpoint] => endpoint.clone(),
        all => {
            let text = "snapshot must be requested to one selected node, not multiple";
            return Err(failed(format!("{text} [{}]", all.join(" "))));
        }
    };
    let client = session.client().map_err(|failure| Failure { code: 5, ..failure })?;
    // Without the flag a snapshot takes as long as it takes.
    let client = match session.flags.changed("command-timeout") {
        true => client.with_timeout(session.timeout()),
        false => client,
    };
    let part = Part::create(&path).map_err(failed)?;
    let version = session.run(fetch(&client, part, &path, &endpoint)).map_err(failed)?;
    say(format_args!("Snapshot saved at {}", path.display()))?;
    if !version.is_empty() {
        say(format_args!("Server version {version}"))?;
    }
    Ok(())
}

/// The file under its temporary name; removed unless it became the snapshot.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn create(target: &Path) -> Result<Part, String> {
        let mut name = OsString::from(target);
        name.push(".part");
        let path = PathBuf::from(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path).map_err(|error| {
            format!("could not open {} ({})", path.display(), io_text("open", &path, &error))
        })?;
        log::line("info", "created temporary db file", &[("path", &path.to_string_lossy())]);
        Ok(Part { path, file })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed already, or of no use to anybody.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes the snapshot; the version of the member that made it.
async fn fetch(
    client: &Client,
    mut part: Part,
    path: &Path,
    endpoint: &str,
) -> Result<String, String> {
    let start = Instant::now();
    let mut pieces = client.snapshot().await.map_err(|error| error.to_string())?;
    log::line("info", "fetching snapshot", &[("endpoint", endpoint)]);
    let mut version = String::new();
    let mut size = 0;
    let mut progress = Progress::new("saving", Unit::Bytes);
    let broken = |why: String| format!("could not write snapshot: {why}");
    while let Some(piece) = pieces.next().await.map_err(|error| broken(error.to_string()))? {
        if version.is_empty() {
            version = piece.version;
        }
        part.file.write_all(&piece.blob).map_err(|error| broken(error.to_string()))?;
        size += piece.blob.len() as u64;
        progress.show(size, Some(size.saturating_add(piece.remaining_bytes)));
    }
    drop(progress);
    log::line("info", "completed snapshot read; closing", &[]);
    if size % SECTOR != CHECKSUM {
        return Err(format!("sha256 checksum not found [bytes: {size}]"));
    }
    part.file.sync_all().map_err(|error| format!("could not fsync snapshot: {error}"))?;
    let took = duration::format(start.elapsed());
    log::line(
        "info",
        "fetched snapshot",
        &[
            ("endpoint", endpoint),
            ("size", &size::bytes(size)),
            ("took", &took),
            ("etcd-version", &version),
        ],
    );
    fs::rename(&part.path, path).map_err(|error| {
        let (from, to) = (part.path.display(), path.display());
        format!("could not rename {from} to {to} ({error})")
    })?;
    sync_folder(path).map_err(|error| format!("could not fsync snapshot: {error}"))?;
    log::line("info", "saved", &[("path", &path.to_string_lossy())]);
    Ok(version)
}

/// Makes the file's new name survive a crash.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// An error of the file system as Go's library words it.
fn io_text(operation: &str, path: &Path, error: &io::Error) -> String {
    let text = error.to_string().to_lowercase();
    let text = text.split(" (os error").next().unwrap_or(&text).to_owned();
    format!("{operation} {}: {text}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_flags_of_the_file_tool_are_forwarded() {
        let words = ["--endpoints", "a:1", "--debug", "-w", "json", "--cert=x", "f.db", "--name=y"];
        let words = words.map(|word| word.as_bytes().to_vec()).to_vec();
        let kept = without_cluster_flags(words);
        assert_eq!(kept, [&b"-w"[..], b"json", b"f.db", b"--name=y"]);
    }

    #[test]
    fn an_unfinished_file_is_removed() {
        let path = std::env::temp_dir().join(format!("ctl-part-{}", std::process::id()));
        let part = Part::create(&path).unwrap();
        let partial = part.path.clone();
        assert!(partial.exists() && partial.extension().is_some_and(|name| name == "part"));
        drop(part);
        assert!(!partial.exists() && !path.exists());
        let refused = Part::create(Path::new("/nonexistent/x")).err().unwrap();
        let expected = "could not open /nonexistent/x.part (open /nonexistent/x.part: no such \
                        file or directory)";
        assert_eq!(refused, expected);
    }
}
