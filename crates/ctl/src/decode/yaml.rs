//! Writes YAML as Kubernetes' tools do: block style, lists at the indent of their key.
//!
//! What is written reads back as the same value (YAML 1.1 and 1.2), and has no character that a
//! terminal would act upon.

use std::fmt::Write;

use super::{
    node::Node,
    paint::Paint,
    text::{is_printable, is_shown},
};

/// A document, with a last line feed.
pub(super) fn write(node: &Node, paint: Paint) -> String {
    let mut out = Writer { out: String::new(), paint };
    match node {
        Node::Map(members) if !members.is_empty() => out.map(members, 0, false),
        Node::List(list) if !list.is_empty() => out.list(list, 0, false),
        other => out.scalar(other, 0),
    }
    out.out
}

struct Writer {
    out: String,
    paint: Paint,
}

impl Writer {
    fn indent(&mut self, indent: usize) {
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    /// `inline`: the first member goes on the line that was begun.
    fn map(&mut self, members: &[(String, Node)], indent: usize, mut inline: bool) {
        for (name, value) in members {
            if !std::mem::take(&mut inline) {
                self.indent(indent);
            }
            let name = if is_plain(name) { name.clone() } else { quoted(name) };
            self.out.push_str(&self.paint.name(&name));
            self.out.push(':');
            match value {
                Node::Map(members) if !members.is_empty() => {
                    self.out.push('\n');
                    self.map(members, indent + 2, false);
                }
                Node::List(list) if !list.is_empty() => {
                    self.out.push('\n');
                    self.list(list, indent, false);
                }
                value => {
                    self.out.push(' ');
                    self.scalar(value, indent);
                }
            }
        }
    }

    fn list(&mut self, list: &[Node], indent: usize, mut inline: bool) {
        for item in list {
            if !std::mem::take(&mut inline) {
                self.indent(indent);
            }
            self.out.push_str("- ");
            match item {
                Node::Map(members) if !members.is_empty() => self.map(members, indent + 2, true),
                Node::List(list) if !list.is_empty() => self.list(list, indent + 2, true),
                value => self.scalar(value, indent),
            }
        }
    }

    /// A value on the line that was begun, and the line's end.
    fn scalar(&mut self, node: &Node, indent: usize) {
        let text = match node {
            Node::Null => "null".to_owned(),
            Node::Bool(value) => value.to_string(),
            Node::Int(value) => value.to_string(),
            Node::Uint(value) => value.to_string(),
            Node::Float(value) => float(*value),
            Node::Map(_) => "{}".to_owned(),
            Node::List(_) => "[]".to_owned(),
            Node::Text(text) if is_plain(text) => text.clone(),
            Node::Text(text) if is_block(text) => return self.block(text, indent),
            Node::Text(text) => quoted(text),
        };
        self.out.push_str(&text);
        self.out.push('\n');
    }

    /// Lines as they are, below the line that was begun.
    fn block(&mut self, text: &str, indent: usize) {
        let body = text.trim_end_matches('\n');
        self.out.push_str(match text.len() - body.len() {
            0 => "|-\n",
            1 => "|\n",
            _ => "|+\n",
        });
        for line in body.split('\n') {
            if !line.is_empty() {
                self.indent(indent + 2);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n('\n', (text.len() - body.len()).saturating_sub(1)));
    }
}

fn float(value: f64) -> String {
    match value {
        value if value.is_nan() => ".nan".to_owned(),
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        value => format!("{value:?}"),
    }
}

/// Whether a text may be written as lines below its key.
fn is_block(text: &str) -> bool {
    text.trim_end_matches('\n').contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text.chars().all(is_shown)
        // Lines of blanks, and a last line that would be read as less indented.
        && text.lines().all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty())
}

/// Whether a text may be written without quotes, and is then read as the same text.
fn is_plain(text: &str) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let dash =
        first == '-' && text.len() > 1 && !text.starts_with("- ") && !text.starts_with("--- ");
    (dash || !"-?:,[]{}#&*!|>'\"%@`=~".contains(first))
        && text != "---"
        && text != "..."
        && text != "<<"
        && !text.starts_with("... ")
        && text.chars().all(is_printable)
        && !text.starts_with(' ')
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.contains(" #")
        && !is_word(text)
        && !looks_like_number(text)
}

/// Words that are read as truth values or nothing by some reader.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"];
    WORDS.contains(&text.to_lowercase().as_str())
}

/// Numbers in any of YAML's forms, and times; more than those, at the worst.
fn looks_like_number(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    let Some(first) = unsigned.chars().next() else { return true };
    if !first.is_ascii_digit() && first != '.' {
        return false;
    }
    let digits = unsigned.replace('_', "");
    let lower = digits.to_lowercase();
    let prefixed = ["0x", "0o", "0b"].iter().any(|prefix| lower.starts_with(prefix));
    let sexagesimal = lower.chars().all(|c| c.is_ascii_digit() || c == ':' || c == '.')
        && (lower.contains(':') || lower.matches('.').count() <= 1);
    let date = unsigned.len() >= 8
        && unsigned.as_bytes().iter().take(4).all(u8::is_ascii_digit)
        && unsigned.as_bytes().get(4) == Some(&b'-');
    prefixed
        || sexagesimal
        || date
        || [".inf", ".nan"].contains(&&*lower)
        || lower.parse::<f64>().is_ok()
}

/// A text in double quotes, with escapes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let escaped = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
                escaped.expect("a String takes everything");
            }
        }
    }
    out.push('"');
    out
}
