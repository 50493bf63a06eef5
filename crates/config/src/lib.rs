//! The server's configuration, exactly as etcd 3.7.1 takes it, and its log.
//!
//! Flow: [`parse`] reads the command line (`argv`), fills gaps from `ETCD_*` variables (`env`) or
//! takes everything from a file (`file`), checks the whole (`validate`) and settles what depends on
//! the machine (`bootstrap`, `host`). One table (`flags`) describes every flag; `compat` says what
//! this server does about each, and prints that as a page. [`log`]
//! writes etcd's log lines.
//!
//! Invariants: parsing has no effect but reading the file it is told to read; a flag is never
//! ignored without a reason in the table.

mod argv;
mod bootstrap;
mod compat;
mod duration;
mod env;
mod file;
mod flags;
mod gates;
mod goconv;
mod help;
mod host;
pub mod log;
mod parse;
mod settings;
mod url;
mod urls;
mod validate;

pub use bootstrap::{Retention, same_addresses};
pub use compat::{compat_page, compat_rows};
pub use duration::GoDuration;
pub use gates::{FeatureGates, GATES, Gate, Stage};
pub use help::{GIT_SHA, go_arch, go_os};
pub use host::default_host;
pub use log::os_error;
pub use parse::{Exit, Parsed, parse, start};
pub use settings::{
    Config, DEFAULT_NAME, DEFAULT_QUOTA_BYTES, DiscoveryConfig, LogConfig,
    MAX_SUGGESTED_QUOTA_BYTES, TlsConfig, TracingConfig,
};
pub use url::Url;
pub use urls::{UrlList, UrlsMap, parse_urls};
