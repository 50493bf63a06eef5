//! What a Kubernetes API server stores: objects in an envelope, as JSON, or encrypted.
//!
//! The envelope is the four bytes `k8s\0` and a message with the object's type, its bytes, and how
//! those are encoded.

use super::{
    dump, json,
    node::{Node, sorted},
    object::{members, part, text},
    schema::Schema,
    wire::is_message,
};

/// What the envelope begins with.
const MAGIC: &[u8] = b"k8s\0";
/// What encrypted values begin with: then provider, version and key name, each followed by `:`.
const ENCRYPTED: &[u8] = b"k8s:enc:";
/// An annotation that repeats a whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A value in the envelope.
pub(super) struct Enveloped {
    /// The object.
    pub(super) node: Node,
    /// What should be said about it.
    pub(super) note: Option<String>,
}

/// Opens the envelope; `None` when there is none.
pub(super) fn enveloped(value: &[u8], depth: usize) -> Option<Enveloped> {
    let message = value.strip_prefix(MAGIC)?;
    let type_meta = part(message, 1).unwrap_or_default();
    let raw = part(message, 2).unwrap_or_default();
    let word = |number| part(type_meta, number).map(text).unwrap_or_default();
    let (api_version, kind) = (word(1), word(2));
    let encoding = part(message, 3).map(text).unwrap_or_default();
    let content = part(message, 4).map(text).unwrap_or_default();
    let mut all = Vec::new();
    for (name, value) in [("apiVersion", &api_version), ("kind", &kind)] {
        if !value.is_empty() {
            all.push((name.to_owned(), Node::text(value.as_str())));
        }
    }
    let plain = encoding.is_empty() && (content.is_empty() || content.ends_with(".protobuf"));
    if !is_message(message) {
        let node = dump::message(message, depth);
        return Some(Enveloped { node, note: Some("a broken Kubernetes envelope".to_owned()) });
    }
    if !plain {
        if encoding.is_empty()
            && let Some(node) = json::read(raw)
        {
            return Some(Enveloped { node, note: None });
        }
        let node = dump::message(message, depth);
        let note = format!("content type {content:?}, encoding {encoding:?}: not decoded");
        return Some(Enveloped { node, note: Some(note) });
    }
    let Some(message) = Schema::built_in().object(&api_version, &kind) else {
        if let Node::Map(fields) = dump::message(raw, depth) {
            all.extend(fields);
        }
        let note = format!("{api_version} {kind} is not known: fields by number");
        return Some(Enveloped { node: Node::Map(all), note: Some(note) });
    };
    all.extend(members(message, raw, depth));
    Some(Enveloped { node: sorted(all), note: None })
}

/// An object within an object: in the envelope, as JSON, or something else.
pub(super) fn extension(bytes: &[u8], depth: usize) -> Node {
    if let Some(Enveloped { node, .. }) = enveloped(bytes, depth) {
        return node;
    }
    match json::read(bytes) {
        Some(node) => node,
        None if is_message(bytes) => dump::message(bytes, depth),
        None => Node::Text(text(bytes)),
    }
}

/// What can be said of an encrypted value.
pub(super) fn encrypted(value: &[u8]) -> Option<String> {
    let rest = value.strip_prefix(ENCRYPTED)?;
    let mut words = rest.splitn(4, |byte| *byte == b':');
    let mut word = || words.next().map(|word| super::text::key(word).into_owned());
    let (provider, version, key) = (word()?, word()?, word()?);
    let left = words.next().map_or(0, <[u8]>::len);
    Some(format!("encrypted by {provider} {version}, key {key}: {left} bytes"))
}

/// Whether this is an object of Kubernetes.
pub(super) fn is_object(node: &Node) -> bool {
    ["apiVersion", "kind"].iter().all(|name| node.get(name).is_some_and(|n| n.as_text().is_some()))
}

/// Takes the values out of a secret; their sizes stay.
pub(super) fn hide_secret(node: &mut Node) {
    if node.get("kind").and_then(Node::as_text) != Some("Secret") {
        return;
    }
    for (name, encoded) in [("data", true), ("stringData", false)] {
        let Some(Node::Map(entries)) = node.get_mut(name) else { continue };
        for (_, value) in entries {
            let size = match value.as_text() {
                Some(text) if encoded => decoded_length(text),
                Some(text) => text.len(),
                None => 0,
            };
            *value = Node::text(format!("(hidden, {size} bytes)"));
        }
    }
    let annotations = node.get_mut("metadata").and_then(|meta| meta.get_mut("annotations"));
    if let Some(copy) = annotations.and_then(|all| all.get_mut(LAST_APPLIED)) {
        *copy = Node::text("(hidden)");
    }
}

/// The number of bytes that a text in base 64 stands for.
fn decoded_length(text: &str) -> usize {
    text.trim_end_matches('=').len() * 3 / 4
}

/// Drops the record of who set which field.
pub(super) fn drop_managed_fields(node: &mut Node) {
    if let Some(Node::Map(members)) = node.get_mut("metadata") {
        members.retain(|(name, _)| name != "managedFields");
    }
}
