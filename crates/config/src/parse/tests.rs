//! The way from command line, environment and file to a configuration, with etcd's texts.

use super::*;

/// What a run says: `level message {field: value}` lines, and how it ends.
struct Ran {
    result: Result<Config, (i32, String, String)>,
    lines: Vec<String>,
}

impl Ran {
    fn config(self) -> Config {
        self.result.expect("a configuration")
    }

    #[track_caller]
    fn fails(self, error: &str) {
        let line = format!("warn failed to verify flags error={error:?}");
        assert_eq!(self.lines.last(), Some(&line), "{:?}", self.lines);
        assert_eq!(self.result, Err((1, String::new(), String::new())));
    }
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Ran {
    run_on(args, env, Err("could not find default route"))
}

fn run_on(args: &[&str], env: &[(&str, &str)], host: Result<&str, &str>) -> Ran {
    let args = ["etcd"].iter().chain(args).map(OsString::from).collect::<Vec<_>>();
    let env = env.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
    let host = || host.map(str::to_string).map_err(str::to_string);
    let (result, notices) = match parse(args, env, host) {
        Ok(parsed) => (Ok(parsed.config), parsed.notices),
        Err(exit) => (Err((exit.code, exit.stdout, exit.stderr)), exit.notices),
    };
    Ran { result, lines: notices.iter().map(shown).collect() }
}

fn shown(notice: &Notice) -> String {
    let mut line = format!("{} {}", notice.severity.name(), notice.message);
    for (name, value) in &notice.fields {
        let value = match value {
            crate::log::Value::Text(text) => format!("{text:?}"),
            crate::log::Value::Texts(texts) => format!("{texts:?}"),
            crate::log::Value::Number(number) => number.to_string(),
        };
        line.push_str(&format!(" {name}={value}"));
    }
    line
}

fn with_file(text: &str, args: &[&str], env: &[(&str, &str)]) -> (Ran, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("c.yml").display().to_string();
    std::fs::write(&path, text).expect("the file is written");
    let flag = format!("--config-file={path}");
    let args: Vec<&str> = [flag.as_str()].into_iter().chain(args.iter().copied()).collect();
    (run(&args, env), path)
}

const SINGLE_PORT: &str =
    "warn Running http and grpc server on single port. This is not recommended for production.";
const DEFAULT_NAME_LINE: &str = "warn it isn't recommended to use default name, please set a value \
    for --name. Note that etcd might run into issue when multiple members have the same default \
    name name=\"default\"";

#[test]
fn no_flags_at_all() {
    let ran = run(&[], &[]);
    assert_eq!(
        ran.lines,
        [
            SINGLE_PORT,
            DEFAULT_NAME_LINE,
            "info Running:  args=[\"etcd\"]",
            "info failed to detect default host error=\"could not find default route\"",
            "warn 'data-dir' was empty; using default data-dir=\"default.etcd\"",
        ]
    );
    assert_eq!(ran.config(), Config { data_dir: "default.etcd".into(), ..Config::default() });
}

#[test]
fn mistakes_end_with_usage_and_status_2() {
    let (code, stdout, stderr) = run(&["--nope"], &[]).result.expect_err("a mistake");
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.starts_with("flag provided but not defined: -nope\nUsage:\n\n  etcd [flags]\n"));
    assert!(stderr.ends_with("\n\n"));
}

#[test]
fn help_has_usage_on_stderr_and_flags_on_stdout() {
    let (code, stdout, stderr) = run(&["-h", "word"], &[]).result.expect_err("help");
    assert_eq!(code, 0);
    assert!(stderr.starts_with("Usage:\n"));
    assert!(stdout.starts_with("\nMember:\n  --name 'default'\n    "), "{stdout}");
    assert!(stdout.contains("    FastLeaseKeepAlive=true|false (BETA - default=true)\n"));
    assert!(!stdout.contains("experimental-"));
}

#[test]
fn the_version_has_four_lines() {
    let (code, stdout, stderr) = run(&["--version"], &[]).result.expect_err("the version");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!((code, stderr.as_str(), lines.len()), (0, "", 4));
    assert_eq!(lines[0], "etcd Version: 3.7.1");
    assert!(lines[1].starts_with("Git SHA: "));
    assert_eq!(
        lines[2],
        concat!("Go Version: none (oxetcd ", env!("CARGO_PKG_VERSION"), ", rustc)")
    );
    assert_eq!(lines[3], format!("Go OS/Arch: {}/{}", crate::go_os(), crate::go_arch()));
}

#[test]
fn a_word_that_is_no_flag() {
    let ran = run(&["--version", "foo"], &[]);
    assert_eq!(ran.lines[0], "info Running:  args=[\"etcd\", \"--version\", \"foo\"]");
    ran.fails("\"foo\" is not a valid flag");
}

#[test]
fn flags_win_over_nothing_and_variables_fill_the_rest() {
    let env = [("ETCD_NAME", "n"), ("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:1")];
    let ran = run(&["--advertise-client-urls=http://a:1", "--data-dir=d"], &env);
    assert_eq!(
        ran.lines[..2],
        [
            "info recognized and used environment variable \
             variable-name=\"ETCD_LISTEN_CLIENT_URLS\" variable-value=\"http://127.0.0.1:1\"",
            "info recognized and used environment variable \
             variable-name=\"ETCD_NAME\" variable-value=\"n\"",
        ]
    );
    let config = ran.config();
    assert_eq!(config.listen_client_urls.texts(), ["http://127.0.0.1:1"]);
    assert_eq!((config.name.as_str(), config.data_dir.as_str()), ("n", "d"));
    assert_eq!(config.initial_cluster, "n=http://localhost:2380");
}

#[test]
fn a_shadowed_variable_ends_with_status_1() {
    let ran = run(&["--name=a"], &[("ETCD_NAME", "b")]);
    assert_eq!(ran.result, Err((1, String::new(), String::new())));
    assert_eq!(ran.lines.len(), 1);
    assert_eq!(
        ran.lines[0],
        "fatal conflicting environment variable is shadowed by corresponding command-line flag \
         (either unset environment variable or disable flag)) environment-variable=\"ETCD_NAME\""
    );
}

#[test]
fn a_bad_variable() {
    let env = [("ETCD_HEARTBEAT_INTERVAL", "x")];
    run(&[], &env).fails("invalid value \"x\" for ETCD_HEARTBEAT_INTERVAL: parse error");
}

#[test]
fn listening_without_advertising_is_said_twice() {
    for args in [["--listen-client-urls=http://127.0.0.1:1"], ["--listen-client-urls="]] {
        let ran = run(&args, &[]);
        assert_eq!(ran.result, Err((1, String::new(), String::new())));
        let [first, second] = &ran.lines[ran.lines.len() - 2..] else { panic!("two lines") };
        let error = format!("error={ADVERTISE_MISSING:?}");
        assert_eq!(*first, format!("warn failed to verify flags {error}"));
        assert_eq!(*second, format!("warn advertise client URLs are not set {error}"));
    }
}

#[test]
fn checks_have_etcds_texts() {
    let cases: &[(&[&str], &str)] = &[
        (&["--listen-peer-urls=http://foo:1"], "expected IP in URL for binding (http://foo:1)"),
        (&["--listen-client-http-urls=http://:1"], "expected IP in URL for binding (http://:1)"),
        (&["--listen-metrics-urls=http://foo:1"], "expected IP in URL for binding (http://foo:1)"),
        (
            &["--listen-peer-urls=http://[::1%25lo]:1"],
            "expected IP in URL for binding (http://[::1%25lo]:1)",
        ),
        (
            &["--initial-advertise-peer-urls=http://:1"],
            "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" \
          (unexpected empty host (http://:1))",
        ),
        (
            &["--advertise-client-urls=http://a:2,http://:1"],
            "--advertise-client-urls \"http://:1,http://a:2\" must be in the format \"host:port\", \
          \"unix:/path/to/socket\" or \"unixs:/path/to/socket\" \
          (unexpected empty host (http://:1))",
        ),
        (
            &["--discovery-srv=foo", "--initial-cluster=a=b"],
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \
          \"discovery-endpoints\" or \"discovery-srv\"",
        ),
        (&["--discovery-token=x"], "both --discovery-token and --discovery-endpoints must be set"),
        (
            &["--discovery-endpoints=a,b"],
            "both --discovery-token and --discovery-endpoints must be set",
        ),
        (
            &["--discovery-endpoints=", "--discovery-token=x"],
            "--discovery-endpoints must not contain empty endpoints",
        ),
        (&["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
        (&["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
        (
            &["--election-timeout=499"],
            "--election-timeout[499ms] should be at least as 5 times as \
             --heartbeat-interval[100ms]",
        ),
        (
            &["--election-timeout=50001"],
            "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
        ),
        (&["--auto-compaction-mode="], "undefined auto-compaction-mode"),
        (&["--auto-compaction-mode=x"], "unknown auto-compaction-mode \"x\""),
        (
            &["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=-1"],
            "distributed tracing configurition is not valid: \
             (tracing sampling rate must be positive)",
        ),
        (
            &["--enable-distributed-tracing", "--distributed-tracing-sampling-rate=1000001"],
            "distributed tracing configurition is not valid: \
          (tracing sampling rate must be less than 1000000)",
        ),
        (
            &["--feature-gates=LeaseCheckpointPersist=true"],
            "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
          LeaseCheckpoint",
        ),
        (&["--compact-hash-check-time=0"], "--compact-hash-check-time must be >0 (set to 0s)"),
        (&["--tls-max-version=x"], "unexpected TLS version \"x\" (must be one of: TLS1.2, TLS1.3)"),
        (
            &["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            &["--tls-min-version=TLS1.3", "--cipher-suites=a"],
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
        (
            &["--discovery-fallback=proxy"],
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"",
        ),
        (&["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
        (&["--logger=foo"], "unknown logger option \"foo\""),
        (&["--log-format=foo"], "unknown log format: foo, supported values json, console"),
        (&["--log-outputs=stderr,default"], "multi logoutput for \"default\" is not supported yet"),
        (
            &["--log-outputs=systemd/journal,stderr"],
            "running with systemd/journal but other '--log-outputs' values \
          ([\"stderr\" \"systemd/journal\"]) are configured with 'default'; override 'default' \
          value with something else",
        ),
        (
            &["--enable-log-rotation"],
            "--log-outputs requires a single file path when --log-rotate-config-json is defined",
        ),
        (&["--config-file=/nope/c.yml"], "open /nope/c.yml: no such file or directory"),
    ];
    for (args, error) in cases {
        run(args, &[]).fails(error);
    }
}

#[test]
fn a_bad_log_level_is_a_panic() {
    let ran = run(&["--log-level=foo"], &[]);
    let stderr = "panic: unrecognized level: \"foo\"\n".to_string();
    assert_eq!(ran.result, Err((2, String::new(), stderr)));
    assert_eq!(ran.lines, [""; 0]);
}

#[test]
fn warnings_of_deprecated_and_older_flags() {
    let ran = run(
        &[
            "--name=n",
            "--data-dir=d",
            "--max-snapshots=1",
            "--v2-deprecation=gone",
            "--experimental-corrupt-check-time=0",
            "--experimental-initial-corrupt-check=false",
            "--raft-read-timeout=1s",
            "--feature-gates=LeaseCheckpoint=true",
        ],
        &[],
    );
    assert_eq!(
        ran.lines[..7],
        [
            "info raft-read-timeout increased to minimum value: 5s",
            SINGLE_PORT,
            "warn Detected that checkpointing is enabled without persistence. Consider enabling \
             feature gate LeaseCheckpointPersist",
            "warn --max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.",
            "warn --v2-deprecation is deprecated and scheduled for removal in v3.8. The default \
             value is enforced, ignoring user input.",
            "warn flag has an older name that etcd 3.7 does not accept \
             flag=\"experimental-initial-corrupt-check\" \
             use=\"--feature-gates=InitialCorruptCheck=true|false\"",
            "warn flag has an older name that etcd 3.7 does not accept \
             flag=\"experimental-corrupt-check-time\" use=\"--corrupt-check-time\"",
        ]
    );
    assert_eq!(ran.config().raft_read_timeout.to_string(), "5s");
}

#[test]
fn a_file_alone_counts() {
    let env = [("ETCD_NAME", "env"), ("ETCD_BOGUS", "1")];
    let (ran, path) = with_file("name: file\nmax-snapshots: 3\n", &["--name=flag"], &env);
    let flag = format!("--config-file={path}");
    assert_eq!(
        ran.lines[..4],
        [
            SINGLE_PORT.to_string(),
            format!(
                "info loaded server configuration, other configuration command line flags and \
                 environment variables will be ignored if provided path={path:?}"
            ),
            "warn --max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8."
                .to_string(),
            format!("info Running:  args=[\"etcd\", {flag:?}, \"--name=flag\"]"),
        ]
    );
    let config = ran.config();
    assert_eq!((config.name.as_str(), config.data_dir.as_str()), ("file", "file.etcd"));
    assert_eq!(config.initial_cluster, "file=http://localhost:2380");
}

#[test]
fn a_file_may_listen_without_advertising() {
    let (ran, _) = with_file("name: f\nlisten-client-urls: http://127.0.0.1:1\n", &[], &[]);
    let urls = ran.config().advertise_client_urls.texts();
    assert_eq!(urls, ["http://localhost:2379"]);
}

#[test]
fn the_file_may_be_named_by_the_environment() {
    let ran = run(&["--config-file="], &[("ETCD_CONFIG_FILE", "/nope/e.yml")]);
    assert_eq!(ran.lines[0], "info Running:  args=[\"etcd\", \"--config-file=\"]");
    ran.fails("open /nope/e.yml: no such file or directory");
}

#[test]
fn errors_of_a_file() {
    with_file("initial-cluster-state: foo", &[], &[]).0.fails("unexpected clusterState \"foo\"");
    let error = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into \
                 Go struct field configYAML.Config.grpc-keepalive-timeout of type time.Duration";
    with_file("grpc-keepalive-timeout: 20s", &[], &[]).0.fails(error);
    let (ran, _) = with_file("listen-peer-urls: foo", &[], &[]);
    let text = "unexpected error setting up listen-peer-urls: URL scheme must be http, https, \
                unix, or unixs: foo\n";
    assert_eq!(ran.result, Err((1, String::new(), text.to_string())));
    assert_eq!(ran.lines, [""; 0]);
}

#[test]
fn the_default_host_takes_the_place_of_localhost() {
    let args = ["--name=n", "--listen-peer-urls=http://0.0.0.0:2380"];
    let ran = run_on(&args, &[], Ok("10.1.2.3"));
    let line = "info detected default host for advertise host=\"10.1.2.3\"".to_string();
    assert!(ran.lines.contains(&line), "{:?}", ran.lines);
    let config = ran.config();
    assert_eq!(config.initial_advertise_peer_urls.texts(), ["http://10.1.2.3:2380"]);
    assert_eq!(config.initial_cluster, "n=http://10.1.2.3:2380");
    assert_eq!(config.advertise_client_urls.texts(), ["http://localhost:2379"]);
}

#[test]
fn counts_of_zero_become_the_usual_ones() {
    let args = ["--name=n", "--data-dir=d", "--snapshot-count=0", "--snapshot-catchup-entries=0"];
    let ran = run_on(&args, &[], Ok("10.1.2.3"));
    assert_eq!(
        ran.lines[2..],
        [
            "info updating snapshot-count to default updated-snapshot-count=10000",
            "info updating snapshot catch-up entries to default \
             updated-snapshot-catchup-entries=5000",
        ]
    );
    let config = ran.config();
    assert_eq!((config.snapshot_count, config.snapshot_catchup_entries), (10_000, 5_000));
}

#[test]
fn lines_before_the_log_is_set_up_are_early() {
    let args = ["etcd", "--log-format=console", "--raft-write-timeout=1s", "--election-timeout=1"];
    let exit = parse(args.map(OsString::from), [], || Ok(String::new())).expect_err("an error");
    let early: Vec<bool> = exit.notices.iter().map(|notice| notice.early).collect();
    assert_eq!(early, [true, false, false, false]);
    assert_eq!(exit.log.expect("good settings").format, "console");
    let args = ["etcd", "--log-format=nope"];
    let exit = parse(args.map(OsString::from), [], || Ok(String::new())).expect_err("an error");
    assert!(exit.log.is_none() && exit.notices.iter().all(|notice| notice.early));
}

#[cfg(unix)]
#[test]
fn a_word_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let args = [OsString::from("etcd"), OsString::from_vec(b"--name=\xff".to_vec())];
    let exit = parse(args, [], || Ok(String::new())).expect_err("an error");
    assert_eq!(exit.code, 2);
    assert!(exit.stderr.starts_with("argument is not valid UTF-8: \"--name=\u{fffd}\"\nUsage:"));
}

mod any_input {
    use proptest::prelude::*;

    use super::*;

    fn words() -> impl Strategy<Value = Vec<String>> {
        let names: Vec<&str> = flags::all().map(|flag| flag.name).collect();
        let value =
            prop_oneof![any::<String>(), "[a-z0-9:/,=%\\[\\]@.?#-]{0,24}", "[-+_0-9xsmhn.]*"];
        let flag = (prop::sample::select(names), value).prop_map(|(name, value)| {
            // A file would be read.
            if name == "config-file" { format!("--{name}=") } else { format!("--{name}={value}") }
        });
        prop::collection::vec(prop_oneof![4 => flag, 1 => any::<String>()], 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_command_line_panics(words in words()) {
            let args = ["etcd".to_string()].into_iter().chain(words).map(OsString::from);
            let args: Vec<OsString> =
                args.filter(|arg| !arg.to_string_lossy().contains("config-file")).collect();
            match parse(args, [], || Ok("10.0.0.1".to_string())) {
                Ok(parsed) => drop(parsed),
                Err(exit) => prop_assert!((0..3).contains(&exit.code)),
            }
        }

        #[test]
        fn no_file_panics(
            key in prop::sample::select(flags::all().map(|flag| flag.name).collect::<Vec<_>>()),
            value in prop_oneof![any::<String>(), "[a-z0-9:/,{}\\[\\]\"'. -]{0,24}"],
        ) {
            let mut config = Config::default();
            if file::read(&format!("{key}: {value}\n"), &mut config).is_ok() {
                drop(validate::check(&config, &mut Vec::new()));
            }
        }
    }
}
