//! Flags: their tables, and the values that a command line gives them, read as pflag reads them.

use std::time::Duration;

use crate::gotext::{duration, number, quote::quote, words};

/// The type of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// True or false; the flag alone means true.
    Bool,
    /// Text.
    Text,
    /// A signed integer.
    Int,
    /// An integer without a sign.
    Uint,
    /// A duration with units.
    Duration,
    /// A comma-separated list; repeated flags add to it.
    List,
}

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Without dashes.
    pub(crate) name: &'static str,
    /// One letter, when there is one.
    pub(crate) short: Option<char>,
    /// The type of its value.
    pub(crate) kind: Kind,
    /// The default as it would be typed; empty for the zero value.
    pub(crate) default: &'static str,
    /// For the help.
    pub(crate) help: &'static str,
    /// Values to offer where the shell completes; any are allowed.
    pub(crate) hints: &'static [&'static str],
    /// The value of the flag alone, when it may stand without one; a value then follows `=`.
    pub(crate) alone: Option<&'static str>,
}

impl Flag {
    /// A flag whose default is the zero value of its kind.
    pub(crate) const fn new(name: &'static str, kind: Kind, help: &'static str) -> Flag {
        Flag { name, short: None, kind, default: "", help, hints: &[], alone: None }
    }

    /// The flag with a one-letter form.
    pub(crate) const fn short(mut self, letter: char) -> Flag {
        self.short = Some(letter);
        self
    }

    /// The flag with a default.
    pub(crate) const fn default(mut self, value: &'static str) -> Flag {
        self.default = value;
        self
    }

    /// The flag with values to offer.
    pub(crate) const fn hints(mut self, values: &'static [&'static str]) -> Flag {
        self.hints = values;
        self
    }

    /// The flag with a value for when it stands alone.
    pub(crate) const fn alone(mut self, value: &'static str) -> Flag {
        self.alone = Some(value);
        self
    }

    /// Whether no value follows the flag as a word of its own.
    pub(crate) fn stands_alone(&self) -> bool {
        self.value_alone().is_some()
    }

    /// The value of the flag alone.
    pub(super) fn value_alone(&self) -> Option<&'static str> {
        if self.kind == Kind::Bool { Some("true") } else { self.alone }
    }

    /// Reads one value.
    fn read(&self, text: &str) -> Result<Value, String> {
        Ok(match self.kind {
            Kind::Bool => Value::Bool(number::parse_bool(text)?),
            Kind::Text => Value::Text(text.to_owned()),
            Kind::Int => Value::Int(number::parse_int(text, 0)?),
            Kind::Uint => Value::Uint(number::parse_uint(text, 0)?),
            Kind::Duration => Value::Duration(duration::parse(text)?),
            Kind::List => Value::List(words::list(text)),
        })
    }

    /// The value when the flag is not given.
    fn initial(&self) -> Value {
        let zero = match self.kind {
            Kind::Bool => "false",
            Kind::Int | Kind::Uint | Kind::Duration => "0",
            Kind::Text | Kind::List => "",
        };
        let text = if self.default.is_empty() { zero } else { self.default };
        self.read(text).expect("defaults of the tables are well-formed")
    }

    /// The flag as messages name it: `-w, --write-out`.
    fn spelled(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}, --{}", self.name),
            None => format!("--{}", self.name),
        }
    }
}

/// The help flag that every command has.
pub(crate) const HELP: Flag = Flag::new("help", Kind::Bool, "help for the command").short('h');

/// A flag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Bool(bool),
    Text(String),
    Int(i64),
    Uint(u64),
    Duration(Duration),
    List(Vec<String>),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Bool(value) => value.fmt(f),
            Value::Text(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Uint(value) => value.fmt(f),
            Value::Duration(value) => f.write_str(&duration::format(*value)),
            Value::List(value) => write!(f, "[{}]", value.join(",")),
        }
    }
}

/// A flag and what it is set to.
#[derive(Clone, Debug)]
struct Slot {
    flag: &'static Flag,
    value: Value,
    changed: bool,
    inherited: bool,
}

/// The flags that a command knows, with their values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    slots: Vec<Slot>,
}

impl Flags {
    /// Adds flags with their defaults; a name that is already there keeps its first meaning.
    pub(crate) fn add(&mut self, flags: &'static [Flag], inherited: bool) {
        for flag in flags {
            if self.find(flag.name).is_none() {
                let value = flag.initial();
                self.slots.push(Slot { flag, value, changed: false, inherited });
            }
        }
    }

    /// The flag of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Flag> {
        self.slots.iter().find(|slot| slot.flag.name == name).map(|slot| slot.flag)
    }

    /// The flag of this letter.
    pub(crate) fn find_short(&self, short: char) -> Option<&'static Flag> {
        self.slots.iter().find(|slot| slot.flag.short == Some(short)).map(|slot| slot.flag)
    }

    /// Sets a flag; the error is worded for the command line.
    pub(crate) fn set(&mut self, flag: &'static Flag, text: &str) -> Result<(), String> {
        let value = flag.read(text).map_err(|why| {
            format!("invalid argument {} for {} flag: {why}", quote(text), quote(flag.spelled()))
        })?;
        let slot = self.slot_mut(flag.name);
        match (&mut slot.value, value) {
            (Value::List(old), Value::List(new)) if slot.changed => old.extend(new),
            (old, new) => *old = new,
        }
        slot.changed = true;
        Ok(())
    }

    /// Names of the flags that the command has from those above it, sorted, with whether each was
    /// set.
    pub(crate) fn inherited(&self) -> Vec<(&'static Flag, bool)> {
        let mut flags: Vec<_> = self
            .slots
            .iter()
            .filter(|slot| slot.inherited)
            .map(|slot| (slot.flag, slot.changed))
            .collect();
        flags.sort_by_key(|(flag, _)| flag.name);
        flags
    }

    /// Whether the flag was given, on the command line or by the environment.
    pub(crate) fn changed(&self, name: &str) -> bool {
        self.slot(name).changed
    }

    /// The value as Go prints it.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.slot(name).value.to_string()
    }

    /// The value of a [`Kind::Bool`] flag.
    pub(crate) fn bool(&self, name: &str) -> bool {
        match self.slot(name).value {
            Value::Bool(value) => value,
            _ => unreachable!("flag {name} is not of kind Bool"),
        }
    }

    /// The value of a [`Kind::Text`] flag.
    pub(crate) fn text(&self, name: &str) -> &str {
        match &self.slot(name).value {
            Value::Text(value) => value,
            _ => unreachable!("flag {name} is not of kind Text"),
        }
    }

    /// The value of a [`Kind::Int`] flag.
    pub(crate) fn int(&self, name: &str) -> i64 {
        match self.slot(name).value {
            Value::Int(value) => value,
            _ => unreachable!("flag {name} is not of kind Int"),
        }
    }

    /// The value of a [`Kind::Uint`] flag.
    pub(crate) fn uint(&self, name: &str) -> u64 {
        match self.slot(name).value {
            Value::Uint(value) => value,
            _ => unreachable!("flag {name} is not of kind Uint"),
        }
    }

    /// The value of a [`Kind::Duration`] flag.
    pub(crate) fn duration(&self, name: &str) -> Duration {
        match self.slot(name).value {
            Value::Duration(value) => value,
            _ => unreachable!("flag {name} is not of kind Duration"),
        }
    }

    /// The value of a [`Kind::List`] flag.
    pub(crate) fn list(&self, name: &str) -> &[String] {
        match &self.slot(name).value {
            Value::List(value) => value,
            _ => unreachable!("flag {name} is not of kind List"),
        }
    }

    fn slot(&self, name: &str) -> &Slot {
        let slot = self.slots.iter().find(|slot| slot.flag.name == name);
        slot.unwrap_or_else(|| panic!("no table has the flag {name}"))
    }

    fn slot_mut(&mut self, name: &str) -> &mut Slot {
        let slot = self.slots.iter_mut().find(|slot| slot.flag.name == name);
        slot.unwrap_or_else(|| panic!("no table has the flag {name}"))
    }
}
