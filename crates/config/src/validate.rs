//! The checks of a whole configuration, in etcd's order and with etcd's texts.

use std::net::IpAddr;

use crate::bootstrap::quoted_list;
use crate::goconv::Quoted;
use crate::log::rotate_options::Options;
use crate::log::{JOURNAL, Notice, Severity};
use crate::settings::{Config, DEFAULT_NAME, LogConfig};
use crate::url::Url;

/// The error after which etcd repeats its reason.
pub(crate) const ADVERTISE_MISSING: &str =
    "--advertise-client-urls is required when --listen-client-urls is set explicitly";

const ELECTION_MS_MAX: u64 = 50_000;
const SAMPLING_PER: i64 = 1_000_000;

/// Checks everything but the log's settings, which come first: [`check_log`].
pub(crate) fn check(config: &Config, notices: &mut Vec<Notice>) -> Result<(), String> {
    check_urls(config, notices)?;
    check_cluster(config)?;
    check_times(config)?;
    if config.advertise_client_urls.is_empty() {
        return Err(ADVERTISE_MISSING.to_string());
    }
    match config.auto_compaction_mode.as_str() {
        "revision" | "periodic" => {}
        "" => return Err("undefined auto-compaction-mode".to_string()),
        mode => return Err(format!("unknown auto-compaction-mode {}", Quoted(mode))),
    }
    check_tracing(config)?;
    check_gates(config, notices)?;
    if config.compact_hash_check_time.nanos() <= 0 {
        let time = config.compact_hash_check_time;
        return Err(format!("--compact-hash-check-time must be >0 (set to {time})"));
    }
    if config.name == DEFAULT_NAME {
        let text = "it isn't recommended to use default name, please set a value for --name. \
                    Note that etcd might run into issue when multiple members have the same \
                    default name";
        notices.push(Notice::new(Severity::Warn, text).text("name", DEFAULT_NAME));
    }
    check_tls_versions(config)
}

/// What is wrong with the log's settings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LogError {
    /// An error like any other.
    Invalid(String),
    /// The level, which makes etcd panic.
    Level(String),
}

/// Checks the log's settings as far as that goes without opening it.
pub(crate) fn check_log(log: &LogConfig) -> Result<(), LogError> {
    let invalid = |text: String| Err(LogError::Invalid(text));
    match log.logger.as_str() {
        "zap" => {}
        "capnslog" => return invalid("--logger=capnslog is removed in v3.5".to_string()),
        other => return invalid(format!("unknown logger option {}", Quoted(other))),
    }
    let several = log.outputs.len() > 1;
    if several && log.outputs.iter().any(|output| output == "default") {
        return invalid("multi logoutput for \"default\" is not supported yet".to_string());
    }
    if log.rotation {
        let streams = ["default", "stderr", "stdout"];
        let files = log.outputs.iter().filter(|o| !streams.contains(&o.as_str())).count();
        if files > 1 || (files == 0 && !several) {
            let text = "--log-outputs requires a single file path when --log-rotate-config-json is \
                        defined";
            return invalid(text.to_string());
        }
        Options::parse(&log.rotation_json).map_err(LogError::Invalid)?;
    }
    if several && log.outputs.iter().any(|output| output == JOURNAL) {
        let outputs = quoted_list(&log.outputs);
        return invalid(format!(
            "running with systemd/journal but other '--log-outputs' values ({outputs}) are \
             configured with 'default'; override 'default' value with something else"
        ));
    }
    if Severity::parse(&log.level).is_none() {
        return Err(LogError::Level(format!("unrecognized level: {}", Quoted(&log.level))));
    }
    if !["", "json", "console"].contains(&log.format.as_str()) {
        let format = &log.format;
        return invalid(format!("unknown log format: {format}, supported values json, console"));
    }
    Ok(())
}

fn check_urls(config: &Config, notices: &mut Vec<Notice>) -> Result<(), String> {
    check_bind(&config.listen_peer_urls)?;
    check_bind(&config.listen_client_urls)?;
    check_bind(&config.listen_client_http_urls)?;
    if config.listen_client_http_urls.is_empty() {
        let text = "Running http and grpc server on single port. This is not recommended for \
                    production.";
        notices.push(Notice::new(Severity::Warn, text));
    }
    check_bind(&config.listen_metrics_urls)?;
    check_hosts(&config.initial_advertise_peer_urls).map_err(|error| {
        let urls = config.initial_advertise_peer_urls.texts().join(",");
        let urls = Quoted(&urls);
        format!("--initial-advertise-peer-urls {urls} must be \"host:port\" ({error})")
    })?;
    check_hosts(&config.advertise_client_urls).map_err(|error| {
        let urls = config.advertise_client_urls.texts().join(",");
        let urls = Quoted(&urls);
        format!(
            "--advertise-client-urls {urls} must be in the format \"host:port\", \
             \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" ({error})"
        )
    })
}

/// A listener needs an address, not a name; `localhost` is let through.
fn check_bind(urls: &[Url]) -> Result<(), String> {
    for url in urls.iter().filter(|url| !url.is_unix()) {
        let host = url.hostname();
        if host != "localhost" && host.parse::<IpAddr>().is_err() {
            return Err(format!("expected IP in URL for binding ({url})"));
        }
    }
    Ok(())
}

fn check_hosts(urls: &[Url]) -> Result<(), String> {
    match urls.iter().find(|url| !url.is_unix() && url.hostname().is_empty()) {
        Some(url) => Err(format!("unexpected empty host ({url})")),
        None => Ok(()),
    }
}

fn check_cluster(config: &Config) -> Result<(), String> {
    let state = config.initial_cluster_state.as_str();
    if state != "new" && state != "existing" {
        return Err(format!("unexpected clusterState {}", Quoted(state)));
    }
    let discovery = &config.discovery;
    let endpoints = !discovery.endpoints.is_empty();
    let ways = [!config.initial_cluster.is_empty(), !discovery.srv.is_empty(), endpoints];
    if ways.into_iter().filter(|given| *given).count() > 1 {
        return Err("multiple discovery or bootstrap flags are set. Choose one of \
                    \"initial-cluster\", \"discovery-endpoints\" or \"discovery-srv\""
            .to_string());
    }
    if discovery.token.is_empty() == endpoints {
        return Err("both --discovery-token and --discovery-endpoints must be set".to_string());
    }
    if discovery.endpoints.iter().any(|endpoint| endpoint.trim().is_empty()) {
        return Err("--discovery-endpoints must not contain empty endpoints".to_string());
    }
    Ok(())
}

fn check_times(config: &Config) -> Result<(), String> {
    let (tick, election) = (config.heartbeat_interval_ms, config.election_timeout_ms);
    if tick == 0 {
        return Err(format!("--heartbeat-interval must be >0 (set to {tick}ms)"));
    }
    if election == 0 {
        return Err(format!("--election-timeout must be >0 (set to {election}ms)"));
    }
    if tick.saturating_mul(5) > election {
        return Err(format!(
            "--election-timeout[{election}ms] should be at least as 5 times as \
             --heartbeat-interval[{tick}ms]"
        ));
    }
    if election > ELECTION_MS_MAX {
        return Err(format!(
            "--election-timeout[{election}ms] is too long, and should be set less than \
             {ELECTION_MS_MAX}ms"
        ));
    }
    Ok(())
}

fn check_tracing(config: &Config) -> Result<(), String> {
    let rate = config.tracing.sampling_rate;
    let why = match rate {
        _ if !config.tracing.enabled => return Ok(()),
        rate if rate < 0 => "tracing sampling rate must be positive".to_string(),
        rate if rate > SAMPLING_PER => {
            format!("tracing sampling rate must be less than {SAMPLING_PER}")
        }
        _ => return Ok(()),
    };
    // The misspelling is etcd's.
    Err(format!("distributed tracing configurition is not valid: ({why})"))
}

fn check_gates(config: &Config, notices: &mut Vec<Notice>) -> Result<(), String> {
    let checkpoint = config.feature_gates.enabled("LeaseCheckpoint");
    let persist = config.feature_gates.enabled("LeaseCheckpointPersist");
    if checkpoint && !persist {
        let text = "Detected that checkpointing is enabled without persistence. Consider enabling \
                    feature gate LeaseCheckpointPersist";
        notices.push(Notice::new(Severity::Warn, text));
    }
    if persist && !checkpoint {
        return Err("enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                    LeaseCheckpoint"
            .to_string());
    }
    Ok(())
}

fn check_tls_versions(config: &Config) -> Result<(), String> {
    let number = |version: &str| match version {
        "" => Ok(0),
        "TLS1.2" => Ok(12),
        "TLS1.3" => Ok(13),
        other => {
            let other = Quoted(other);
            Err(format!("unexpected TLS version {other} (must be one of: TLS1.2, TLS1.3)"))
        }
    };
    let (low, high) = (&config.tls_min_version, &config.tls_max_version);
    let (min, max) = (number(low)?, number(high)?);
    if max != 0 && min > max {
        return Err(format!("min version ({low}) is greater than max version ({high})"));
    }
    if min == 13 && !config.cipher_suites.is_empty() {
        return Err("cipher suites cannot be configured when only TLS1.3 is enabled".to_string());
    }
    Ok(())
}
