//! What Kubernetes' messages have in which field: the tables of `tables/*.txt`.
//!
//! A table is a line `@ group/version`, then a line for each message, which indented lines
//! continue: its name, then `name=number:type` for each field, `name` being that of the JSON form.
//! A type is a word below, or a message of the same table, or `group/version.Message`; `[type]` is
//! a list, `{type}` a map from text. `type?` is left out where it is zero. `~number:Message` has no
//! name: its members are those of the message around it.
//!
//! Source: the field numbers of Kubernetes' public API (1.36); lists and options, which are never
//! stored, are left out.

use std::{collections::BTreeMap, sync::LazyLock};

const TABLES: [&str; 23] = [
    include_str!("tables/admissionregistration.txt"),
    include_str!("tables/apiextensions.txt"),
    include_str!("tables/apiregistration.txt"),
    include_str!("tables/apiserverinternal.txt"),
    include_str!("tables/apps.txt"),
    include_str!("tables/autoscaling.txt"),
    include_str!("tables/batch.txt"),
    include_str!("tables/certificates.txt"),
    include_str!("tables/coordination.txt"),
    include_str!("tables/core.txt"),
    include_str!("tables/discovery.txt"),
    include_str!("tables/events.txt"),
    include_str!("tables/extensions.txt"),
    include_str!("tables/flowcontrol.txt"),
    include_str!("tables/meta.txt"),
    include_str!("tables/networking.txt"),
    include_str!("tables/node.txt"),
    include_str!("tables/policy.txt"),
    include_str!("tables/rbac.txt"),
    include_str!("tables/resource.txt"),
    include_str!("tables/scheduling.txt"),
    include_str!("tables/storage.txt"),
    include_str!("tables/storagemigration.txt"),
];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::read(&TABLES));

/// The type of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bytes,
    Bool,
    Int,
    Double,
    /// Seconds and nanoseconds, shown to the second.
    Time,
    /// The same, shown to the microsecond.
    MicroTime,
    /// Nanoseconds.
    Duration,
    /// A number with a unit, kept as text.
    Quantity,
    /// Either of the two.
    IntOrString,
    /// JSON.
    Json,
    /// An object of any kind.
    Extension,
    /// A list in a message of its own.
    Texts,
    /// A JSON schema, or what may stand in its place.
    SchemaOr(Alternative, String),
    /// A message, by its full name.
    Message(String),
}

/// What may stand in the place of a JSON schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alternative {
    /// Whether anything is allowed.
    Bool,
    /// Several schemas.
    Schemas,
    /// Names.
    Texts,
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    /// By text.
    Map,
    /// One message whose members are those of the message around it.
    Inline,
}

/// A field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Its number on the wire.
    pub(super) number: u32,
    /// Its name in JSON.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// Not shown when zero.
    pub(super) optional: bool,
}

/// A message's fields.
#[derive(Debug)]
pub(super) struct Message {
    fields: Vec<Field>,
}

impl Message {
    /// The field of this number.
    pub(super) fn field(&self, number: u32) -> Option<&Field> {
        self.fields.iter().find(|field| field.number == number)
    }
}

/// All tables.
#[derive(Debug)]
pub(super) struct Schema {
    messages: BTreeMap<String, Message>,
}

impl Schema {
    /// The tables that the tool is built with.
    pub(super) fn built_in() -> &'static Schema {
        &SCHEMA
    }

    /// The message of an object: `apps/v1` and `Deployment`.
    pub(super) fn object(&self, api_version: &str, kind: &str) -> Option<&Message> {
        self.message(&format!("{}.{kind}", table_of(api_version)?))
    }

    /// The message of this full name.
    pub(super) fn message(&self, name: &str) -> Option<&Message> {
        self.messages.get(name)
    }

    fn read(tables: &[&'static str]) -> Schema {
        let mut messages = BTreeMap::new();
        let mut table = "";
        let mut current = None;
        for line in tables.iter().flat_map(|text| text.lines()) {
            if let Some(name) = line.strip_prefix("@ ") {
                table = name;
                continue;
            }
            let mut words = line.split_whitespace();
            if !line.starts_with(' ') {
                let name = words.next().expect("tables have no empty lines");
                current = Some(format!("{table}.{name}"));
            }
            let name = current.as_ref().expect("a table begins with a message");
            let message =
                messages.entry(name.clone()).or_insert_with(|| Message { fields: Vec::new() });
            message.fields.extend(words.map(|word| field(table, word)));
        }
        Schema { messages }
    }
}

/// The table of an API version. Groups of others, which have dots, have none.
fn table_of(api_version: &str) -> Option<String> {
    let Some((group, version)) = api_version.split_once('/') else {
        return Some(format!("core/{api_version}"));
    };
    let group = match group {
        "internal.apiserver.k8s.io" => "apiserverinternal",
        group if group.ends_with(".k8s.io") || !group.contains('.') => {
            group.split('.').next().unwrap_or(group)
        }
        _ => return None,
    };
    Some(format!("{group}/{version}"))
}

fn field(table: &str, word: &'static str) -> Field {
    let (head, of) = word.split_once(':').expect("a field has a type");
    let optional = of.ends_with('?');
    let of = of.trim_end_matches('?');
    let (name, number, mut shape) = match head.strip_prefix('~') {
        Some(number) => ("", number, Shape::Inline),
        None => {
            let (name, number) = head.split_once('=').expect("a field has a name and a number");
            (name, number, Shape::One)
        }
    };
    let inner = match of.as_bytes()[0] {
        b'[' => {
            shape = Shape::List;
            &of[1..of.len() - 1]
        }
        b'{' => {
            shape = Shape::Map;
            &of[1..of.len() - 1]
        }
        _ => of,
    };
    let number = number.parse().expect("a field's number is a number");
    Field { number, name, kind: kind(table, inner), shape, optional }
}

fn kind(table: &str, word: &str) -> Kind {
    let schema_or = |alternative| Kind::SchemaOr(alternative, format!("{table}.JSONSchemaProps"));
    match word {
        "str" => Kind::Text,
        "bytes" => Kind::Bytes,
        "bool" => Kind::Bool,
        "int" => Kind::Int,
        "double" => Kind::Double,
        "time" => Kind::Time,
        "microtime" => Kind::MicroTime,
        "duration" => Kind::Duration,
        "quantity" => Kind::Quantity,
        "intorstr" => Kind::IntOrString,
        "raw" => Kind::Json,
        "rawext" => Kind::Extension,
        "strs" => Kind::Texts,
        "orbool" => schema_or(Alternative::Bool),
        "orarray" => schema_or(Alternative::Schemas),
        "orstrings" => schema_or(Alternative::Texts),
        name if name.contains('.') => Kind::Message(name.to_owned()),
        name => Kind::Message(format!("{table}.{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_that_a_field_names_is_there() {
        let schema = Schema::built_in();
        assert!(schema.messages.len() > 900, "{}", schema.messages.len());
        for (name, message) in &schema.messages {
            let mut numbers: Vec<_> = message.fields.iter().map(|field| field.number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), message.fields.len(), "{name}: a number twice");
            for field in &message.fields {
                let target = match &field.kind {
                    Kind::Message(target) | Kind::SchemaOr(_, target) => target,
                    _ => continue,
                };
                assert!(schema.message(target).is_some(), "{name}.{}: no {target}", field.name);
                assert!(field.shape != Shape::Inline || field.name.is_empty());
            }
        }
    }

    #[test]
    fn kinds_by_api_version() {
        let schema = Schema::built_in();
        for (version, kind) in [
            ("v1", "Pod"),
            ("v1", "RangeAllocation"),
            ("apps/v1", "Deployment"),
            ("batch/v1", "CronJob"),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
            ("internal.apiserver.k8s.io/v1alpha1", "StorageVersion"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("apiregistration.k8s.io/v1", "APIService"),
            ("coordination.k8s.io/v1", "Lease"),
            ("discovery.k8s.io/v1", "EndpointSlice"),
            ("storage.k8s.io/v1", "StorageClass"),
            ("policy/v1", "PodDisruptionBudget"),
        ] {
            assert!(schema.object(version, kind).is_some(), "{version} {kind}");
        }
        assert!(schema.object("apps.example.com/v1", "Deployment").is_none());
        assert!(schema.object("v2", "Pod").is_none());
        let pod = schema.message("core/v1.Volume").unwrap();
        assert_eq!(pod.field(2).unwrap().shape, Shape::Inline);
    }
}
