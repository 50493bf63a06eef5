//! The table of flags: name, type, group, help and what this server does about each one.
//!
//! A row's [`Kind`] points at the field of [`Config`] that the flag fills, so the type of a value,
//! its default and its errors follow from the row. The command line, the environment, the
//! configuration file, `--help` and the compatibility page all read this table.
//!
//! Source: the flags that etcd 3.7.1 registers, and the older names that 3.4 to 3.6 manifests pass.

mod cluster;
mod member;
mod observe;
mod older;
mod security;
mod tuning;

use crate::compat::Status;
use crate::duration::GoDuration;
use crate::gates::FeatureGates;
use crate::goconv::{NumberError, Quoted, parse_bool, parse_int, parse_uint};
use crate::settings::Config;
use crate::urls::UrlList;

type Field<T> = fn(&mut Config) -> &mut T;

/// What a flag's value is, and the field it fills.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Bool(Field<bool>),
    /// Go's `int` and `int64`; the text is the Go type.
    Int(&'static str, Field<i64>),
    /// Go's `uint` and `uint64`; the text is the Go type.
    Uint(&'static str, Field<u64>),
    /// Go's `uint32`, whose errors are those of `strconv`.
    Uint32(Field<u32>),
    Text(Field<String>),
    Duration(Field<GoDuration>),
    /// Comma separated URLs, and one text that is allowed beside them.
    Urls(Field<UrlList>, &'static str),
    /// Comma separated words in the order given.
    Words(Field<Vec<String>>),
    /// Comma separated words, sorted and without duplicates.
    UniqueWords(Field<Vec<String>>),
    /// One of these words.
    Choice(Field<String>, &'static [&'static str]),
    /// Some of these words.
    Choices(Field<Vec<String>>, &'static [&'static str]),
    Gates(Field<FeatureGates>),
    /// Accepted as a boolean without a meaning.
    Ignored,
    /// An older name of another flag.
    OlderName(&'static str),
    /// An older boolean flag that is a feature gate today.
    OlderGate(&'static str),
}

/// The headings of `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// The member and its store.
    Member,
    /// Starting and forming a cluster.
    Clustering,
    /// TLS and who may connect.
    Security,
    /// Tokens of authentication.
    Auth,
    /// Metrics and profiles.
    Monitoring,
    /// The log.
    Logging,
    /// Traces.
    Tracing,
    /// Tuning.
    Features,
    /// What may lose data.
    Unsafe,
    /// About the invocation itself.
    Invocation,
    /// Names of older versions.
    Older,
}

impl Group {
    /// The heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Member => "Member",
            Group::Clustering => "Clustering",
            Group::Security => "Security",
            Group::Auth => "Auth",
            Group::Monitoring => "Profiling and monitoring",
            Group::Logging => "Logging",
            Group::Tracing => "Distributed tracing",
            Group::Features => "Features",
            Group::Unsafe => "Unsafe",
            Group::Invocation => "Invocation",
            Group::Older => "Older names",
        }
    }
}

/// One flag.
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) group: Group,
    pub(crate) help: &'static str,
    pub(crate) status: Status,
}

/// Makes the rows of one group: `"name", kind, status, "help";`.
macro_rules! rows {
    ($group:expr; $($name:literal, $kind:expr, $status:expr, $help:literal;)*) => {
        &[$($crate::flags::Flag {
            name: $name,
            kind: $kind,
            group: $group,
            help: $help,
            status: $status,
        }),*]
    };
}
use rows;

const TABLES: [&[Flag]; 14] = [
    member::MEMBER,
    cluster::CLUSTERING,
    cluster::DISCOVERY,
    security::CLIENT,
    security::PEER,
    security::SHARED,
    security::AUTH,
    observe::MONITORING,
    observe::LOGGING,
    observe::TRACING,
    tuning::FEATURES,
    tuning::UNSAFE,
    tuning::INVOCATION,
    older::OLDER,
];

/// Every flag, in the order of `--help`.
pub(crate) fn all() -> impl Iterator<Item = &'static Flag> {
    TABLES.into_iter().flatten()
}

/// The flag of this name.
pub(crate) fn find(name: &str) -> Option<&'static Flag> {
    all().find(|flag| flag.name == name)
}

/// Whether the flag is about the certificates of one side, which the file has in sections.
pub(crate) fn is_certificate(flag: &Flag) -> bool {
    let tables = [security::CLIENT, security::PEER];
    tables.into_iter().flatten().any(|row| row.name == flag.name)
}

impl Flag {
    /// Whether the flag may stand alone, meaning `true`.
    pub(crate) fn is_bool(&self) -> bool {
        match self.kind {
            Kind::Bool(_) | Kind::Ignored | Kind::OlderGate(_) => true,
            Kind::OlderName(name) => modern(name).is_bool(),
            _ => false,
        }
    }

    /// The names of the flags that this one gives a value to: its own, and the modern one.
    pub(crate) fn names_set(&self) -> Vec<&'static str> {
        match self.kind {
            Kind::OlderName(modern) => vec![self.name, modern],
            _ => vec![self.name],
        }
    }

    /// Gives the flag a value. The error is the one that Go's flag type has for it.
    pub(crate) fn set(&self, config: &mut Config, text: &str) -> Result<(), String> {
        match self.kind {
            Kind::OlderName(name) => modern(name).set(config, text),
            Kind::OlderGate(gate) => {
                let on = parse_bool(text).ok_or("parse error")?;
                config.feature_gates.set(&format!("{gate}={on}"))
            }
            kind => set_kind(kind, config, text),
        }
    }

    /// The value as Go's flag type shows it.
    pub(crate) fn shown(&self, config: &mut Config) -> String {
        match self.kind {
            Kind::Bool(field) => field(config).to_string(),
            Kind::Int(_, field) => field(config).to_string(),
            Kind::Uint(_, field) => field(config).to_string(),
            Kind::Uint32(field) => field(config).to_string(),
            Kind::Text(field) | Kind::Choice(field, _) => field(config).clone(),
            Kind::Duration(field) => field(config).to_string(),
            Kind::Urls(field, _) => field(config).joined(),
            Kind::Words(field) | Kind::UniqueWords(field) | Kind::Choices(field, _) => {
                field(config).join(",")
            }
            Kind::Gates(field) => field(config).joined(),
            Kind::Ignored | Kind::OlderGate(_) => String::new(),
            Kind::OlderName(name) => modern(name).shown(config),
        }
    }
}

fn modern(name: &str) -> &'static Flag {
    find(name).expect("an older name points at a flag of the table")
}

fn set_kind(kind: Kind, config: &mut Config, text: &str) -> Result<(), String> {
    let number = |error: NumberError| error.flag_text().to_string();
    match kind {
        Kind::Bool(field) => *field(config) = parse_bool(text).ok_or("parse error")?,
        Kind::Int(_, field) => *field(config) = parse_int(text).map_err(number)?,
        Kind::Uint(_, field) => *field(config) = parse_uint(text, u64::MAX).map_err(number)?,
        Kind::Uint32(field) => {
            let value = parse_uint(text, u64::from(u32::MAX)).map_err(|error| {
                let (quoted, why) = (Quoted(text), error.strconv_text());
                format!("strconv.ParseUint: parsing {quoted}: {why}")
            })?;
            *field(config) = u32::try_from(value).expect("the limit of parse_uint");
        }
        Kind::Text(field) => *field(config) = text.to_string(),
        Kind::Duration(field) => {
            *field(config) = GoDuration::parse(text).map_err(|_| "parse error".to_string())?;
        }
        Kind::Urls(field, allowed) => field(config).set(text, allowed)?,
        Kind::Words(field) => *field(config) = split(text),
        Kind::UniqueWords(field) => {
            let mut words = split(text);
            words.sort();
            words.dedup();
            *field(config) = words;
        }
        Kind::Choice(field, valid) => {
            if !valid.contains(&text) {
                return Err("invalid value".to_string());
            }
            *field(config) = text.to_string();
        }
        Kind::Choices(field, valid) => {
            for word in text.split(',') {
                if !valid.contains(&word) {
                    return Err(format!("invalid value {}", Quoted(word)));
                }
                field(config).push(word.to_string());
            }
        }
        Kind::Gates(field) => field(config).set(text)?,
        Kind::Ignored => {}
        Kind::OlderName(_) | Kind::OlderGate(_) => unreachable!("Flag::set follows older names"),
    }
    Ok(())
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::to_string).collect()
}

#[cfg(test)]
mod tests;
