//! Flags as the command line of 3.4 reads them: Go's `flag` package, after arguments that stand
//! before flags were moved behind them.
//!
//! One or two dashes are the same. A flag of a command that stands behind an argument is found too,
//! unless a switch stands before the argument: what follows a flag is taken for its value when the
//! arguments are moved, switch or not.

use std::{collections::BTreeMap, time::Duration};

use crate::gotext::{duration, number, quote::quote};

/// What a flag holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A switch.
    Bool,
    /// A number.
    Int,
    /// A text.
    Text,
    /// A span of time.
    Duration,
    /// Texts; the flag may be repeated.
    List,
}

/// One flag.
#[derive(Debug)]
pub(super) struct Flag {
    /// Its names, the one to ask for first.
    pub(super) names: &'static [&'static str],
    /// What it holds.
    pub(super) kind: Kind,
    /// Its value when it is not given.
    pub(super) default: &'static str,
    /// What help says its value is.
    pub(super) placeholder: &'static str,
    /// What help says of it.
    pub(super) usage: &'static str,
}

impl Flag {
    pub(super) const fn new(
        names: &'static [&'static str],
        kind: Kind,
        usage: &'static str,
    ) -> Flag {
        let default = match kind {
            Kind::Bool => "false",
            Kind::Int => "0",
            Kind::Text | Kind::List => "",
            Kind::Duration => "0s",
        };
        Flag { names, kind, default, placeholder: "value", usage }
    }

    pub(super) const fn default(mut self, default: &'static str) -> Flag {
        self.default = default;
        self
    }

    pub(super) const fn placeholder(mut self, placeholder: &'static str) -> Flag {
        self.placeholder = placeholder;
        self
    }
}

/// The values of a set of flags.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// By the first name; only what was given.
    given: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static str>,
}

impl Values {
    fn last(&self, name: &str) -> &str {
        let given = self.given.get(name).and_then(|texts| texts.last());
        given.map_or_else(|| self.defaults.get(name).copied().unwrap_or_default(), String::as_str)
    }

    /// The text of a flag.
    pub(super) fn text(&self, name: &str) -> &str {
        self.last(name)
    }

    /// Whether a switch is on.
    pub(super) fn bool(&self, name: &str) -> bool {
        self.last(name) == "true"
    }

    /// A number.
    pub(super) fn int(&self, name: &str) -> i64 {
        self.last(name).parse().expect("numbers are checked when they are set")
    }

    /// A span of time.
    pub(super) fn duration(&self, name: &str) -> Duration {
        duration::parse(self.last(name)).expect("durations are checked when they are set")
    }

    /// All texts of a flag that may be repeated.
    pub(super) fn list(&self, name: &str) -> &[String] {
        self.given.get(name).map_or(&[], Vec::as_slice)
    }
}

/// What came of a command line.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The flags.
    pub(super) values: Values,
    /// What is left.
    pub(super) args: Vec<Vec<u8>>,
    /// How many plain arguments stand before `--`, if it is there.
    pub(super) before_dash: Option<usize>,
    /// Why the line is not understood.
    pub(super) error: Option<String>,
    /// That a flag was given by two of its names.
    pub(super) twice: Option<String>,
}

/// Reads a line whose flags stand before its arguments.
pub(super) fn parse(flags: &'static [Flag], words: &[Vec<u8>]) -> Parsed {
    let mut parsed = Parsed::default();
    parsed.values.defaults = flags.iter().map(|flag| (flag.names[0], flag.default)).collect();
    let mut seen: Vec<&'static str> = Vec::new();
    let mut words = words.iter();
    let mut rest = words.as_slice();
    while let Some(word) = words.next() {
        if word.len() < 2 || word[0] != b'-' {
            break;
        }
        rest = words.as_slice();
        if word == b"--" {
            break;
        }
        match one(flags, word, &mut words) {
            Err(error) => {
                parsed.error = Some(error);
                break;
            }
            Ok((flag, name, value)) => {
                seen.push(name);
                parsed.values.given.entry(flag.names[0]).or_default().push(value);
            }
        }
        rest = words.as_slice();
    }
    parsed.args = rest.to_vec();
    parsed.twice = flags.iter().find_map(|flag| twice(flag, &seen));
    parsed
}

/// Reads a line whose flags may stand behind its arguments.
pub(super) fn parse_reordered(flags: &'static [Flag], words: &[Vec<u8>]) -> Parsed {
    let (words, before_dash) = reorder(flags, words);
    Parsed { before_dash, ..parse(flags, &words) }
}

/// One flag, with the name it was given by and its checked value.
fn one<'w>(
    flags: &'static [Flag],
    word: &[u8],
    rest: &mut std::slice::Iter<'w, Vec<u8>>,
) -> Result<(&'static Flag, &'static str, String), String> {
    let word = String::from_utf8_lossy(word);
    let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(&word);
    if body.is_empty() || body.starts_with(['-', '=']) {
        return Err(format!("bad flag syntax: {word}"));
    }
    let (name, value) = match body.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (body, None),
    };
    let found = flags
        .iter()
        .find_map(|flag| flag.names.iter().find(|own| **own == name).map(|own| (flag, *own)));
    let Some((flag, own)) = found else {
        return Err(format!("flag provided but not defined: -{name}"));
    };
    if flag.kind == Kind::Bool {
        let Some(value) = value else { return Ok((flag, own, "true".to_owned())) };
        let truth = number::parse_bool(&value).map_err(|_| {
            format!("invalid boolean value {} for -{name}: parse error", quote(&value))
        })?;
        return Ok((flag, own, truth.to_string()));
    }
    let value = value.or_else(|| rest.next().map(|w| String::from_utf8_lossy(w).into_owned()));
    let Some(value) = value else { return Err(format!("flag needs an argument: -{name}")) };
    let invalid = |why: &str| format!("invalid value {} for flag -{name}: {why}", quote(&value));
    let value = match flag.kind {
        Kind::Int => match number::parse_int(&value, 0) {
            Ok(number) => number.to_string(),
            Err(why) if why.ends_with("value out of range") => {
                return Err(invalid("value out of range"));
            }
            Err(_) => return Err(invalid("parse error")),
        },
        Kind::Duration if duration::parse(&value).is_err() => return Err(invalid("parse error")),
        _ => value,
    };
    Ok((flag, own, value))
}

fn twice(flag: &Flag, seen: &[&'static str]) -> Option<String> {
    let mut given = flag.names.iter().filter(|name| seen.contains(name));
    let (first, second) = (given.next()?, given.next()?);
    Some(format!("Cannot use two forms of the same flag: {second} {first}"))
}

/// Moves flags, and what may be their values, before arguments; `--` comes to stand before all
/// arguments.
fn reorder(flags: &[Flag], words: &[Vec<u8>]) -> (Vec<Vec<u8>>, Option<usize>) {
    let mut moved: Vec<Vec<u8>> = Vec::new();
    let mut left: Vec<Vec<u8>> = Vec::new();
    let mut before_dash = None;
    let mut may_be_value = false;
    for (at, word) in words.iter().enumerate() {
        let is_flag = is_flag(flags, word);
        if may_be_value && !is_flag {
            may_be_value = false;
            moved.push(word.clone());
        } else if word == b"--" {
            before_dash = Some(left.len());
            left.insert(0, word.clone());
            left.extend_from_slice(&words[at + 1..]);
            break;
        } else if is_flag {
            moved.push(word.clone());
            may_be_value = !word.contains(&b'=');
        } else {
            left.push(word.clone());
        }
    }
    moved.append(&mut left);
    (moved, before_dash)
}

fn is_flag(flags: &[Flag], word: &[u8]) -> bool {
    if word == b"-" || word == b"--" {
        return false;
    }
    let Some(body) = word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-")) else {
        return false;
    };
    let body = body.strip_prefix(b"-").unwrap_or(body);
    let name = body.split(|byte| *byte == b'=').next().unwrap_or_default();
    flags.iter().any(|flag| flag.names.iter().any(|own| own.as_bytes() == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::new(&["sort"], Kind::Bool, ""),
        Flag::new(&["recursive", "r"], Kind::Bool, ""),
        Flag::new(&["ttl"], Kind::Int, ""),
        Flag::new(&["timeout"], Kind::Duration, "").default("2s"),
        Flag::new(&["roles"], Kind::List, ""),
    ];

    fn read(line: &str) -> Parsed {
        let words: Vec<_> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        parse_reordered(FLAGS, &words)
    }

    #[track_caller]
    fn args(line: &str, expected: &[&str]) -> Parsed {
        let parsed = read(line);
        assert_eq!(parsed.error, None);
        let found: Vec<_> = parsed.args.iter().map(|w| String::from_utf8_lossy(w)).collect();
        assert_eq!(found, expected, "{line}");
        parsed
    }

    #[test]
    fn flags_before_and_behind_arguments() {
        let parsed = args("k v --ttl 0x10 -sort", &["k", "v"]);
        assert_eq!(parsed.values.int("ttl"), 16);
        assert!(parsed.values.bool("sort") && !parsed.values.bool("recursive"));
        assert!(args("-r k", &["k"]).values.bool("recursive"));
        // What follows a switch is taken for its value, so the second switch stays an argument.
        assert!(!args("--sort k --recursive", &["k", "--recursive"]).values.bool("recursive"));
        assert_eq!(args("k", &["k"]).values.duration("timeout"), Duration::from_secs(2));
        let parsed = args("u --roles a --roles=b", &["u"]);
        assert_eq!(parsed.values.list("roles"), ["a", "b"]);
    }

    #[test]
    fn words_behind_dashes_are_arguments() {
        assert_eq!(args("k -- -v --sort", &["k", "-v", "--sort"]).before_dash, Some(1));
        assert_eq!(args("-- k", &["k"]).before_dash, Some(0));
        assert_eq!(args("k -5", &["k", "-5"]).before_dash, None);
        args("-", &["-"]);
    }

    #[test]
    fn what_is_not_understood() {
        for (line, error) in [
            ("--nope", "flag provided but not defined: -nope"),
            ("-=x", "bad flag syntax: -=x"),
            ("---sort", "bad flag syntax: ---sort"),
            ("--ttl", "flag needs an argument: -ttl"),
            ("--ttl x", "invalid value \"x\" for flag -ttl: parse error"),
            (
                "--ttl 9223372036854775808",
                "invalid value \"9223372036854775808\" for flag -ttl: value out of range",
            ),
            ("--sort=x", "invalid boolean value \"x\" for -sort: parse error"),
            ("--timeout 5", "invalid value \"5\" for flag -timeout: parse error"),
        ] {
            assert_eq!(read(line).error.as_deref(), Some(error), "{line}");
        }
        let twice = "Cannot use two forms of the same flag: r recursive";
        assert_eq!(read("-r --recursive").twice.as_deref(), Some(twice));
        assert_eq!(read("-r -r").twice, None);
    }
}
