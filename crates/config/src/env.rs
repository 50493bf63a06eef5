//! `ETCD_*` variables: each flag has one, used where the command line does not give the flag.
//!
//! Source: etcd's rules. An empty variable does not count; a variable that a flag of the command
//! line shadows is fatal; one that belongs to no flag is worth a warning.

use std::collections::BTreeSet;

use crate::argv::Argv;
use crate::flags;
use crate::goconv::Quoted;
use crate::log::{Notice, Severity};
use crate::settings::Config;

const PREFIX: &str = "ETCD_";
const VERSION: &str = "ETCD_VERSION";
const SHADOWED: &str = "conflicting environment variable is shadowed by corresponding \
                        command-line flag (either unset environment variable or disable flag))";

/// Why the environment was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EnvError {
    /// A value that its flag refuses.
    Invalid(String),
    /// A flag shadows a variable; the notices end with the line that says so.
    Shadowed,
}

/// The environment as names and values, in its order.
pub(crate) struct Env(pub(crate) Vec<(String, String)>);

impl Env {
    /// The value of a variable, empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// The variable of a flag.
pub(crate) fn variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace('-', "_").to_uppercase())
}

/// Gives the flags that the command line left out the values of their variables. Returns the flags
/// that got one.
pub(crate) fn apply(
    env: &Env,
    argv: &Argv,
    config: &mut Config,
    notices: &mut Vec<Notice>,
) -> Result<BTreeSet<&'static str>, EnvError> {
    let version = env.get(VERSION);
    if !version.is_empty() {
        let notice = Notice::new(Severity::Warn, "cannot set special environment variable").early();
        notices.push(notice.text("key", VERSION).text("value", version));
    }
    let mut used = BTreeSet::new();
    let mut given = BTreeSet::new();
    let mut invalid = None;
    let mut flags: Vec<_> = flags::all().filter(|flag| flag.name != "version").collect();
    flags.sort_by_key(|flag| flag.name);
    for flag in flags {
        let key = variable(flag.name);
        let value = env.get(&key);
        if value.is_empty() || flag.names_set().iter().any(|name| argv.given.contains(name)) {
            continue;
        }
        if let Err(error) = flag.set(config, value) {
            invalid = Some(format!("invalid value {} for {key}: {error}", Quoted(value)));
        } else {
            let notice = Notice::new(Severity::Info, "recognized and used environment variable");
            let notice = notice.early().text("variable-name", key.as_str());
            notices.push(notice.text("variable-value", value));
            given.extend(flag.names_set());
        }
        used.insert(key);
    }
    report_rest(env, argv, &used, notices)?;
    invalid.map_or(Ok(given), |error| Err(EnvError::Invalid(error)))
}

/// Says what is wrong with the variables that no flag used.
fn report_rest(
    env: &Env,
    argv: &Argv,
    used: &BTreeSet<String>,
    notices: &mut Vec<Notice>,
) -> Result<(), EnvError> {
    let mut on_command_line: BTreeSet<String> = argv.given.iter().map(|f| variable(f)).collect();
    for flag in flags::all() {
        // An older variable beside its modern flag says the same thing twice, too.
        if flag.names_set().iter().any(|name| argv.given.contains(name)) {
            on_command_line.insert(variable(flag.name));
        }
    }
    for (key, value) in env.0.iter().filter(|(key, _)| !used.contains(key)) {
        if key == VERSION && !value.is_empty() {
            continue; // reported above
        }
        if on_command_line.contains(key) {
            let notice = Notice::new(Severity::Fatal, SHADOWED).early();
            notices.push(notice.text("environment-variable", key.as_str()));
            return Err(EnvError::Shadowed);
        }
        if key.starts_with(PREFIX) {
            let notice = Notice::new(Severity::Warn, "unrecognized environment variable").early();
            notices.push(notice.text("environment-variable", format!("{key}={value}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        given: &[&'static str],
        env: &[(&str, &str)],
    ) -> (Config, Vec<String>, Result<BTreeSet<&'static str>, EnvError>) {
        let argv = Argv { given: given.iter().copied().collect(), words: Vec::new() };
        let env = Env(env.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect());
        let (mut config, mut notices) = (Config::default(), Vec::new());
        let result = apply(&env, &argv, &mut config, &mut notices);
        let shown = |notice: &Notice| {
            assert!(notice.early);
            format!("{} {} {:?}", notice.severity.name(), notice.message, notice.fields)
        };
        (config, notices.iter().map(shown).collect(), result)
    }

    #[test]
    fn variables_fill_flags_in_the_order_of_their_names() {
        let (config, notices, result) = run(
            &[],
            &[
                ("PATH", "/bin"),
                ("ETCD_PRE_VOTE", "false"),
                ("ETCD_BOGUS", "1"),
                ("ETCD_NAME", "a"),
                ("ETCD_WAL_DIR", ""),
                ("ETCD_VERSION", "3"),
            ],
        );
        assert_eq!(result, Ok(BTreeSet::from(["name", "pre-vote"])));
        assert!(config.name == "a" && !config.pre_vote);
        assert_eq!(
            notices,
            [
                "warn cannot set special environment variable \
                 [(\"key\", Text(\"ETCD_VERSION\")), (\"value\", Text(\"3\"))]",
                "info recognized and used environment variable \
                 [(\"variable-name\", Text(\"ETCD_NAME\")), (\"variable-value\", Text(\"a\"))]",
                "info recognized and used environment variable \
                 [(\"variable-name\", Text(\"ETCD_PRE_VOTE\")), \
                 (\"variable-value\", Text(\"false\"))]",
                "warn unrecognized environment variable \
                 [(\"environment-variable\", Text(\"ETCD_BOGUS=1\"))]",
                "warn unrecognized environment variable \
                 [(\"environment-variable\", Text(\"ETCD_WAL_DIR=\"))]",
            ]
        );
    }

    #[test]
    fn a_shadowed_variable_is_fatal_even_when_empty() {
        for value in ["b", ""] {
            let (_, notices, result) = run(&["name"], &[("ETCD_NAME", value), ("ETCD_X", "1")]);
            assert_eq!(result, Err(EnvError::Shadowed));
            assert_eq!(notices.len(), 1);
            assert!(
                notices[0].starts_with("fatal conflicting environment variable is shadowed by")
            );
            assert!(notices[0].contains("ETCD_NAME"));
        }
    }

    #[test]
    fn the_last_bad_value_is_reported_and_the_rest_is_used() {
        let env =
            [("ETCD_HEARTBEAT_INTERVAL", "x"), ("ETCD_NAME", "n"), ("ETCD_PRE_VOTE", "maybe")];
        let (config, notices, result) = run(&[], &env);
        let error = "invalid value \"maybe\" for ETCD_PRE_VOTE: parse error";
        assert_eq!(result, Err(EnvError::Invalid(error.to_string())));
        assert_eq!((config.name.as_str(), notices.len()), ("n", 1));
    }

    #[test]
    fn older_variables_count_and_conflict_with_modern_flags() {
        let env = [("ETCD_EXPERIMENTAL_CORRUPT_CHECK_TIME", "1h")];
        let (config, _, result) = run(&[], &env);
        assert!(result.expect("accepted").contains("corrupt-check-time"));
        assert_eq!(config.corrupt_check_time.to_string(), "1h0m0s");
        assert_eq!(run(&["corrupt-check-time"], &env).2, Err(EnvError::Shadowed));
    }
}
