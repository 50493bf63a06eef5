//! The configuration file (`--config-file`): YAML, of which JSON is a part.
//!
//! Most keys are flags' names with values of the flag's Go type; durations are whole nanoseconds
//! and lists of URLs one text. Unknown keys are passed over. When a file is given, neither other
//! flags nor the environment count.
//!
//! Source: etcd's file keys, and the errors of Go's JSON decoder, which reads the file after it was
//! turned from YAML into JSON: keys in the order of their bytes, the first error wins.

mod fields;
mod node;

use std::collections::BTreeSet;

use crate::duration::GoDuration;
use crate::flags::Kind;
use crate::settings::Config;
use crate::urls::{UrlList, parse_urls};
use fields::{FIELDS, Field, flat};
use node::Node;

/// Why a file was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileError {
    /// An error that is logged as a failure to verify flags.
    Invalid(String),
    /// A text for stderr and an exit status: what etcd says outside its log.
    Exit(i32, String),
}

/// Reads a file's text into the configuration. Returns the keys that it has.
pub(crate) fn read(text: &str, config: &mut Config) -> Result<BTreeSet<String>, FileError> {
    let invalid = |text: String| FileError::Invalid(text);
    let root = Node::parse(text)
        .map_err(|e| invalid(format!("error converting YAML to JSON: yaml: {e}")))?;
    let mut decoder = Decoder { config, error: None, urls: Vec::new(), gates: None };
    match &root {
        Node::Null => {}
        Node::Map(_) => decoder.map("", &root),
        other => {
            let kind = other.json_kind();
            decoder.fail(format!("cannot unmarshal {kind} into Go value of type embed.configYAML"));
        }
    }
    let Decoder { error, urls, gates, .. } = decoder;
    if let Some(error) = error {
        let text = format!("error unmarshaling JSON: while decoding JSON: json: {error}");
        return Err(invalid(text));
    }
    if let Some(gates) = gates.filter(|text| !text.is_empty()) {
        config.feature_gates.set(&gates).map_err(FileError::Invalid)?;
    }
    // An empty section is no map; etcd is strict about this one alone.
    let peer = root.entries().iter().find(|(key, _)| key == "peer-transport-security");
    if peer.is_some_and(|(_, node)| !matches!(node, Node::Map(_))) {
        return Err(invalid("invalid peer-transport-security".to_string()));
    }
    set_urls(&urls, config)?;
    finish(config);
    Ok(root.entries().iter().map(|(key, _)| key.clone()).collect())
}

/// A list of URLs as the file gives it: its key, its field, its text.
type UrlText = (&'static str, fn(&mut Config) -> &mut UrlList, String);

/// The lists of URLs, read in etcd's order, with the names that its messages give them.
const URL_KEYS: [(&str, &str); 6] = [
    ("listen-peer-urls", "listen-peer-urls"),
    ("listen-client-urls", "listen-client-urls"),
    ("listen-client-http-urls", "listen-client-http-urls"),
    ("initial-advertise-peer-urls", "initial-advertise-peer-urls"),
    ("advertise-client-urls", "advertise-peer-urls"),
    ("listen-metrics-urls", "listen-metrics-urls"),
];

fn set_urls(urls: &[UrlText], config: &mut Config) -> Result<(), FileError> {
    let given = |key: &'static str| {
        urls.iter().filter(move |(name, _, text)| *name == key && !text.is_empty())
    };
    for (key, said) in URL_KEYS {
        for (_, field, text) in given(key) {
            let list = parse_urls(text.split(',')).map_err(|error| {
                let text = format!("unexpected error setting up {said}: {error}\n");
                FileError::Exit(1, text)
            })?;
            *field(config) = UrlList::of(list);
        }
    }
    for (_, field, text) in given("cors") {
        let mut origins = UrlList::default();
        origins.set(text, "*").map_err(|error| {
            let text = format!("panic: new UniqueURLs should never fail: {error}\n");
            FileError::Exit(2, text)
        })?;
        *field(config) = origins;
    }
    Ok(())
}

fn finish(config: &mut Config) {
    let discovered = !config.discovery.srv.is_empty() || !config.discovery.endpoints.is_empty();
    if discovered && config.initial_cluster == Config::default().initial_cluster {
        config.initial_cluster.clear();
    }
    if config.initial_cluster_state.is_empty() {
        config.initial_cluster_state = "new".to_string();
    }
    if config.self_signed_cert_validity == 0 {
        config.self_signed_cert_validity = 1;
    }
}

/// Walks the file's tree and fills the configuration; keeps the first error.
struct Decoder<'a> {
    config: &'a mut Config,
    error: Option<String>,
    urls: Vec<UrlText>,
    gates: Option<String>,
}

impl Decoder<'_> {
    fn fail(&mut self, error: String) {
        self.error.get_or_insert(error);
    }

    /// Decodes the entries of a map that stands at `prefix`.
    fn map(&mut self, prefix: &str, node: &Node) {
        let mut entries: Vec<_> = node.entries().iter().collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, value) in entries.into_iter().filter(|(_, value)| *value != Node::Null) {
            self.entry(prefix, key, value);
        }
    }

    fn entry(&mut self, prefix: &str, key: &str, value: &Node) {
        let path = if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") };
        let named = FIELDS.iter().find(|field| field.path == path).copied();
        let named = named.or_else(|| flat(&path));
        let named = named.or_else(|| {
            FIELDS.iter().find(|field| field.path.eq_ignore_ascii_case(&path)).copied()
        });
        // Go's decoder takes a key in any case where none fits exactly.
        let Some(field) = named.or_else(|| flat(&path.to_ascii_lowercase())) else { return };
        match (field.kind, value) {
            (None, Node::Map(_)) => self.map(field.path, value),
            (None, other) => self.mismatch(&field, other.json_kind(), field.go_type),
            (Some(kind), value) => self.value(&field, kind, value),
        }
    }

    fn mismatch(&mut self, field: &Field, json: &str, go_type: &str) {
        let (structure, path) = (field.structure, field.path);
        let place = format!("Go struct field {structure}.{path} of type {go_type}");
        self.fail(format!("cannot unmarshal {json} into {place}"));
    }

    fn value(&mut self, field: &Field, kind: Kind, node: &Node) {
        match kind {
            Kind::Bool(target) => match node.as_bool() {
                Some(on) => *target(self.config) = on,
                None => self.mismatch(field, node.json_kind(), "bool"),
            },
            Kind::Int(go_type, target) => {
                if let Some(number) = self.integer(field, node, go_type, i64::MIN, i64::MAX) {
                    *target(self.config) = number;
                }
            }
            Kind::Uint(go_type, target) => {
                if let Some(number) = self.unsigned(field, node, go_type, u64::MAX) {
                    *target(self.config) = number;
                }
            }
            Kind::Uint32(target) => {
                let number = self.unsigned(field, node, "uint32", u64::from(u32::MAX));
                if let Some(number) = number {
                    *target(self.config) = u32::try_from(number).expect("checked by the limit");
                }
            }
            Kind::Duration(target) => {
                let nanos = self.integer(field, node, "time.Duration", i64::MIN, i64::MAX);
                if let Some(nanos) = nanos {
                    *target(self.config) = GoDuration::from_nanos(nanos);
                }
            }
            Kind::Words(target) | Kind::UniqueWords(target) => {
                if field.one_text {
                    self.joined_words(field, kind, node);
                } else if let Some(words) = self.words(field, node) {
                    *target(self.config) = words;
                }
            }
            Kind::Text(target) | Kind::Choice(target, _) => {
                if let Some(text) = self.text(field, node) {
                    *target(self.config) = text;
                }
            }
            Kind::Urls(target, _) => {
                if let Some(text) = self.text(field, node) {
                    self.urls.push((field.path, target, text));
                }
            }
            Kind::Gates(_) => self.gates = self.text(field, node),
            // Only its type matters: the value is forced.
            Kind::Choices(..) => {
                if !matches!(node, Node::Text(_)) {
                    self.mismatch(field, node.json_kind(), "config.V2DeprecationEnum");
                }
            }
            Kind::Ignored | Kind::OlderName(_) | Kind::OlderGate(_) => {
                unreachable!("fields::flat leaves older names out")
            }
        }
    }

    /// A list that the file gives as one text with commas.
    fn joined_words(&mut self, field: &Field, kind: Kind, node: &Node) {
        let (Kind::Words(target) | Kind::UniqueWords(target)) = kind else { return };
        let Some(text) = self.text(field, node).filter(|text| !text.is_empty()) else { return };
        let words: BTreeSet<&str> = text.split(',').collect();
        *target(self.config) = words.into_iter().map(str::to_string).collect();
    }

    fn text(&mut self, field: &Field, node: &Node) -> Option<String> {
        let Node::Text(text) = node else {
            self.mismatch(field, node.json_kind(), "string");
            return None;
        };
        Some(text.clone())
    }

    fn words(&mut self, field: &Field, node: &Node) -> Option<Vec<String>> {
        let Node::List(items) = node else {
            self.mismatch(field, node.json_kind(), "[]string");
            return None;
        };
        let mut words = Vec::new();
        for item in items {
            match item {
                Node::Null => words.push(String::new()),
                Node::Text(word) => words.push(word.clone()),
                other => self.mismatch(field, other.json_kind(), "string"),
            }
        }
        Some(words)
    }

    fn integer(
        &mut self,
        field: &Field,
        node: &Node,
        go_type: &str,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        let number = self.number(field, node, go_type, i128::from(min), i128::from(max))?;
        Some(i64::try_from(number).expect("checked by the limits"))
    }

    fn unsigned(&mut self, field: &Field, node: &Node, go_type: &str, max: u64) -> Option<u64> {
        let number = self.number(field, node, go_type, 0, i128::from(max))?;
        Some(u64::try_from(number).expect("checked by the limits"))
    }

    fn number(
        &mut self,
        field: &Field,
        node: &Node,
        go_type: &str,
        min: i128,
        max: i128,
    ) -> Option<i128> {
        if !matches!(node, Node::Integer(_) | Node::Float(_)) {
            self.mismatch(field, node.json_kind(), go_type);
            return None;
        }
        let number = node.as_integer().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.mismatch(field, &format!("number {}", node.number_text()), go_type);
        }
        number
    }
}

#[cfg(test)]
mod tests;
