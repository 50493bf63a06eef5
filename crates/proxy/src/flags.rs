//! Command-line flags as etcd's subcommands read them: `--flag value`, `--flag=value`, `--switch`,
//! everything else an argument; and the page that `--help` prints.

use std::collections::BTreeMap;

use config::GoDuration;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Text,
    /// Separated by commas; given again, it grows.
    List,
    Duration,
    Int,
    Uint,
    Uint32,
}

/// One flag.
#[derive(Debug)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

impl Flag {
    /// A flag.
    pub(crate) const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
    ) -> Flag {
        Flag { name, kind, default, help }
    }

    /// Whether the text is a value of this flag; what is wrong, in Go's words.
    fn check(&self, text: &str) -> Result<(), String> {
        let number = |function: &str, fits: bool| {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let signed = function == "ParseInt" || digits.len() == text.len();
            match (is_number && signed, fits) {
                (true, true) => Ok(()),
                (true, false) => {
                    Err(format!("strconv.{function}: parsing {text:?}: value out of range"))
                }
                (false, _) => Err(format!("strconv.{function}: parsing {text:?}: invalid syntax")),
            }
        };
        match self.kind {
            Kind::Text | Kind::List => Ok(()),
            Kind::Bool => match boolean(text) {
                Some(_) => Ok(()),
                None => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
            },
            Kind::Duration => GoDuration::parse(text).map(drop),
            Kind::Int => number("ParseInt", text.parse::<i64>().is_ok()),
            Kind::Uint => number("ParseUint", text.parse::<u64>().is_ok()),
            Kind::Uint32 => number("ParseUint", text.parse::<u32>().is_ok()),
        }
    }

    /// The flag and its type on a page of help.
    fn synopsis(&self) -> String {
        let kind = match self.kind {
            Kind::Bool => "",
            Kind::Text => " string",
            Kind::List => " strings",
            Kind::Duration => " duration",
            Kind::Int => " int",
            Kind::Uint => " uint",
            Kind::Uint32 => " uint32",
        };
        format!("--{}{kind}", self.name)
    }

    fn shown_default(&self) -> String {
        match (self.kind, self.default) {
            (_, "" | "0" | "0s" | "false") => String::new(),
            (Kind::Text, text) => format!(" (default {text:?})"),
            (Kind::List, text) => format!(" (default [{text}])"),
            (_, text) => format!(" (default {text})"),
        }
    }
}

/// A truth as Go reads it.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What was given, and what holds where nothing was.
#[derive(Debug)]
pub(crate) struct Values {
    flags: &'static [Flag],
    given: BTreeMap<&'static str, Vec<String>>,
}

/// What the arguments ask for.
#[derive(Debug)]
pub(crate) enum Asked {
    Help,
    Run(Values),
}

/// Reads arguments; an error is in the words of etcd's flag library.
pub(crate) fn parse(flags: &'static [Flag], args: &[String]) -> Result<Asked, String> {
    let mut values = Values { flags, given: BTreeMap::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            break;
        }
        let Some(long) = arg.strip_prefix("--") else {
            match arg.strip_prefix('-').and_then(|rest| rest.chars().next()) {
                None => continue,
                Some('h') => return Ok(Asked::Help),
                Some(letter) => {
                    return Err(format!("unknown shorthand flag: {letter:?} in {arg}"));
                }
            }
        };
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        if name.is_empty() || name.starts_with('-') {
            return Err(format!("bad flag syntax: {arg}"));
        }
        let Some(flag) = flags.iter().find(|flag| flag.name == name) else {
            match name {
                "help" => return Ok(Asked::Help),
                _ => return Err(format!("unknown flag: --{name}")),
            }
        };
        let value = match value {
            Some(value) => value,
            None if flag.kind == Kind::Bool => "true".to_owned(),
            None => {
                let next = args.next().cloned();
                next.ok_or_else(|| format!("flag needs an argument: --{name}"))?
            }
        };
        flag.check(&value)
            .map_err(|why| format!("invalid argument {value:?} for \"--{name}\" flag: {why}"))?;
        let given = values.given.entry(flag.name).or_default();
        match flag.kind {
            Kind::List if value.is_empty() => {}
            Kind::List => given.extend(value.split(',').map(str::to_owned)),
            _ => *given = vec![value],
        }
    }
    Ok(Asked::Run(values))
}

impl Values {
    /// The text of a flag.
    pub(crate) fn text(&self, name: &str) -> String {
        let flag = self.flags.iter().find(|flag| flag.name == name).expect("a flag of the table");
        let given = self.given.get(name).and_then(|values| values.last());
        given.cloned().unwrap_or_else(|| flag.default.to_owned())
    }

    /// The text of a flag, if it is not empty.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// The items of a list.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.given.get(name) {
            Some(items) => items.clone(),
            None => {
                self.text(name).split(',').filter(|i| !i.is_empty()).map(str::to_owned).collect()
            }
        }
    }

    /// A switch.
    pub(crate) fn on(&self, name: &str) -> bool {
        boolean(&self.text(name)).expect("checked when it was read")
    }

    /// A duration.
    pub(crate) fn duration(&self, name: &str) -> GoDuration {
        GoDuration::parse(&self.text(name)).expect("checked when it was read")
    }

    /// A number; one that does not fit becomes the nearest that does.
    pub(crate) fn number(&self, name: &str) -> i64 {
        let text = self.text(name);
        text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX })
    }
}

/// The flags as a page of help lists them, by name.
pub(crate) fn usage(flags: &[Flag]) -> String {
    let mut lines: Vec<(&str, String, String)> = flags
        .iter()
        .map(|flag| {
            let help = format!("{}{}", flag.help, flag.shown_default());
            (flag.name, format!("      {}", flag.synopsis()), help)
        })
        .collect();
    lines.push(("help", "  -h, --help".to_owned(), "this page".to_owned()));
    lines.sort_by_key(|(name, ..)| *name);
    let width = lines.iter().map(|(_, left, _)| left.len()).max().unwrap_or_default();
    lines.iter().map(|(_, left, help)| format!("{left:width$}   {help}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag::new("list", Kind::List, "a:1", "some"),
        Flag::new("wait", Kind::Duration, "1m0s", "how long"),
        Flag::new("on", Kind::Bool, "false", "whether"),
        Flag::new("size", Kind::Int, "7", "how much"),
        Flag::new("count", Kind::Uint32, "0", "how many"),
    ];

    fn read(args: &[&str]) -> Result<Values, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        match parse(FLAGS, &args)? {
            Asked::Run(values) => Ok(values),
            Asked::Help => Err("help".to_owned()),
        }
    }

    #[test]
    fn values_are_given_in_every_form() {
        let values =
            read(&["--list", "b:1,c:1", "--list=d:1", "--on", "rest", "--wait=5s"]).unwrap();
        assert_eq!(values.list("list"), ["b:1", "c:1", "d:1"]);
        assert!(values.on("on"));
        assert_eq!(values.duration("wait"), GoDuration::from_secs(5));
        assert_eq!(values.number("size"), 7);
        assert_eq!(read(&["--list="]).unwrap().list("list"), [""; 0]);
        assert_eq!(read(&[]).unwrap().list("list"), ["a:1"]);
        assert!(!read(&["--on=false"]).unwrap().on("on"));
        assert!(!read(&["--", "--on"]).unwrap().on("on"));
    }

    #[test]
    fn what_is_wrong_is_said_in_etcds_words() {
        for (args, words) in [
            (&["--no"][..], "unknown flag: --no"),
            (&["-x"], "unknown shorthand flag: 'x' in -x"),
            (&["--wait"], "flag needs an argument: --wait"),
            (&["--=1"], "bad flag syntax: --=1"),
            (
                &["--wait=abc"],
                "invalid argument \"abc\" for \"--wait\" flag: time: invalid duration \"abc\"",
            ),
            (
                &["--size=x"],
                "invalid argument \"x\" for \"--size\" flag: strconv.ParseInt: parsing \"x\": \
                 invalid syntax",
            ),
            (
                &["--count=-1"],
                "invalid argument \"-1\" for \"--count\" flag: strconv.ParseUint: parsing \
                 \"-1\": invalid syntax",
            ),
            (
                &["--count=4294967296"],
                "invalid argument \"4294967296\" for \"--count\" flag: strconv.ParseUint: \
                 parsing \"4294967296\": value out of range",
            ),
            (&["-h"], "help"),
        ] {
            assert_eq!(read(args).unwrap_err(), words);
        }
    }

    #[test]
    fn help_lists_flags_by_name_with_what_holds_otherwise() {
        let page = usage(FLAGS);
        let lines: Vec<&str> = page.lines().collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], "      --count uint32    how many");
        assert_eq!(lines[2], "      --list strings    some (default [a:1])");
        assert_eq!(lines[5], "      --wait duration   how long (default 1m0s)");
    }
}
