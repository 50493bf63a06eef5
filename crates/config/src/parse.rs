//! From the command line, the environment and the file to a [`Config`], or to the end of the
//! program.
//!
//! [`parse`] is a function of its inputs and writes nothing: what there is to log comes back as
//! notices. [`start`] is the shell around it for a real process.

use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::argv::{self, Argv, ArgvError};
use crate::duration::GoDuration;
use crate::env::{self, Env, EnvError};
use crate::file::{self, FileError};
use crate::flags::{self, Kind};
use crate::goconv::Quoted;
use crate::help;
use crate::log::{Logger, Notice, Severity, os_error};
use crate::settings::{Config, LogConfig};
use crate::validate::{self, ADVERTISE_MISSING, LogError};

/// A configuration that passed every check.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// Lines to log, in order.
    pub notices: Vec<Notice>,
}

/// The program ends here: after help, or because something is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// The exit status.
    pub code: i32,
    /// What stdout gets.
    pub stdout: String,
    /// What stderr gets, after the lines of the log.
    pub stderr: String,
    /// Lines to log first.
    pub notices: Vec<Notice>,
    /// Where those go that are not early; `None` while the log's settings are not known to be good.
    pub log: Option<Box<LogConfig>>,
}

impl Exit {
    fn bare(code: i32, stdout: String, stderr: String) -> Exit {
        Exit { code, stdout, stderr, notices: Vec::new(), log: None }
    }

    /// Writes everything and returns the exit status.
    pub fn report(self) -> i32 {
        use std::io::Write as _;
        let early = Logger::stderr();
        let late = self.log.as_ref().and_then(|log| Logger::open(log).ok());
        let late = late.unwrap_or_else(|| early.clone());
        for notice in &self.notices {
            if notice.early { &early } else { &late }.write(notice);
        }
        // There is nobody left to tell when these fail.
        let _lost = std::io::stderr().write_all(self.stderr.as_bytes());
        let _lost = std::io::stdout().write_all(self.stdout.as_bytes());
        self.code
    }
}

/// How a run of [`parse`] fails once the command line is understood.
enum Failure {
    /// An error that is logged as etcd does.
    Verify(String),
    /// Nothing more to say than the notices, or this text on stderr.
    Exit(i32, String),
}

/// Reads `args` (the program's name first), `env` and the file that they name. `default_host` finds
/// the address of this machine; it is called once, when everything is in order.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
    default_host: impl FnOnce() -> Result<String, String>,
) -> Result<Parsed, Exit> {
    let args = utf8(args)?;
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let env = Env(env.into_iter().map(|(key, value)| (lossy(key), lossy(value))).collect());
    let mut config = Config::default();
    let argv =
        argv::parse(args.get(1..).unwrap_or_default(), &mut config).map_err(
            |error| match error {
                ArgvError::Help => {
                    Exit::bare(0, help::flags_help() + "\n", help::USAGE.to_string())
                }
                ArgvError::Mistake(text) => {
                    Exit::bare(2, String::new(), format!("{text}\n{}", help::USAGE))
                }
            },
        )?;
    if argv.words.is_empty() && config.print_version {
        return Err(Exit::bare(0, help::version(), String::new()));
    }
    let mut run = Run { config, notices: Vec::new(), log: None, log_ready: false };
    let result = run.fill(&argv, &env);
    run.announce(&args);
    match result {
        Ok(()) => {
            run.settle(default_host());
            Ok(Parsed { config: run.config, notices: run.notices })
        }
        Err(failure) => Err(run.exit(failure)),
    }
}

/// Reads a command line (the program's name first) and this process's environment, and opens the log.
/// On `Err` everything is said and the process should end with that status.
pub fn start(args: Vec<OsString>) -> Result<(Config, Logger), i32> {
    let parsed = parse(args.clone(), std::env::vars_os(), crate::host::default_host)
        .map_err(Exit::report)?;
    let (config, notices) = (parsed.config, parsed.notices);
    let logger = match Logger::open(&config.log) {
        Ok(logger) => logger,
        Err(error) => return Err(log_unopened(&args, error).report()),
    };
    let early = Logger::stderr();
    for notice in &notices {
        if notice.early { &early } else { &logger }.write(notice);
    }
    logger.install();
    Ok((config, logger))
}

/// What etcd says when an output of the log cannot be opened.
fn log_unopened(args: &[OsString], error: String) -> Exit {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let mut run =
        Run { config: Config::default(), notices: Vec::new(), log: None, log_ready: false };
    run.announce(&args);
    run.exit(Failure::Verify(error))
}

fn utf8(args: impl IntoIterator<Item = OsString>) -> Result<Vec<String>, Exit> {
    let args = args.into_iter().map(|arg| {
        arg.into_string().map_err(|arg| {
            let shown = arg.to_string_lossy();
            let text = format!("argument is not valid UTF-8: {}\n{}", Quoted(&shown), help::USAGE);
            Exit::bare(2, String::new(), text)
        })
    });
    args.collect()
}

/// The configuration while it comes together.
struct Run {
    config: Config,
    notices: Vec<Notice>,
    /// The log's settings once they passed their checks.
    log: Option<LogConfig>,
    /// Whether that log is the one to write to.
    log_ready: bool,
}

impl Run {
    fn fill(&mut self, argv: &Argv, env: &Env) -> Result<(), Failure> {
        if let Some(word) = argv.words.first() {
            return Err(Failure::Verify(format!("{} is not a valid flag", Quoted(word))));
        }
        let path = match self.config.config_file.as_str() {
            "" => env.get(&env::variable("config-file")).to_string(),
            path => path.to_string(),
        };
        if path.is_empty() { self.fill_from_flags(argv, env) } else { self.fill_from_file(path) }
    }

    fn fill_from_flags(&mut self, argv: &Argv, env: &Env) -> Result<(), Failure> {
        let from_env =
            env::apply(env, argv, &mut self.config, &mut self.notices).map_err(|e| match e {
                EnvError::Invalid(text) => Failure::Verify(text),
                EnvError::Shadowed => Failure::Exit(1, String::new()),
            })?;
        let given: BTreeSet<&str> = argv.given.union(&from_env).copied().collect();
        self.raise_raft_timeouts();
        let config = &mut self.config;
        if given.contains("listen-client-urls") && !given.contains("advertise-client-urls") {
            config.advertise_client_urls.clear();
        }
        let discovery = &config.discovery;
        let discovered = !discovery.srv.is_empty()
            || !discovery.srv_name.is_empty()
            || !discovery.endpoints.is_empty();
        if discovered && !given.contains("initial-cluster") {
            config.initial_cluster.clear();
        }
        if config.discovery_fallback == "proxy" {
            let text = "v2 proxy is deprecated, and --discovery-fallback can't be configured as \
                        \"proxy\"";
            return Err(Failure::Verify(text.to_string()));
        }
        let checked = self.check();
        self.warn_of(&given);
        checked
    }

    fn fill_from_file(&mut self, path: String) -> Result<(), Failure> {
        self.config = Config::default();
        let bytes = std::fs::read(&path)
            .map_err(|error| Failure::Verify(format!("open {path}: {}", os_error(&error))))?;
        let text = String::from_utf8(bytes).map_err(|_| {
            let why = "invalid leading UTF-8 octet";
            Failure::Verify(format!("error converting YAML to JSON: yaml: {why}"))
        })?;
        let keys = file::read(&text, &mut self.config).map_err(|error| match error {
            FileError::Invalid(text) => Failure::Verify(text),
            FileError::Exit(code, text) => Failure::Exit(code, text),
        })?;
        let checked = self.check();
        if checked.is_err() {
            // etcd drops what it read, and with it the log that it had set up.
            self.log_ready = false;
            return checked;
        }
        let text = "loaded server configuration, other configuration command line flags and \
                    environment variables will be ignored if provided";
        self.notices.push(Notice::new(Severity::Info, text).text("path", path));
        self.warn_of(&keys.iter().map(String::as_str).collect());
        Ok(())
    }

    fn check(&mut self) -> Result<(), Failure> {
        if self.config.log.outputs.is_empty() {
            self.config.log.outputs = LogConfig::default().outputs;
        }
        validate::check_log(&self.config.log).map_err(|error| match error {
            LogError::Invalid(text) => Failure::Verify(text),
            LogError::Level(text) => Failure::Exit(2, format!("panic: {text}\n")),
        })?;
        self.log = Some(self.config.log.clone());
        self.log_ready = true;
        validate::check(&self.config, &mut self.notices).map_err(Failure::Verify)?;
        if self.config.warning_unary_request_duration.is_zero() {
            self.config.warning_unary_request_duration = GoDuration::from_millis(300);
        }
        Ok(())
    }

    fn raise_raft_timeouts(&mut self) {
        let least = GoDuration::from_secs(5);
        let timeouts = [
            ("raft-read-timeout", &mut self.config.raft_read_timeout),
            ("raft-write-timeout", &mut self.config.raft_write_timeout),
        ];
        for (name, timeout) in timeouts.into_iter().filter(|(_, timeout)| **timeout < least) {
            *timeout = least;
            let text = format!("{name} increased to minimum value: {least}");
            self.notices.push(Notice::new(Severity::Info, text).early());
        }
    }

    /// Warns of deprecated flags and of older names.
    fn warn_of(&mut self, given: &BTreeSet<&str>) {
        let deprecated = [
            (
                "max-snapshots",
                "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
            ),
            (
                "v2-deprecation",
                "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default \
                 value is enforced, ignoring user input.",
            ),
        ];
        for (_, text) in deprecated.iter().filter(|(flag, _)| given.contains(flag)) {
            self.notices.push(Notice::new(Severity::Warn, *text));
        }
        for flag in flags::all().filter(|flag| given.contains(flag.name)) {
            let modern = match flag.kind {
                Kind::OlderName(name) => format!("--{name}"),
                Kind::OlderGate(gate) => format!("--feature-gates={gate}=true|false"),
                _ => continue,
            };
            let text = "flag has an older name that etcd 3.7 does not accept";
            let notice = Notice::new(Severity::Warn, text);
            self.notices.push(notice.text("flag", flag.name).text("use", modern));
        }
    }

    fn announce(&mut self, args: &[String]) {
        let mut notice = Notice::new(Severity::Info, "Running: ").texts("args", args.to_vec());
        notice.early = !self.log_ready;
        self.notices.push(notice);
    }

    /// What etcd settles after all checks: the machine's address, the data dir, and the usual value
    /// of a count that is zero.
    fn settle(&mut self, host: Result<String, String>) {
        let used = self.config.adopt_default_host(host.as_deref().ok());
        match host {
            Ok(host) if used => {
                let notice = Notice::new(Severity::Info, "detected default host for advertise");
                self.notices.push(notice.text("host", host));
            }
            Ok(_) => {}
            Err(error) => {
                let notice = Notice::new(Severity::Info, "failed to detect default host");
                self.notices.push(notice.text("error", error));
            }
        }
        if self.config.data_dir.is_empty() {
            self.config.data_dir = format!("{}.etcd", self.config.name);
            let notice = Notice::new(Severity::Warn, "'data-dir' was empty; using default");
            self.notices.push(notice.text("data-dir", self.config.data_dir.as_str()));
        }
        let usual = Config::default();
        if self.config.snapshot_count == 0 {
            self.config.snapshot_count = usual.snapshot_count;
            let notice = Notice::new(Severity::Info, "updating snapshot-count to default");
            self.notices.push(notice.number("updated-snapshot-count", usual.snapshot_count));
        }
        if self.config.snapshot_catchup_entries == 0 {
            let entries = usual.snapshot_catchup_entries;
            self.config.snapshot_catchup_entries = entries;
            let text = "updating snapshot catch-up entries to default";
            let notice = Notice::new(Severity::Info, text);
            self.notices.push(notice.number("updated-snapshot-catchup-entries", entries));
        }
    }

    fn exit(mut self, failure: Failure) -> Exit {
        let (code, stderr) = match failure {
            Failure::Exit(code, stderr) => {
                // These end etcd before it says how it was called.
                self.notices.pop();
                (code, stderr)
            }
            Failure::Verify(error) => {
                self.fail("failed to verify flags", &error);
                if error == ADVERTISE_MISSING {
                    self.fail("advertise client URLs are not set", &error);
                }
                (1, String::new())
            }
        };
        Exit {
            code,
            stdout: String::new(),
            stderr,
            notices: self.notices,
            log: self.log.map(Box::new),
        }
    }

    fn fail(&mut self, text: &str, error: &str) {
        let mut notice = Notice::new(Severity::Warn, text).text("error", error);
        notice.early = !self.log_ready;
        self.notices.push(notice);
    }
}

#[cfg(test)]
mod tests;
