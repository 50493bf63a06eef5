//! The command line with the rules of Go's `flag` package.
//!
//! `-x` and `--x` are the same; a value follows `=` or is the next word; a boolean takes `=` only;
//! the first word that is no flag, or `--`, ends the flags. The last of repeated flags wins, and
//! nothing after a mistake is looked at.

use std::collections::BTreeSet;

use crate::flags::{self, Flag};
use crate::goconv::Quoted;
use crate::settings::Config;

/// What the command line said, beside the values that went into the configuration.
#[derive(Debug, Default)]
pub(crate) struct Argv {
    /// The flags that were given, under their own names and, for an older name, the modern one too.
    pub(crate) given: BTreeSet<&'static str>,
    /// The words behind the flags.
    pub(crate) words: Vec<String>,
}

/// Why the command line was not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ArgvError {
    /// Help was asked for.
    Help,
    /// A mistake, in Go's words.
    Mistake(String),
}

/// Reads the words behind the program's name.
pub(crate) fn parse(words: &[String], config: &mut Config) -> Result<Argv, ArgvError> {
    let mut argv = Argv::default();
    let mut rest = words.iter();
    while let Some(word) = rest.clone().next() {
        if word.len() < 2 || !word.starts_with('-') {
            break;
        }
        rest.next();
        if word == "--" {
            break;
        }
        let flag = parse_one(word, &mut rest, config)?;
        argv.given.extend(flag.names_set());
    }
    argv.words = rest.cloned().collect();
    Ok(argv)
}

fn parse_one<'a>(
    word: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    config: &mut Config,
) -> Result<&'static Flag, ArgvError> {
    let mistake = |text: String| Err(ArgvError::Mistake(text));
    let name = word.strip_prefix("--").unwrap_or(&word[1..]);
    if name.is_empty() || name.starts_with(['-', '=']) {
        return mistake(format!("bad flag syntax: {word}"));
    }
    let (name, value) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    let Some(flag) = flags::find(name) else {
        if name == "help" || name == "h" {
            return Err(ArgvError::Help);
        }
        return mistake(format!("flag provided but not defined: -{name}"));
    };
    if flag.is_bool() {
        let text = value.unwrap_or("true");
        if let Err(error) = flag.set(config, text) {
            return mistake(format!("invalid boolean value {} for -{name}: {error}", Quoted(text)));
        }
        return Ok(flag);
    }
    let Some(text) = value.or_else(|| rest.next().map(String::as_str)) else {
        return mistake(format!("flag needs an argument: -{name}"));
    };
    if let Err(error) = flag.set(config, text) {
        return mistake(format!("invalid value {} for flag -{name}: {error}", Quoted(text)));
    }
    Ok(flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> (Config, Result<Argv, ArgvError>) {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let mut config = Config::default();
        let argv = parse(&words, &mut config);
        (config, argv)
    }

    #[test]
    fn values_stand_behind_an_equals_sign_or_a_space() {
        let words =
            ["-name", "a", "--wal-dir=w=1", "-pre-vote=false", "--version", "--data-dir", "-x"];
        let (config, argv) = read(&words);
        let argv = argv.expect("good flags");
        assert_eq!((config.name.as_str(), config.wal_dir.as_str()), ("a", "w=1"));
        assert_eq!(config.data_dir, "-x");
        assert!(!config.pre_vote && config.print_version);
        assert!(argv.given.contains("pre-vote") && argv.words.is_empty());
    }

    #[test]
    fn words_end_the_flags() {
        for (words, left) in [
            (&["--pre-vote", "false", "--nope"][..], &["false", "--nope"][..]),
            (&["--", "--name=a"], &["--name=a"]),
            (&["-", "--name=a"], &["-", "--name=a"]),
            (&["", "--name=a"], &["", "--name=a"]),
        ] {
            let (config, argv) = read(words);
            assert_eq!(argv.expect("good flags").words, left);
            assert_eq!(config.name, "default");
        }
    }

    #[test]
    fn the_last_of_repeated_flags_wins_and_gates_add_up() {
        let (config, argv) = read(&[
            "--name=a",
            "--name=b",
            "--feature-gates=LeaseCheckpoint=true",
            "--feature-gates=PriorityRequest=true",
        ]);
        argv.expect("good flags");
        assert_eq!(config.name, "b");
        assert_eq!(config.feature_gates.joined(), "LeaseCheckpoint=true,PriorityRequest=true");
    }

    #[test]
    fn mistakes_have_gos_words() {
        let cases = [
            ("--nope=1", "flag provided but not defined: -nope"),
            ("--discovery=x", "flag provided but not defined: -discovery"),
            ("---x", "bad flag syntax: ---x"),
            ("--=x", "bad flag syntax: --=x"),
            ("-=", "bad flag syntax: -="),
            ("--name", "flag needs an argument: -name"),
            ("-pre-vote=maybe", "invalid boolean value \"maybe\" for -pre-vote: parse error"),
            (
                "--heartbeat-interval=x",
                "invalid value \"x\" for flag -heartbeat-interval: parse error",
            ),
            (
                "--max-learners=9999999999999999999",
                "invalid value \"9999999999999999999\" for flag -max-learners: value out of range",
            ),
            (
                "--max-concurrent-streams=99999999999",
                "invalid value \"99999999999\" for flag -max-concurrent-streams: \
              strconv.ParseUint: parsing \"99999999999\": value out of range",
            ),
            (
                "--max-concurrent-streams=x",
                "invalid value \"x\" for flag -max-concurrent-streams: \
              strconv.ParseUint: parsing \"x\": invalid syntax",
            ),
            (
                "--grpc-keepalive-timeout=5",
                "invalid value \"5\" for flag -grpc-keepalive-timeout: parse error",
            ),
            (
                "--initial-cluster-state=nope",
                "invalid value \"nope\" for flag -initial-cluster-state: invalid value",
            ),
            (
                "--v2-deprecation=gone,nope",
                "invalid value \"gone,nope\" for flag -v2-deprecation: invalid value \"nope\"",
            ),
            (
                "--feature-gates=X=true",
                "invalid value \"X=true\" for flag -feature-gates: unrecognized feature gate: X",
            ),
            (
                "--cors=",
                "invalid value \"\" for flag -cors: \
              URL scheme must be http, https, unix, or unixs: ",
            ),
            (
                "--listen-client-urls=127.0.0.1:1",
                "invalid value \"127.0.0.1:1\" for flag -listen-client-urls: \
              parse \"127.0.0.1:1\": first path segment in URL cannot contain colon",
            ),
            (
                "--listen-client-urls=http://127.0.0.1:1/x",
                "invalid value \"http://127.0.0.1:1/x\" for flag -listen-client-urls: \
              URL must not contain a path: http://127.0.0.1:1/x",
            ),
            (
                "--experimental-initial-corrupt-check=x",
                "invalid boolean value \"x\" for -experimental-initial-corrupt-check: parse error",
            ),
        ];
        for (word, text) in cases {
            let error = read(&[word]).1.expect_err(word);
            assert_eq!(error, ArgvError::Mistake(text.to_string()));
        }
    }

    #[test]
    fn help_is_no_flag() {
        for word in ["-h", "--help", "-help=x"] {
            assert_eq!(read(&["--name=a", word, "--nope"]).1.expect_err("help"), ArgvError::Help);
        }
    }

    #[test]
    fn older_names_stand_for_modern_ones() {
        let (config, argv) = read(&[
            "--experimental-initial-corrupt-check",
            "--experimental-watch-progress-notify-interval=5s",
            "--experimental-memory-mlock",
            "--snapshot",
            "-vv=whatever",
        ]);
        let argv = argv.expect("good flags");
        assert!(config.feature_gates.enabled("InitialCorruptCheck") && config.memory_mlock);
        assert_eq!(config.watch_progress_notify_interval.to_string(), "5s");
        assert!(argv.given.contains("watch-progress-notify-interval"));
        assert!(argv.given.contains("experimental-watch-progress-notify-interval"));
    }
}
