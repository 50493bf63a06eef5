//! Where lines go: stderr, stdout, files and the journal.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::encode::short_file;
use super::journal::{Journal, SOCKET};
use super::rotate::Rotating;
use super::rotate_options::Options;
use super::{JOURNAL, Severity, os_error};
use crate::goconv::Quoted;
use crate::url::Url;

enum Output {
    Stderr,
    Stdout,
    File(File),
    Rotating(Box<Rotating>),
    Journal(Journal),
}

/// The outputs of a log. A line reaches each of them in one write.
pub(crate) struct Outputs(Mutex<Vec<Output>>);

impl Outputs {
    pub(crate) fn stderr() -> Outputs {
        Outputs(Mutex::new(vec![Output::Stderr]))
    }

    /// Opens `--log-outputs`; files are appended to, and rotated with these options. The error is
    /// etcd's.
    pub(crate) fn open(names: &[String], rotation: Option<&Options>) -> Result<Outputs, String> {
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.contains(&JOURNAL) {
            let journal = Output::Journal(Journal::open(SOCKET)?);
            return Ok(Outputs(Mutex::new(vec![journal])));
        }
        for name in &mut names {
            if *name == "default" {
                *name = "stderr";
            }
        }
        if names.is_empty() {
            names.push("stderr");
        }
        if names.contains(&"/dev/null") {
            return Ok(Outputs(Mutex::new(Vec::new())));
        }
        names.sort_unstable();
        names.dedup();
        let mut outputs = Vec::new();
        let mut errors = Vec::new();
        for name in names {
            match open_one(name, rotation) {
                Ok(output) => outputs.push(output),
                Err(error) => errors.push(format!("open sink {}: {error}", Quoted(name))),
            }
        }
        if errors.is_empty() {
            return Ok(Outputs(Mutex::new(outputs)));
        }
        Err(errors.join("; "))
    }

    /// Writes one line everywhere. What cannot be written is lost, as there is no place to say so.
    pub(crate) fn write(&self, severity: Severity, file: Option<&str>, line: &str) {
        let mut outputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for output in outputs.iter_mut() {
            let _lost = match output {
                Output::Stderr => std::io::stderr().write_all(line.as_bytes()),
                Output::Stdout => std::io::stdout().write_all(line.as_bytes()),
                Output::File(file) => file.write_all(line.as_bytes()),
                Output::Rotating(file) => file.write_all(line.as_bytes()),
                Output::Journal(journal) => write_journal(journal, severity, file, line),
            };
        }
    }
}

fn write_journal(
    journal: &Journal,
    severity: Severity,
    file: Option<&str>,
    line: &str,
) -> io::Result<()> {
    let file = file.map(short_file).unwrap_or_default();
    let package = file.rsplit_once('/').map_or(".", |(folder, _)| folder);
    let sent = journal.send(severity, package, line);
    sent.or_else(|_| io::stderr().write_all(line.as_bytes()))
}

fn open_one(name: &str, rotation: Option<&Options>) -> Result<Output, String> {
    match name {
        "stderr" => return Ok(Output::Stderr),
        "stdout" => return Ok(Output::Stdout),
        _ => {}
    }
    let path = if name.starts_with('/') { name.to_string() } else { file_of_url(name)? };
    let failed = |error: io::Error| format!("open {path}: {}", os_error(&error));
    if let Some(options) = rotation {
        let opened = Rotating::open(Path::new(&path), options.clone());
        return opened.map(|log| Output::Rotating(Box::new(log))).map_err(failed);
    }
    OpenOptions::new().append(true).create(true).open(&path).map(Output::File).map_err(failed)
}

/// A name that is no absolute path is a URL: of a file, or relative.
fn file_of_url(name: &str) -> Result<String, String> {
    let url =
        Url::parse(name).map_err(|e| format!("can't parse {} as a URL: {e}", Quoted(name)))?;
    match url.scheme() {
        "" | "file" => Ok(url.path().to_string()),
        scheme => Err(format!("no sink found for scheme {}", Quoted(scheme))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_appended_to() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.log").display().to_string();
        for line in ["one\n", "two\n"] {
            let outputs = Outputs::open(std::slice::from_ref(&path), None).expect("a new file");
            outputs.write(Severity::Info, None, line);
        }
        let by_url = Outputs::open(&[format!("file://{path}"), path.clone()], None);
        by_url.expect("twice").write(Severity::Info, None, "three\n");
        let text = std::fs::read_to_string(&path).expect("the log");
        assert_eq!(text, "one\ntwo\nthree\nthree\n");
    }

    #[test]
    fn errors_are_etcds() {
        let error = |name: &str| Outputs::open(&[name.to_string()], None).err().expect("not a log");
        let missing = "open sink \"/nope/x\": open /nope/x: no such file or directory";
        assert_eq!(error("/nope/x"), missing);
        assert_eq!(error("/tmp"), "open sink \"/tmp\": open /tmp: is a directory");
        assert_eq!(error(""), "open sink \"\": open : no such file or directory");
        assert_eq!(error("s3://x/y"), "open sink \"s3://x/y\": no sink found for scheme \"s3\"");
    }

    #[test]
    fn dev_null_silences_the_others() {
        let names = ["/nope/x".to_string(), "/dev/null".to_string()];
        let outputs = Outputs::open(&names, None).expect("nothing is opened");
        assert!(outputs.0.lock().expect("not poisoned").is_empty());
    }
}
