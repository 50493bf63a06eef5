//! TLS towards clients and towards the cluster.

use std::path::{Path, PathBuf};

use tls::{Acceptor, ClientOptions, Connector, ServerOptions, self_signed};

use super::options::{Files, Options};
use crate::{Failure, hosts};

/// TLS towards clients.
pub(crate) struct Side {
    /// What accepts their connections.
    pub(crate) acceptor: Acceptor,
    /// What the proxy connects to itself with.
    pub(crate) to_self: Option<Connector>,
}

impl Side {
    /// Reads the files, or makes the certificate of `--auto-tls`.
    pub(crate) fn open(options: &Options) -> Result<Side, Failure> {
        let files = match options.to_clients.is_empty() && options.auto_tls {
            true => &made(options)?,
            false => &options.to_clients,
        };
        if files.is_empty() {
            return Ok(Side { acceptor: Acceptor::plain(), to_self: None });
        }
        let Some((cert, key)) = pair(files)? else {
            let address = &options.listen_addr;
            return Err(Failure::of(format!(
                "cannot listen on TLS for {address}: KeyFile and CertFile are not presented"
            )));
        };
        tracing::info!(
            "tls-info" = format!(
                "cert = {}, key = {}, trusted-ca = {}, crl-file = {}",
                files.cert,
                files.key,
                files.ca,
                options.crl_file.as_deref().unwrap_or(Path::new("")).display()
            ),
            "gRPC proxy server TLS"
        );
        let acceptor = Acceptor::tls(ServerOptions {
            trusted_ca_file: some(&files.ca),
            crl_file: options.crl_file.clone(),
            policy: options.policy.clone(),
            ..ServerOptions::new(&cert, &key)
        });
        let made = options.to_clients.is_empty();
        let to_self = client::config::connector(ClientOptions {
            trusted_ca_file: if made { Some(cert.clone()) } else { some(&files.ca) },
            key_pair: Some((cert, key)),
            insecure_skip_verify: made,
            ..ClientOptions::default()
        });
        Ok(Side {
            acceptor: acceptor.map_err(Failure::of)?,
            to_self: Some(to_self.map_err(Failure::of)?),
        })
    }
}

/// The certificate that `--auto-tls` makes.
fn made(options: &Options) -> Result<Files, Failure> {
    let host = hosts::split(&options.listen_addr).map_or("", |(host, _)| host).to_owned();
    let folder = options.data_dir.join("fixtures").join("proxy");
    let files = self_signed::open(&folder, &[host], options.validity_years).map_err(Failure::of)?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    Ok(Files { cert: text(files.cert), key: text(files.key), ca: String::new() })
}

/// What connects to the members, if any flag asks for TLS.
pub(crate) fn to_cluster(options: &Options) -> Result<Option<Connector>, Failure> {
    let files = &options.to_cluster;
    if files.is_empty() && !options.insecure_skip_verify {
        return Ok(None);
    }
    let connector = client::config::connector(client_options(options)?).map_err(Failure::of)?;
    if options.insecure_skip_verify {
        tracing::warn!(
            "--insecure-skip-tls-verify was given, this grpc proxy process skips authentication \
             of etcd server TLS certificates. This option should be enabled only for testing \
             purposes."
        );
    }
    Ok(Some(connector))
}

/// What asks members for their metrics.
pub(crate) fn to_metrics(options: &Options) -> Result<Connector, Failure> {
    let files = &options.to_cluster;
    let plain = files.ca.is_empty() || files.cert.is_empty() || files.key.is_empty();
    if plain && !options.insecure_skip_verify {
        return Ok(Connector::plain(&ClientOptions::default()));
    }
    let of_http = ClientOptions { protocols: vec![tls::HTTP1], ..client_options(options)? };
    Connector::new(of_http).map_err(Failure::of)
}

fn client_options(options: &Options) -> Result<ClientOptions, Failure> {
    let files = &options.to_cluster;
    let key_pair = pair(files)?;
    // The common name would be the user of every client of this proxy.
    if let Some((cert, _)) = &key_pair {
        let name = tls::common_name(cert).map_err(Failure::of)?;
        if !name.is_empty() {
            return Err(Failure::of(format!(
                "cert has non empty Common Name ({name}): {}",
                files.cert
            )));
        }
    }
    Ok(ClientOptions {
        trusted_ca_file: some(&files.ca),
        key_pair,
        insecure_skip_verify: options.insecure_skip_verify,
        ..ClientOptions::default()
    })
}

/// Certificate and key, of which none or both are given.
fn pair(files: &Files) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
    match (files.cert.is_empty(), files.key.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(((&files.cert).into(), (&files.key).into()))),
        _ => Err(Failure::of(format!(
            "KeyFile and CertFile must both be present[key: {}, cert: {}]",
            files.key, files.cert
        ))),
    }
}

fn some(path: &str) -> Option<PathBuf> {
    (!path.is_empty()).then(|| path.into())
}
