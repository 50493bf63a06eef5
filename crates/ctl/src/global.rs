//! Flags of every command, their environment variables, and the client settings they make.

use std::time::Duration;

use client::{
    config::{Config, Credentials, DEFAULT_MAX_RECV_BYTES, DEFAULT_MAX_REQUEST_BYTES, connector},
    discovery,
    dns::Resolver,
    endpoint::Endpoint,
};

use crate::{
    cli::flag::{Flag, Flags, Kind},
    exit::{Code, Failure},
    gotext::quote::quote,
    log, prompt,
};

/// What the environment variables of flags begin with.
const PREFIX: &str = "ETCDCTL_";
/// Variables that `watch` reads itself.
const WATCH_VARIABLES: [&str; 2] = ["ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"];

/// The flags of every command.
pub(crate) const FLAGS: &[Flag] = &[
    Flag::new("endpoints", Kind::List, "members to talk to, separated by commas")
        .default("127.0.0.1:2379"),
    Flag::new("debug", Kind::Bool, "log what the client does"),
    Flag::new("write-out", Kind::Text, "output format (fields, json, protobuf, simple, table)")
        .short('w')
        .default("simple")
        .hints(&["fields", "json", "protobuf", "simple", "table"]),
    Flag::new("hex", Kind::Bool, "show keys and values, or ids, in hex"),
    Flag::new("dial-timeout", Kind::Duration, "bound on fetching an authentication token")
        .default("2s"),
    Flag::new("command-timeout", Kind::Duration, "bound on a short command").default("5s"),
    Flag::new("keepalive-time", Kind::Duration, "silence after which a connection is probed")
        .default("2s"),
    Flag::new("keepalive-timeout", Kind::Duration, "how long a probe may go unanswered")
        .default("6s"),
    Flag::new("max-request-bytes", Kind::Int, "largest request in bytes (0: 2 MiB)"),
    Flag::new("max-recv-bytes", Kind::Int, "largest response in bytes (0: 2 GiB)"),
    Flag::new("insecure-transport", Kind::Bool, "allow connections without TLS").default("true"),
    Flag::new("insecure-discovery", Kind::Bool, "accept SRV records of members without TLS")
        .default("true"),
    Flag::new(
        "insecure-skip-tls-verify",
        Kind::Bool,
        "accept any certificate of a member (for testing only)",
    ),
    Flag::new("cert", Kind::Text, "client certificate file"),
    Flag::new("key", Kind::Text, "key file of the client certificate"),
    Flag::new("cacert", Kind::Text, "file of authorities that members' certificates must be from"),
    Flag::new("auth-jwt-token", Kind::Text, "signed token to authenticate with, instead of --user"),
    Flag::new("user", Kind::Text, "name[:password] to authenticate with (asks for the password)"),
    Flag::new("password", Kind::Text, "password, when --user has only the name"),
    Flag::new("discovery-srv", Kind::Text, "domain whose SRV records name the members").short('d'),
    Flag::new("discovery-srv-name", Kind::Text, "suffix of the SRV service to look up"),
];

/// What the flags say of a cluster; endpoints may be replaced.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// As they were given.
    pub(crate) endpoints: Vec<String>,
    /// `--dial-timeout`.
    pub(crate) dial_timeout: Duration,
    /// `--keepalive-time`.
    pub(crate) keepalive_time: Duration,
    /// `--keepalive-timeout`.
    pub(crate) keepalive_timeout: Duration,
    /// `--max-request-bytes`; 0 for the default.
    pub(crate) max_request_bytes: i64,
    /// `--max-recv-bytes`; 0 for the default.
    pub(crate) max_recv_bytes: i64,
    /// TLS.
    pub(crate) secure: Secure,
    /// Who the client is.
    pub(crate) credentials: Option<Credentials>,
}

/// Flags about TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secure {
    /// Certificate file.
    pub(crate) cert: String,
    /// Key file.
    pub(crate) key: String,
    /// Authorities.
    pub(crate) cacert: String,
    /// Name that certificates must have, when it is not the endpoint's host.
    pub(crate) server_name: String,
    /// Connections without TLS are fine.
    pub(crate) insecure_transport: bool,
    /// Certificates are not checked.
    pub(crate) skip_verify: bool,
}

impl Spec {
    /// Reads the flags; asks for a password when one is missing.
    pub(crate) fn from_flags(flags: &Flags) -> Result<Spec, Failure> {
        let endpoints = endpoints(flags)?;
        let secure = Secure::from_flags(flags)?;
        Ok(Spec {
            endpoints,
            dial_timeout: flags.duration("dial-timeout"),
            keepalive_time: flags.duration("keepalive-time"),
            keepalive_timeout: flags.duration("keepalive-timeout"),
            max_request_bytes: flags.int("max-request-bytes"),
            max_recv_bytes: flags.int("max-recv-bytes"),
            secure,
            credentials: credentials(flags)?,
        })
    }

    /// The client's settings.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let size = |value: i64, default: usize| match usize::try_from(value) {
            Ok(value) if value > 0 => value,
            _ => default,
        };
        if self.max_recv_bytes > 0 && self.max_request_bytes > self.max_recv_bytes {
            let text = format!(
                "gRPC message recv limit ({} bytes) must be greater than send limit ({} bytes)",
                self.max_recv_bytes, self.max_request_bytes
            );
            return Err(Failure::new(Code::BadConnection, text));
        }
        let endpoints = self.endpoints.iter().map(|text| Endpoint::parse(text)).collect();
        let mut config = Config::new(endpoints);
        config.dial_timeout = Some(self.dial_timeout);
        config.keepalive_time = Some(self.keepalive_time).filter(|time| !time.is_zero());
        config.keepalive_timeout = self.keepalive_timeout;
        config.max_request_bytes = size(self.max_request_bytes, DEFAULT_MAX_REQUEST_BYTES);
        config.max_recv_bytes = size(self.max_recv_bytes, DEFAULT_MAX_RECV_BYTES);
        config.credentials = self.credentials.clone();
        config.tls = self.secure.connector()?;
        Ok(config)
    }
}

impl Secure {
    fn from_flags(flags: &Flags) -> Result<Secure, Failure> {
        let file = |name: &str| match flags.text(name) {
            "" if flags.changed(name) => {
                Err(Failure::bad_args(format!("empty string is passed to --{name} option")))
            }
            path => Ok(path.to_owned()),
        };
        // The discovery domain is also the name to verify, unless discovery is insecure.
        let server_name = match flags.bool("insecure-discovery") {
            true => String::new(),
            false => flags.text("discovery-srv").to_owned(),
        };
        Ok(Secure {
            cert: file("cert")?,
            key: file("key")?,
            cacert: file("cacert")?,
            server_name,
            insecure_transport: flags.bool("insecure-transport"),
            skip_verify: flags.bool("insecure-skip-tls-verify"),
        })
    }
}

impl Secure {
    /// What gRPC connections with TLS are opened with; none when nothing asks for TLS.
    fn connector(&self) -> Result<Option<tls::Connector>, Failure> {
        let options = self.options()?;
        options.map(connector).transpose().map_err(Failure::bad_args)
    }

    /// What connections for HTTP with TLS are opened with.
    pub(crate) fn http_connector(&self) -> Result<tls::Connector, Failure> {
        let options = self.options()?.unwrap_or_default();
        tls::Connector::new(options).map_err(Failure::bad_args)
    }

    fn options(&self) -> Result<Option<tls::ClientOptions>, Failure> {
        let file = |path: &str| (!path.is_empty()).then(|| path.into());
        let key_pair = match (file(&self.cert), file(&self.key)) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                let (key, cert) = (&self.key, &self.cert);
                return Err(Failure::bad_args(format!(
                    "KeyFile and CertFile must both be present[key: {key}, cert: {cert}]"
                )));
            }
        };
        let named = !(self.cacert.is_empty() && self.server_name.is_empty());
        if key_pair.is_none() && !named && self.insecure_transport && !self.skip_verify {
            return Ok(None);
        }
        Ok(Some(tls::ClientOptions {
            trusted_ca_file: file(&self.cacert),
            key_pair,
            server_name: Some(self.server_name.clone()).filter(|name| !name.is_empty()),
            insecure_skip_verify: self.skip_verify,
            ..tls::ClientOptions::default()
        }))
    }
}

/// The endpoints: of SRV records when there is a domain to ask, else of `--endpoints`.
fn endpoints(flags: &Flags) -> Result<Vec<String>, Failure> {
    let domain = flags.text("discovery-srv");
    if !domain.is_empty() {
        let mut found = look_up(domain, flags.text("discovery-srv-name"))?;
        if !flags.bool("insecure-discovery") {
            found.retain(|endpoint| {
                let secure = !endpoint.starts_with("http://");
                if !secure {
                    eprintln!("ignoring discovered insecure endpoint {}", quote(endpoint));
                }
                secure
            });
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(flags.list("endpoints").iter().map(|text| text.trim().to_owned()).collect())
}

/// Asks the name servers of the system.
fn look_up(domain: &str, name: &str) -> Result<Vec<String>, Failure> {
    let failed = |error: String| Failure::new(Code::Error, error);
    let resolver = Resolver::of_system().map_err(|error| failed(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    runtime.block_on(discovery::endpoints(&resolver, domain, name)).map_err(failed)
}

fn credentials(flags: &Flags) -> Result<Option<Credentials>, Failure> {
    let token = flags.text("auth-jwt-token");
    if !token.is_empty() {
        return Ok(Some(Credentials::Token(token.to_owned())));
    }
    password(flags.text("user"), flags.text("password"), "Password: ")
}

/// Credentials from a user flag and a password flag; asks when neither has the password.
pub(crate) fn password(
    user: &str,
    password: &str,
    question: &str,
) -> Result<Option<Credentials>, Failure> {
    if user.is_empty() {
        return Ok(None);
    }
    let (name, password) = match user.split_once(':') {
        _ if !password.is_empty() => (user, password.to_owned()),
        Some((name, password)) => (name, password.to_owned()),
        None => {
            let answer = prompt::password(question);
            (user, answer.map_err(|error| Failure::new(Code::Error, error))?)
        }
    };
    Ok(Some(Credentials::Password { name: name.to_owned(), password }))
}

/// Sets flags from the environment; a variable beside its flag ends the process, one that no flag
/// has is warned of. A malformed value is passed over.
pub(crate) fn apply_environment(flags: &mut Flags, watch: bool) -> Result<(), Failure> {
    let mut used = Vec::new();
    let mut shadowed = Vec::new();
    for (flag, set) in flags.inherited() {
        let variable = variable(flag.name);
        let value = std::env::var_os(&variable).unwrap_or_default();
        if set {
            shadowed.push(variable);
        } else if !value.is_empty() {
            // What is wrong with a value is not told, as in etcdctl.
            let _ = flags.set(flag, &value.to_string_lossy());
            used.push(variable);
        }
    }
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let watched = watch && WATCH_VARIABLES.contains(&name.as_ref()) && !value.is_empty();
        if watched || used.iter().any(|used| *used == name) {
            continue;
        }
        if shadowed.iter().any(|shadowed| *shadowed == name) {
            let text = "conflicting environment variable is shadowed by corresponding \
                        command-line flag (either unset environment variable or disable flag))";
            log::line("fatal", text, &[("environment-variable", &name)]);
            return Err(Failure::silent(1));
        }
        if name.starts_with(PREFIX) {
            let both = format!("{name}={}", value.to_string_lossy());
            let fields = [("environment-variable", both.as_str())];
            log::line("warn", "unrecognized environment variable", &fields);
        }
    }
    Ok(())
}

/// The environment variable of a flag.
pub(crate) fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.to_uppercase().replace('-', "_"))
}
