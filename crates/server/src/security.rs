//! TLS of one member: what the `--cert-file` and `--peer-cert-file` families of flags mean.
//!
//! As in etcd: a listener with `https` needs a certificate, and one with `http` passes it over; the
//! file of trusted authorities alone makes clients show certificates; the certificate for
//! connections that this member opens is its server's unless it has one of its own; one made at
//! start (`--auto-tls`) stands alone, without authorities, lists and restrictions.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use config::{Config, TlsConfig, Url};
use tls::{Acceptor, Allowed, ClientOptions, Connector, Policy, ServerOptions, self_signed};

/// The certificates of one member's listeners and connections.
pub(crate) struct Security {
    client: Option<Acceptor>,
    metrics: Option<Acceptor>,
    peer: Option<Acceptor>,
    connector: Connector,
}

impl Security {
    /// Reads the files that the configuration names, and makes the certificates that it asks for.
    pub(crate) fn open(config: &Config) -> Result<Security> {
        let policy =
            Policy::new(&config.cipher_suites, &config.tls_min_version, &config.tls_max_version)?;
        let peer = Side::peer(config)?;
        peer.announce("starting with peer TLS", config);
        let peer_urls: Vec<&Url> = config.listen_peer_urls.iter().collect();
        peer.warn_of_ignored(&peer_urls);
        let peer_acceptor =
            peer.acceptor(&peer_urls, &policy, !peer.tls.skip_client_san_verification);

        let client = Side::client(config)?;
        let client_urls: Vec<&Url> =
            config.listen_client_urls.iter().chain(config.listen_client_http_urls.iter()).collect();
        let metrics_urls: Vec<&Url> = config.listen_metrics_urls.iter().collect();
        client.warn_of_ignored(&client_urls);
        client.check_urls(&client_urls, &metrics_urls)?;
        client.announce("starting with client TLS", config);
        // Metrics listeners are made like peer listeners: a certificate must fit its address.
        let checks = !client.tls.skip_client_san_verification;
        Ok(Security {
            client: client.acceptor(&client_urls, &policy, false)?,
            metrics: client.acceptor(&metrics_urls, &policy, checks)?,
            peer: peer_acceptor?,
            connector: peer.connector(config, policy)?,
        })
    }

    /// What accepts connections on a client URL.
    pub(crate) fn client_acceptor(&self, url: &Url) -> Acceptor {
        choose(self.client.as_ref(), url)
    }

    /// What accepts connections on a metrics URL.
    pub(crate) fn metrics_acceptor(&self, url: &Url) -> Acceptor {
        choose(self.metrics.as_ref(), url)
    }

    /// What accepts connections on a peer URL.
    pub(crate) fn peer_acceptor(&self, url: &Url) -> Acceptor {
        choose(self.peer.as_ref(), url)
    }

    /// What opens connections to other members.
    pub(crate) fn peer_connector(&self) -> Connector {
        self.connector.clone()
    }
}

fn choose(acceptor: Option<&Acceptor>, url: &Url) -> Acceptor {
    if url.is_tls() {
        acceptor.expect("there is an acceptor if a URL of the list has TLS").clone()
    } else {
        Acceptor::plain()
    }
}

/// The address that connections to other members come from, if the gate SetMemberLocalAddr asks for
/// one: the first that is advertised to them and is not the loopback's.
fn local_address(config: &Config) -> Option<IpAddr> {
    if !config.feature_gates.enabled("SetMemberLocalAddr") {
        return None;
    }
    let urls = &config.initial_advertise_peer_urls;
    let listed = config::log::strings(&urls.texts());
    tracing::info!(
        "advertise-peer-urls" = %listed,
        "searching for a suitable member local address in AdvertisePeerURLs"
    );
    let addresses = urls.iter().filter_map(|url| url.hostname().parse::<IpAddr>().ok());
    let found = addresses.into_iter().find(|ip| !ip.is_loopback() && !ip.is_unspecified());
    match found {
        Some(address) => {
            tracing::info!("LocalAddr" = %address, "setting member local address");
        }
        None => tracing::warn!(
            "advertise-peer-urls" = %listed,
            "unable to set a member local address due to lack of suitable local addresses"
        ),
    }
    found
}

/// Says in the log why a connection to the `side` listener was refused. One that came and went is
/// not worth a warning.
pub(crate) fn log_refusal(side: &str, remote: Option<SocketAddr>, error: &tls::Error) {
    let remote = remote.map(|address| address.to_string()).unwrap_or_default();
    if error.is_closed() {
        tracing::debug!("remote-addr" = remote, %error, "rejected connection on {side} endpoint");
    } else {
        tracing::warn!("remote-addr" = remote, %error, "rejected connection on {side} endpoint");
    }
}

/// TLS towards clients, or towards other members.
struct Side {
    tls: TlsConfig,
    is_peer: bool,
    /// Whether the certificate was made at start; nobody can verify it.
    self_signed: bool,
}

impl Side {
    fn peer(config: &Config) -> Result<Side> {
        let hosts = config.listen_peer_urls.iter().map(own_host).collect();
        let side = Side { tls: config.peer_tls.clone(), is_peer: true, self_signed: false };
        side.with_made(config, "peer", hosts)
    }

    fn client(config: &Config) -> Result<Side> {
        let urls = config.listen_client_urls.iter().chain(config.listen_client_http_urls.iter());
        let hosts = urls.map(own_host).collect();
        let side = Side { tls: config.client_tls.clone(), is_peer: false, self_signed: false };
        side.with_made(config, "client", hosts)
    }

    /// The side, with a certificate made at start if that is asked for and none is given.
    fn with_made(self, config: &Config, name: &str, hosts: Vec<String>) -> Result<Side> {
        if !self.tls.auto_tls {
            return Ok(self);
        }
        if !self.is_empty() {
            tracing::warn!("ignoring {name} auto TLS since certs given");
            return Ok(self);
        }
        let asks = self.tls.client_cert_auth || !self.tls.trusted_ca_file.is_empty();
        if asks || !self.tls.crl_file.is_empty() {
            tracing::warn!("ignoring {name} certificate authentication: auto TLS is without it");
        }
        let folder = PathBuf::from(&config.data_dir).join("fixtures").join(name);
        let files = self_signed::open(&folder, &hosts, config.self_signed_cert_validity)
            .with_context(|| format!("failed to get {name} self-signed certs"))?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let (cert, key) = (text(files.cert), text(files.key));
        let tls = TlsConfig {
            cert_file: cert.clone(),
            key_file: key.clone(),
            client_cert_file: cert,
            client_key_file: key,
            ..TlsConfig::default()
        };
        Ok(Side { tls, self_signed: true, ..self })
    }

    /// Whether there is no certificate at all.
    fn is_empty(&self) -> bool {
        self.tls.cert_file.is_empty() && self.tls.key_file.is_empty()
    }

    fn announce(&self, message: &str, config: &Config) {
        if self.is_empty() {
            return;
        }
        let t = &self.tls;
        let info = format!(
            "cert = {}, key = {}, client-cert={}, client-key={}, trusted-ca = {}, \
             client-cert-auth = {}, crl-file = {}",
            t.cert_file,
            t.key_file,
            t.client_cert_file,
            t.client_key_file,
            t.trusted_ca_file,
            t.client_cert_auth,
            t.crl_file
        );
        let suites = &config.cipher_suites;
        tracing::info!("tls-info" = %info, "cipher-suites" = ?suites, "{message}");
    }

    /// Warns of URLs without TLS that a certificate was given for.
    fn warn_of_ignored(&self, urls: &[&Url]) {
        let (scheme, flag) = match self.is_peer {
            true => ("HTTP", "--peer-client-cert-auth"),
            false => ("http or unix", "--client-cert-auth"),
        };
        let warn = |url: &Url, text: String| match self.is_peer {
            true => tracing::warn!("peer-url" = %url, "{text}"),
            false => tracing::warn!("client-url" = %url, "{text}"),
        };
        for url in urls.iter().filter(|url| !url.is_tls()) {
            if !self.is_empty() {
                let what = "key and cert files are present; ignoring key and cert files";
                warn(url, format!("scheme is {scheme} while {what}"));
            }
            if self.tls.client_cert_auth {
                let what = "is enabled; ignoring client cert auth for this URL";
                warn(url, format!("scheme is {scheme} while {flag} {what}"));
            }
        }
    }

    /// Refuses URLs with TLS that no certificate was given for.
    fn check_urls(&self, client: &[&Url], metrics: &[&Url]) -> Result<()> {
        if !self.is_empty() {
            return Ok(());
        }
        if let Some(url) = client.iter().find(|url| url.is_tls()) {
            bail!(
                "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} \
                 with HTTPS scheme"
            );
        }
        if metrics.iter().any(|url| url.is_tls()) {
            bail!(
                "client TLS key/cert (--cert-file, --key-file) must be provided for metrics \
                 secure url"
            );
        }
        Ok(())
    }

    /// What accepts connections on those of `urls` that have TLS, if any has.
    fn acceptor(
        &self,
        urls: &[&Url],
        policy: &Policy,
        check_remote_address: bool,
    ) -> Result<Option<Acceptor>> {
        let Some(url) = urls.iter().find(|url| url.is_tls()) else { return Ok(None) };
        if self.is_empty() {
            bail!(
                "cannot listen on TLS for {}: KeyFile and CertFile are not presented",
                url.host()
            );
        }
        self.check_pairs()?;
        let t = &self.tls;
        let protocols = if self.is_peer { vec![tls::HTTP1] } else { vec![tls::HTTP2, tls::HTTP1] };
        let options = ServerOptions {
            trusted_ca_file: path(&t.trusted_ca_file),
            client_cert_auth: t.client_cert_auth,
            crl_file: path(&t.crl_file),
            allowed: self.allowed()?,
            check_remote_address,
            policy: policy.clone(),
            protocols,
            ..ServerOptions::new(&t.cert_file, &t.key_file)
        };
        Ok(Some(Acceptor::tls(options)?))
    }

    /// What opens connections to other members.
    fn connector(&self, config: &Config, policy: Policy) -> Result<Connector> {
        let t = &self.tls;
        let mut options = ClientOptions {
            trusted_ca_file: path(&t.trusted_ca_file),
            insecure_skip_verify: self.self_signed,
            // As etcd's: a second, and as long as an election takes.
            dial_timeout: Duration::from_millis(1_000 + config.election_timeout_ms),
            local_address: local_address(config),
            ..ClientOptions::default()
        };
        if !self.is_empty() {
            self.check_pairs()?;
            let own = (&t.client_cert_file, &t.client_key_file);
            let (cert, key) = if own.0.is_empty() { (&t.cert_file, &t.key_file) } else { own };
            options.key_pair = Some((cert.into(), key.into()));
            options.allowed = self.allowed()?;
            options.policy = policy;
        }
        Ok(Connector::new(options)?)
    }

    /// A certificate goes with its key.
    fn check_pairs(&self) -> Result<()> {
        let t = &self.tls;
        if t.key_file.is_empty() || t.cert_file.is_empty() {
            let (key, cert) = (&t.key_file, &t.cert_file);
            bail!("KeyFile and CertFile must both be present[key: {key}, cert: {cert}]");
        }
        if t.client_key_file.is_empty() != t.client_cert_file.is_empty() {
            bail!(
                "ClientKeyFile and ClientCertFile must both be present or both absent: key: {}, \
                 cert: {}]",
                t.client_key_file,
                t.client_cert_file
            );
        }
        if !t.client_cert_file.is_empty() {
            tls::check_key_pair(t.client_cert_file.as_ref(), t.client_key_file.as_ref())?;
        }
        Ok(())
    }

    fn allowed(&self) -> Result<Allowed> {
        let (names, hosts) = (&self.tls.allowed_cn, &self.tls.allowed_hostname);
        match (names.is_empty(), hosts.is_empty()) {
            (true, true) => Ok(Allowed::All),
            (false, true) => Ok(Allowed::CommonNames(names.clone())),
            (true, false) => Ok(Allowed::Hosts(hosts.clone())),
            (false, false) => Err(anyhow!(
                "AllowedCNs and AllowedHostnames are mutually exclusive (cns={}, hostnames={})",
                quoted(names),
                quoted(hosts)
            )),
        }
    }
}

/// The host that a certificate made at start is for; none for a unix socket.
fn own_host(url: &Url) -> String {
    if url.is_unix() { String::new() } else { url.hostname().to_owned() }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A list as Go's `%q` shows it.
fn quoted(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

#[cfg(test)]
mod tests;
