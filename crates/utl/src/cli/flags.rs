//! Commands and flags as clap takes them, values as Go reads them.

use std::time::Duration;

use clap::{Arg, ArgAction, Command};

/// A command. All take any arguments: what they make of the number is theirs to say.
pub(super) fn command(name: &'static str, usage: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .override_usage(usage)
        .about(about)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .infer_subcommands(true)
        .args_override_self(true)
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::SetTrue)
                .help(format!("help for {name}")),
        )
        .arg(Arg::new("args").num_args(0..).hide(true))
}

fn valued(name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(kind).help(help).allow_hyphen_values(true)
}

/// A flag with a text.
pub(super) fn text(name: &'static str, help: &'static str, default: &'static str) -> Arg {
    valued(name, "string", help).default_value(default)
}

/// A flag with a number that is not negative.
pub(super) fn number(name: &'static str, help: &'static str, default: &'static str) -> Arg {
    valued(name, "uint", help).default_value(default).value_parser(|text: &str| {
        text.parse::<u64>().map_err(|error| go_number("ParseUint", text, &error))
    })
}

/// A flag with a number of 64 bits, 0 by default.
pub(super) fn integer(name: &'static str, help: &'static str) -> Arg {
    valued(name, "int", help).default_value("0").value_parser(|text: &str| {
        text.parse::<i64>().map_err(|error| go_number("ParseInt", text, &error))
    })
}

/// A flag that is there or not, or says which: `--force`, `--force=false`.
pub(super) fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .help(help)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .value_parser(|text: &str| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
        })
}

/// `--timeout`.
pub(super) fn timeout() -> Arg {
    let help = "time to wait to obtain a file lock on db file, 0 to block indefinitely";
    let arg = valued("timeout", "duration", help).default_value("10s").global(true);
    arg.value_parser(|text: &str| go_duration(text))
}

/// `-w`, `--write-out`.
pub(super) fn write_out() -> Arg {
    let help = "set the output format (fields, json, protobuf, simple, table)";
    valued("write-out", "string", help).short('w').default_value("simple").global(true)
}

fn go_number(function: &str, text: &str, error: &std::num::ParseIntError) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

/// A duration as Go writes it: numbers with units, such as `1m30s` or `1.5h`.
pub(super) fn go_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let value: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            unknown => return Err(format!("time: unknown unit {unknown:?} in duration {text:?}")),
        };
        seconds += value * unit;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid())
}
