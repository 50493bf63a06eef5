//! The flags of `etcd grpc-proxy start`, and what they mean together.

use std::{path::PathBuf, time::Duration};

use config::log::Severity;

use crate::{
    Failure,
    discover::Discovery,
    flags::{
        Flag,
        Kind::{Bool, Duration as Time, Int, List, Text, Uint, Uint32},
        Values,
    },
};

/// The flags.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::new("advertise-client-url", Text, "127.0.0.1:23790", "where clients reach this proxy"),
    Flag::new("auto-tls", Bool, "false", "serve with a certificate made at the start"),
    Flag::new("cacert", Text, "", "authorities of the members' certificates"),
    Flag::new("cert", Text, "", "own certificate towards the members; its common name is empty"),
    Flag::new("cert-file", Text, "", "certificate towards clients"),
    Flag::new("client-crl-file", Text, "", "list of revoked certificates of clients"),
    Flag::new("data-dir", Text, "default.proxy", "folder of what is kept"),
    Flag::new("debug", Bool, "false", "log at debug level"),
    Flag::new("dial-keepalive-time", Time, "0s", "silence before a member is pinged; 0 for never"),
    Flag::new("dial-keepalive-timeout", Time, "20s", "time a member has to answer a ping"),
    Flag::new("discovery-srv", Text, "", "domain whose SRV records name the members"),
    Flag::new("discovery-srv-name", Text, "", "suffix of the SRV service to look up"),
    Flag::new("enable-pprof", Bool, "false", "serve the paths below /debug/pprof/"),
    Flag::new("endpoints", List, "127.0.0.1:2379", "the members, separated by commas"),
    Flag::new(
        "endpoints-auto-sync-interval",
        Time,
        "0s",
        "time between look-ups of members; 0 for never",
    ),
    Flag::new("experimental-enable-grpc-logging", Bool, "false", "log every call"),
    Flag::new(
        "experimental-leasing-prefix",
        Text,
        "",
        "prefix of keys for disconnected reads (not built)",
    ),
    Flag::new(
        "experimental-serializable-ordering",
        Bool,
        "false",
        "never answer with an older revision",
    ),
    Flag::new(
        "grpc-keepalive-interval",
        Time,
        "2h0m0s",
        "silence before a client is pinged; 0 for never",
    ),
    Flag::new("grpc-keepalive-min-time", Time, "5s", "time between pings of a client"),
    Flag::new("grpc-keepalive-timeout", Time, "20s", "time a client has to answer a ping"),
    Flag::new("insecure-discovery", Bool, "false", "accept SRV records of members without TLS"),
    Flag::new(
        "insecure-skip-tls-verify",
        Bool,
        "false",
        "take the members' certificates as they are",
    ),
    Flag::new("key", Text, "", "key of the certificate towards the members"),
    Flag::new("key-file", Text, "", "key of the certificate towards clients"),
    Flag::new("listen-addr", Text, "127.0.0.1:23790", "where to listen"),
    Flag::new(
        "listen-cipher-suites",
        List,
        "",
        "cipher suites towards clients, separated by commas",
    ),
    Flag::new(
        "max-concurrent-streams",
        Uint32,
        "4294967295",
        "streams that a client may open at a time",
    ),
    Flag::new("max-recv-bytes", Int, "2147483647", "largest answer of a member"),
    Flag::new("max-send-bytes", Int, "1572864", "largest request to a member"),
    Flag::new("metrics-addr", Text, "", "URL to serve metrics and health at besides"),
    Flag::new("namespace", Text, "", "prefix of all keys"),
    Flag::new("permit-without-stream", Bool, "false", "ping members also while there are no calls"),
    Flag::new(
        "resolver-prefix",
        Text,
        "",
        "prefix of the keys that the proxies of a cluster register under",
    ),
    Flag::new("resolver-ttl", Int, "0", "seconds that a registration outlives its proxy"),
    Flag::new(
        "self-signed-cert-validity",
        Uint,
        "1",
        "years that the certificate of auto-tls is valid",
    ),
    Flag::new("tls-max-version", Text, "", "highest version of TLS: TLS1.2 or TLS1.3"),
    Flag::new("tls-min-version", Text, "TLS1.2", "lowest version of TLS: TLS1.2 or TLS1.3"),
    Flag::new("trusted-ca-file", Text, "", "authorities of clients' certificates"),
];

/// What the flags mean.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) listen_addr: String,
    pub(crate) metrics_addr: Option<String>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) discovery: Discovery,
    pub(crate) auto_sync: Option<Duration>,
    pub(crate) dial_keepalive_time: Option<Duration>,
    pub(crate) dial_keepalive_timeout: Duration,
    pub(crate) max_send_bytes: usize,
    pub(crate) max_recv_bytes: usize,
    pub(crate) advertise: String,
    pub(crate) resolver_prefix: String,
    pub(crate) resolver_ttl: i64,
    pub(crate) namespace: String,
    pub(crate) ordering: bool,
    pub(crate) pprof: bool,
    pub(crate) log_calls: bool,
    pub(crate) debug: bool,
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) ping_timeout: Duration,
    pub(crate) concurrent_streams_max: u32,
    pub(crate) to_cluster: Files,
    pub(crate) insecure_skip_verify: bool,
    pub(crate) to_clients: Files,
    pub(crate) crl_file: Option<PathBuf>,
    pub(crate) auto_tls: bool,
    pub(crate) data_dir: PathBuf,
    pub(crate) validity_years: u64,
    pub(crate) policy: tls::Policy,
}

/// Certificate, key and authorities.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) cert: String,
    pub(crate) key: String,
    pub(crate) ca: String,
}

impl Files {
    /// Whether none is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.cert.is_empty() && self.key.is_empty() && self.ca.is_empty()
    }
}

impl Options {
    /// Reads the flags; what contradicts itself is refused in etcd's words.
    pub(crate) fn read(values: &Values) -> Result<Options, Failure> {
        check(values)?;
        let files = |cert: &str, key: &str, ca: &str| Files {
            cert: values.text(cert),
            key: values.text(key),
            ca: values.text(ca),
        };
        let positive = |name: &str| {
            Some(values.duration(name).to_std()).filter(|duration| !duration.is_zero())
        };
        let bytes = |name: &str, default: usize| match usize::try_from(values.number(name)) {
            Ok(0) | Err(_) => default,
            Ok(bytes) => bytes,
        };
        let policy = tls::Policy::new(
            &values.list("listen-cipher-suites"),
            &values.text("tls-min-version"),
            &values.text("tls-max-version"),
        );
        let interval = positive("grpc-keepalive-interval");
        Ok(Options {
            listen_addr: values.text("listen-addr"),
            metrics_addr: values.some("metrics-addr"),
            endpoints: values.list("endpoints"),
            discovery: Discovery {
                domain: values.text("discovery-srv"),
                service: values.text("discovery-srv-name"),
                insecure: values.on("insecure-discovery"),
                trusted_ca_file: values.some("cacert").map(Into::into),
            },
            auto_sync: positive("endpoints-auto-sync-interval"),
            dial_keepalive_time: positive("dial-keepalive-time"),
            dial_keepalive_timeout: positive("dial-keepalive-timeout")
                .unwrap_or(Duration::from_secs(20)),
            max_send_bytes: bytes("max-send-bytes", client::config::DEFAULT_MAX_REQUEST_BYTES),
            max_recv_bytes: bytes("max-recv-bytes", client::config::DEFAULT_MAX_RECV_BYTES),
            advertise: values.text("advertise-client-url"),
            resolver_prefix: values.text("resolver-prefix"),
            resolver_ttl: values.number("resolver-ttl"),
            namespace: values.text("namespace"),
            ordering: values.on("experimental-serializable-ordering"),
            pprof: values.on("enable-pprof"),
            log_calls: values.on("experimental-enable-grpc-logging"),
            debug: values.on("debug"),
            ping_interval: interval,
            ping_timeout: positive("grpc-keepalive-timeout").unwrap_or(Duration::from_secs(20)),
            concurrent_streams_max: u32::try_from(values.number("max-concurrent-streams"))
                .unwrap_or(u32::MAX),
            to_cluster: files("cert", "key", "cacert"),
            insecure_skip_verify: values.on("insecure-skip-tls-verify"),
            to_clients: files("cert-file", "key-file", "trusted-ca-file"),
            crl_file: values.some("client-crl-file").map(Into::into),
            auto_tls: values.on("auto-tls"),
            data_dir: values.text("data-dir").into(),
            validity_years: u64::try_from(values.number("self-signed-cert-validity")).unwrap_or(0),
            policy: policy.map_err(Failure::of)?,
        })
    }

    /// Where and what to log.
    pub(crate) fn log(&self) -> config::LogConfig {
        let level = if self.debug { Severity::Debug } else { Severity::Info };
        config::LogConfig {
            level: level.name().to_owned(),
            outputs: vec!["stderr".to_owned()],
            ..config::LogConfig::default()
        }
    }
}

/// What does not go together.
fn check(values: &Values) -> Result<(), Failure> {
    let (prefix, ttl) = (values.text("resolver-prefix"), values.number("resolver-ttl"));
    if !prefix.is_empty() && ttl < 1 {
        return Err(Failure::of(format!("invalid resolver-ttl {ttl}")));
    }
    if prefix.is_empty() && ttl > 0 {
        return Err(Failure::of(format!("invalid resolver-prefix {prefix:?}")));
    }
    let advertise = values.text("advertise-client-url");
    if !prefix.is_empty() && advertise.is_empty() {
        return Err(Failure::of(format!("invalid advertise-client-url {advertise:?}")));
    }
    if values.on("auto-tls") && values.number("self-signed-cert-validity") == 0 {
        let text = "selfSignedCertValidity is invalid,it should be greater than 0";
        return Err(Failure::of(text));
    }
    for name in ["tls-min-version", "tls-max-version"] {
        let version = values.text(name);
        if !["", "TLS1.2", "TLS1.3"].contains(&version.as_str()) {
            return Err(Failure::of(format!(
                "{name} is invalid: unexpected TLS version {version:?} provided"
            )));
        }
    }
    if values.some("experimental-leasing-prefix").is_some() {
        return Err(Failure::of("--experimental-leasing-prefix is not supported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Asked, parse};

    #[track_caller]
    fn refusal(args: &[&str]) -> String {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let Ok(Asked::Run(values)) = parse(FLAGS, &args) else { panic!("no values") };
        match Options::read(&values) {
            Err(Failure::Err(text) | Failure::Out(text)) => text,
            Ok(_) => String::new(),
        }
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for (args, text) in [
            (&[][..], ""),
            (&["--resolver-prefix=p", "--resolver-ttl=5"], ""),
            (&["--resolver-prefix=p"], "invalid resolver-ttl 0\n"),
            (&["--resolver-ttl=1"], "invalid resolver-prefix \"\"\n"),
            (
                &["--resolver-prefix=p", "--resolver-ttl=1", "--advertise-client-url="],
                "invalid advertise-client-url \"\"\n",
            ),
            (
                &["--auto-tls", "--self-signed-cert-validity=0"],
                "selfSignedCertValidity is invalid,it should be greater than 0\n",
            ),
            (
                &["--tls-min-version=1"],
                "tls-min-version is invalid: unexpected TLS version \"1\" provided\n",
            ),
            (
                &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
                "min version (TLS1.3) is greater than max version (TLS1.2)\n",
            ),
            (
                &["--tls-min-version=TLS1.3", "--listen-cipher-suites=TLS_AES_128_GCM_SHA256"],
                "cipher suites cannot be configured when only TLS1.3 is enabled\n",
            ),
            (
                &["--experimental-leasing-prefix=l"],
                "--experimental-leasing-prefix is not supported\n",
            ),
        ] {
            assert_eq!(refusal(args), text, "{args:?}");
        }
    }
}
