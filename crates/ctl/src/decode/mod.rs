//! Values as people read them: Kubernetes objects and JSON as YAML or JSON, text as it is, other
//! messages by field number, and anything else escaped. Nothing that is shown can move a
//! terminal's cursor or change its state.
//!
//! **Architecture invariant:** any bytes decode to something, in time and memory that grow with
//! their number; nesting is bounded.

mod dump;
pub(crate) mod json;
mod kubernetes;
pub(crate) mod node;
mod object;
pub(crate) mod paint;
pub(crate) mod print;
mod schema;
pub(crate) mod text;
mod wire;
mod yaml;

use api::kv::KeyValue;

use crate::{exit::Failure, gotext::quote::quote};
use node::Node;
use paint::Paint;

/// How values are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// For people.
    Yaml,
    /// For programs.
    Json,
}

impl Style {
    /// The style of this name.
    pub(crate) fn named(name: &str) -> Result<Style, Failure> {
        match name {
            "yaml" => Ok(Style::Yaml),
            "json" => Ok(Style::Json),
            other => {
                let text = format!("unknown decoding {}: yaml or json", quote(other));
                Err(Failure::bad_feature(text))
            }
        }
    }
}

/// What is left out of a decoded value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Show {
    /// The values of secrets.
    pub(crate) secrets: bool,
    /// The record of who set which field of an object.
    pub(crate) managed_fields: bool,
}

/// A value, understood as far as possible.
#[derive(Debug, PartialEq)]
pub(crate) struct Decoded {
    /// What should be said before it.
    note: Option<String>,
    body: Body,
}

#[derive(Debug, PartialEq)]
enum Body {
    /// An object.
    Tree(Node),
    /// Text that can be shown as it is.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

/// Decodes a value.
pub(crate) fn decode(value: &[u8], show: Show) -> Decoded {
    let (mut node, mut note) = if let Some(object) = kubernetes::enveloped(value, 0) {
        (object.node, object.note)
    } else if let Some(note) = kubernetes::encrypted(value) {
        return Decoded { note: Some(note), body: Body::Text(String::new()) };
    } else if let Some(node) = object_of_json(value) {
        (node, None)
    } else if text::is_text(value) {
        let text = String::from_utf8_lossy(value).into_owned();
        return Decoded { note: None, body: Body::Text(text) };
    } else if wire::is_message(value) {
        (dump::message(value, 0), Some("a protobuf message: fields by number".to_owned()))
    } else {
        return Decoded { note: None, body: Body::Bytes(value.to_vec()) };
    };
    if kubernetes::is_object(&node) {
        if !show.secrets {
            kubernetes::hide_secret(&mut node);
        }
        if !show.managed_fields {
            kubernetes::drop_managed_fields(&mut node);
        }
    } else if note.is_none() && value.starts_with(b"k8s\0") {
        note = Some("an object without a type".to_owned());
    }
    Decoded { note, body: Body::Tree(node) }
}

/// A JSON document that has members; a lone number or text is text.
fn object_of_json(value: &[u8]) -> Option<Node> {
    let first = value.iter().find(|byte| !byte.is_ascii_whitespace());
    if !first.is_some_and(|byte| b"{[".contains(byte)) {
        return None;
    }
    json::read(value)
}

impl Decoded {
    /// The value on lines of its own, each with its end.
    pub(crate) fn render(&self, style: Style, paint: Paint) -> String {
        let mut out = match style {
            Style::Yaml => self.yaml(paint),
            Style::Json => json::write(&self.node(), paint),
        };
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }

    fn yaml(&self, paint: Paint) -> String {
        let mut out = String::new();
        if let Some(note) = &self.note {
            out.push_str(&paint.faint(&format!("# {}", text::key(note.as_bytes()))));
            out.push('\n');
        }
        match &self.body {
            Body::Tree(node) => out.push_str(&yaml::write(node, paint)),
            Body::Text(text) => out.push_str(text),
            Body::Bytes(bytes) => out.push_str(&quote(bytes)),
        }
        out
    }

    /// The value as a tree.
    fn node(&self) -> Node {
        match &self.body {
            Body::Tree(node) => node.clone(),
            Body::Text(_) if self.note.is_some() => {
                Node::text(self.note.clone().unwrap_or_default())
            }
            Body::Text(text) => Node::text(text.as_str()),
            Body::Bytes(bytes) => {
                Node::Map(vec![("base64".to_owned(), Node::text(text::base64(bytes)))])
            }
        }
    }
}

/// A decoded value as a tree.
pub(crate) fn value_node(value: &[u8], show: Show) -> Node {
    decode(value, show).node()
}

/// A key with its decoded value on one line of JSON.
pub(crate) fn json_line(kv: &KeyValue, show: Show) -> String {
    let mut members = vec![match std::str::from_utf8(&kv.key) {
        Ok(key) => ("key".to_owned(), Node::text(key)),
        Err(_) => ("key_base64".to_owned(), Node::text(text::base64(&kv.key))),
    }];
    members.extend(
        [
            ("create_revision", kv.create_revision),
            ("mod_revision", kv.mod_revision),
            ("version", kv.version),
            ("lease", kv.lease),
        ]
        .map(|(name, number)| (name.to_owned(), Node::Int(number))),
    );
    members.push(("value".to_owned(), decode(&kv.value, show).node()));
    json::write_line(&Node::Map(members))
}

#[cfg(test)]
mod tests;
