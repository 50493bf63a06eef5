//! `--enable-log-rotation`: a log file that makes way when it is full, and what becomes of the old
//! ones. Names, sizes and options are those of lumberjack, which etcd uses: the file `etcd.log` becomes
//! `etcd-2026-01-02T15-04-05.000.log`.
//!
//! Invariants: a line is never split between files; a line larger than a file has one of its own;
//! only files that are named as this module names them are removed or compressed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use flate2::{Compression, write::GzEncoder};

use super::rotate_options::Options;
use super::timestamp::for_file_name;

const MEBIBYTE: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What a compressed file's name ends with.
const GZ: &str = ".gz";
/// Of a file that is new.
const MODE: u32 = 0o600;

/// The log file, and where its predecessors are.
pub(crate) struct Rotating {
    names: Arc<Names>,
    options: Options,
    bytes_max: u64,
    file: File,
    bytes: u64,
    /// Held while old files are looked after, which takes a thread of its own.
    tidying: Arc<Mutex<()>>,
}

/// How the files are named: `folder/stem-TIME.extension`.
struct Names {
    path: PathBuf,
    folder: PathBuf,
    prefix: String,
    extension: String,
}

impl Names {
    fn new(path: &Path) -> Names {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (stem, extension) = match name.rfind('.') {
            Some(dot) => name.split_at(dot),
            None => (name.as_str(), ""),
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let (prefix, extension) = (format!("{stem}-"), extension.to_owned());
        Names { path: path.to_owned(), folder, prefix, extension }
    }

    fn old(&self, now: SystemTime, local: bool) -> PathBuf {
        let stamp = for_file_name(now, local);
        self.folder.join(format!("{}{stamp}{}", self.prefix, self.extension))
    }

    /// The time in a name of ours, and whether the file is compressed.
    fn stamp<'a>(&self, name: &'a str) -> Option<(&'a str, bool)> {
        let rest = name.strip_prefix(&self.prefix)?;
        let (rest, compressed) = match rest.strip_suffix(GZ) {
            Some(rest) if rest.ends_with(&self.extension) => (rest, true),
            _ => (rest, false),
        };
        let stamp = rest.strip_suffix(&self.extension)?;
        is_stamp(stamp).then_some((stamp, compressed))
    }
}

/// Whether it has the shape of a time in a name.
fn is_stamp(text: &str) -> bool {
    let shape = b"0000-00-00T00-00-00.000";
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, &wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            wanted => byte == wanted,
        })
}

impl Rotating {
    /// Opens the file, or begins a new one where it is full already.
    pub(crate) fn open(path: &Path, options: Options) -> io::Result<Rotating> {
        let names = Names::new(path);
        DirBuilder::new().recursive(true).mode(0o755).create(&names.folder)?;
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        let bytes_max = options.megabytes.saturating_mul(MEBIBYTE);
        let tidying = Arc::new(Mutex::new(()));
        let mut log = Rotating { names: Arc::new(names), options, bytes_max, file, bytes, tidying };
        if bytes >= bytes_max {
            log.rotate()?;
        } else {
            log.tidy();
        }
        Ok(log)
    }

    /// Writes a line, into a new file where it does not fit into this one.
    pub(crate) fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes.saturating_add(length) > self.bytes_max {
            // Where there can be no other file, this one goes on.
            let _stays = self.rotate();
        }
        self.file.write_all(line)?;
        self.bytes = self.bytes.saturating_add(length);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.names.path;
        let before = fs::metadata(path)?;
        fs::rename(path, self.names.old(SystemTime::now(), self.options.local_time))?;
        let mode = before.mode() & 0o7777;
        let options = OpenOptions::new().append(true).create(true).mode(mode).clone();
        self.file = options.open(path)?;
        // Only root may give files away; a log of another owner is better than none.
        let _own = std::os::unix::fs::chown(path, Some(before.uid()), Some(before.gid()));
        self.bytes = 0;
        self.tidy();
        Ok(())
    }

    /// Removes and compresses old files, beside what logs.
    fn tidy(&self) {
        if !self.options.tidies() {
            return;
        }
        let (names, options) = (Arc::clone(&self.names), self.options.clone());
        let tidying = Arc::clone(&self.tidying);
        let work = move || {
            let _one = tidying.lock().unwrap_or_else(PoisonError::into_inner);
            // There is no place to say what went wrong; the next rotation tries again.
            let _again = tidy(&names, &options, SystemTime::now());
        };
        let _next_time = std::thread::Builder::new().name("log-rotation".into()).spawn(work);
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

fn tidy(names: &Names, options: &Options, now: SystemTime) -> io::Result<()> {
    let mut old = Vec::new();
    for entry in fs::read_dir(&names.folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((stamp, compressed)) = names.stamp(&name) else { continue };
        if entry.file_type()?.is_file() {
            old.push((stamp.to_owned(), compressed, entry.path()));
        }
    }
    // Newest first. Times in names sort as texts do.
    old.sort_by(|a, b| b.0.cmp(&a.0));
    let mut times: Vec<String> = old.iter().map(|(stamp, ..)| stamp.clone()).collect();
    times.dedup();
    let kept_from = match options.backups {
        0 => None,
        backups => times.get(backups - 1).cloned(),
    };
    let young_from = match options.days {
        0 => None,
        days => now.checked_sub(DAY.saturating_mul(days)).map(|time| for_file_name(time, false)),
    };
    let mut result = Ok(());
    for (stamp, compressed, path) in old {
        let gone = [&kept_from, &young_from].into_iter().flatten().any(|from| stamp < *from);
        let done = match (gone, compressed) {
            (true, _) => fs::remove_file(&path),
            (false, false) if options.compress => compress(&path),
            _ => Ok(()),
        };
        result = result.and(done);
    }
    result
}

/// Replaces a file by one that is compressed. What an earlier attempt left is written anew.
fn compress(path: &Path) -> io::Result<()> {
    let mut compressed = path.as_os_str().to_owned();
    compressed.push(GZ);
    let compressed = PathBuf::from(compressed);
    let written = write_compressed(path, &compressed);
    if written.is_err() {
        let _gone_or_next_time = fs::remove_file(&compressed);
        return written;
    }
    fs::remove_file(path)
}

fn write_compressed(path: &Path, compressed: &Path) -> io::Result<()> {
    let mut from = File::open(path)?;
    let before = from.metadata()?;
    let options = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(before.mode() & 0o7777)
        .clone();
    let to = options.open(compressed)?;
    let _own = std::os::unix::fs::chown(compressed, Some(before.uid()), Some(before.gid()));
    let mut encoder = GzEncoder::new(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    encoder.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn options(json: &str) -> Options {
        Options::parse(json).expect("good options")
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> =
            entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_makes_way() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("new/etcd.log");
        let mut log = Rotating::open(&path, options("{\"maxsize\": 1}")).expect("a log");
        let line = vec![b'x'; 400 * 1024];
        for _ in 0..3 {
            log.write_all(&line).expect("room");
        }
        let names = names_in(&dir.path().join("new"));
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(Names::new(&path).stamp(&names[0]).is_some(), "{names:?}");
        assert_eq!(names[1], "etcd.log");
        assert_eq!(fs::metadata(&path).expect("the log").len(), line.len() as u64);
        assert_eq!(fs::metadata(&path).expect("the log").mode() & 0o777, MODE);
        let old = dir.path().join("new").join(&names[0]);
        assert_eq!(fs::metadata(old).expect("the old log").len(), 2 * line.len() as u64);
    }

    #[test]
    fn a_start_goes_on_with_the_file_unless_it_is_full() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("log");
        fs::write(&path, "before\n").expect("a file");
        let mut log = Rotating::open(&path, options("{}")).expect("a log");
        log.write_all(b"after\n").expect("room");
        assert_eq!(fs::read_to_string(&path).expect("the log"), "before\nafter\n");
        fs::write(&path, vec![b'x'; MEBIBYTE as usize]).expect("a file");
        Rotating::open(&path, options("{\"maxsize\": 1}")).expect("a log");
        assert_eq!(names_in(dir.path()).len(), 2);
        assert_eq!(fs::metadata(&path).expect("the log").len(), 0);
    }

    #[test]
    fn old_files_are_counted_aged_and_compressed() {
        let now = UNIX_EPOCH + DAY * 100;
        let make = |ages: &[u32]| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let names = Names::new(&dir.path().join("a.log"));
            for age in ages {
                fs::write(names.old(now - DAY * *age, false), "text").expect("a file");
            }
            fs::write(dir.path().join("a-2020.log"), "of others").expect("a file");
            (dir, names)
        };
        let (dir, names) = make(&[1, 2, 3]);
        tidy(&names, &options("{\"maxbackups\": 2}"), now).expect("files are removed");
        assert_eq!(
            names_in(dir.path()),
            ["a-1970-04-09T00-00-00.000.log", "a-1970-04-10T00-00-00.000.log", "a-2020.log"]
        );
        let (dir, names) = make(&[1, 3]);
        tidy(&names, &options("{\"maxage\": 2, \"compress\": true}"), now).expect("tidied");
        assert_eq!(names_in(dir.path()), ["a-1970-04-10T00-00-00.000.log.gz", "a-2020.log"]);
        let file = File::open(dir.path().join("a-1970-04-10T00-00-00.000.log.gz")).expect("it");
        let mut text = String::new();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, "text");
    }

    #[test]
    fn names_without_an_extension() {
        let names = Names::new(Path::new("log"));
        let old = names.old(UNIX_EPOCH, false);
        assert_eq!(old, Path::new("./log-1970-01-01T00-00-00.000"));
        assert!(names.stamp("log-1970-01-01T00-00-00.000.gz").is_some_and(|(_, gz)| gz));
        assert!(names.stamp("log-1970-01-01T00-00-00,000").is_none());
    }
}
