//! Lines as they stand in a file.

use std::time::Duration;

use tracing_subscriber::prelude::*;

use super::*;
use crate::GoDuration;

/// Runs `say` with a log of this level and format, and returns what it wrote without the times.
fn logged(level: &str, format: &str, say: impl FnOnce()) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("log").display().to_string();
    let outputs = vec![path.clone()];
    let (level, format) = (level.to_string(), format.to_string());
    let config = LogConfig { level, format, outputs, ..LogConfig::default() };
    let logger = Logger::open(&config).expect("a log in a file");
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logger.layer()), say);
    let text = std::fs::read_to_string(&path).expect("the log");
    text.lines().map(without_time_and_line).collect()
}

fn without_time_and_line(line: &str) -> String {
    let start = line.find("20").expect("a year");
    let end = start + line[start..].find(['"', '\t']).expect("the end of the time");
    let line = format!("{}TIME{}", &line[..start], &line[end..]);
    let number = line.find("tests.rs:").expect("a caller") + "tests.rs:".len();
    let digits = line[number..].bytes().take_while(u8::is_ascii_digit).count();
    format!("{}N{}", &line[..number], &line[number + digits..])
}

#[test]
fn json_lines_have_etcds_keys_in_order() {
    let lines = logged("info", "json", || {
        let id = "8e9e05c52164694d";
        tracing::info!(
            "local-member-id" = id,
            took = %GoDuration::from(Duration::from_millis(1500)),
            size = 12_u64,
            negative = -3,
            ok = true,
            ratio = 0.5,
            debug = ?Some(1),
            "listen-client-urls" = %strings(&["http://a:1", "http://b:1"]),
            "said \"hello\""
        );
        tracing::warn!(target: "logger:raft", "named");
    });
    assert_eq!(
        lines,
        [
            concat!(
                r#"{"level":"info","ts":"TIME","caller":"log/tests.rs:N","msg":"said \"hello\"","#,
                r#""local-member-id":"8e9e05c52164694d","took":"1.5s","size":12,"negative":-3,"#,
                r#""ok":true,"ratio":0.5,"debug":"Some(1)","#,
                r#""listen-client-urls":["http://a:1","http://b:1"]}"#,
            ),
            concat!(
                r#"{"level":"warn","ts":"TIME","logger":"raft","#,
                r#""caller":"log/tests.rs:N","msg":"named"}"#,
            ),
        ]
    );
}

#[test]
fn console_lines_are_tabbed() {
    let lines = logged("info", "console", || {
        tracing::info!(a = 1, list = %strings(&["x", "y"]), "Running: ");
        tracing::error!(target: "logger:raft", "bare");
    });
    assert_eq!(
        lines,
        [
            "TIME\tinfo\tlog/tests.rs:N\tRunning: \t{\"a\": 1, \"list\": [\"x\", \"y\"]}",
            "TIME\terror\traft\tlog/tests.rs:N\tbare",
        ]
    );
}

#[test]
fn the_level_decides_what_is_written() {
    let say = || {
        tracing::trace!("trace");
        tracing::debug!("debug");
        tracing::debug!(target: "h2::proto", "chatter");
        tracing::warn!(target: "h2::proto", "warn");
        tracing::error!("error");
        tracing::error!(severity = "fatal", "fatal");
    };
    let messages = |level| {
        let lines = logged(level, "json", say);
        let message = |line: &String| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(line.get("severity").is_none());
            format!("{}:{}", line["level"], line["msg"]).replace('"', "")
        };
        lines.iter().map(message).collect::<Vec<_>>()
    };
    assert_eq!(messages("debug"), ["debug:debug", "warn:warn", "error:error", "fatal:fatal"]);
    assert_eq!(messages("error"), ["error:error", "fatal:fatal"]);
    assert_eq!(messages("panic"), ["fatal:fatal"]);
}

#[test]
fn errors_show_their_causes() {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("outer")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let lines = logged("info", "json", || {
        let error = Outer("x".parse::<i32>().expect_err("not a number"));
        tracing::warn!(error = &error as &(dyn std::error::Error + 'static), "failed");
    });
    assert!(lines[0].ends_with(r#""error":"outer: invalid digit found in string"}"#), "{lines:?}");
}

#[test]
fn a_forged_list_stays_a_text() {
    let lines = logged("info", "json", || tracing::info!(key = "\u{1}{\"a\":1}", "m"));
    assert!(lines[0].ends_with(r#""key":"\u0001{\"a\":1}"}"#), "{lines:?}");
}

#[test]
fn notices_name_their_caller() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("log").display().to_string();
    let config = LogConfig { outputs: vec![path.clone()], ..LogConfig::default() };
    let logger = Logger::open(&config).expect("a log in a file");
    let notice = Notice::new(Severity::Info, "Running: ");
    logger.write(&notice.texts("args", vec!["etcd".into(), "--name=a".into()]));
    logger.write(&Notice::new(Severity::Debug, "below the level"));
    let text = std::fs::read_to_string(&path).expect("the log");
    let line = without_time_and_line(text.trim_end());
    let want = concat!(
        r#"{"level":"info","ts":"TIME","caller":"log/tests.rs:N","#,
        r#""msg":"Running: ","args":["etcd","--name=a"]}"#,
    );
    assert_eq!(line, want);
}

#[test]
fn bad_settings_have_etcds_texts() {
    let open = |level: &str, format: &str| {
        let (level, format) = (level.to_string(), format.to_string());
        Logger::open(&LogConfig { level, format, ..LogConfig::default() }).err()
    };
    assert_eq!(open("trace", "json").as_deref(), Some("unrecognized level: \"trace\""));
    let error = "unknown log format: x, supported values json, console";
    assert_eq!(open("Warning", "x").as_deref(), Some(error));
    assert!(open("DPANIC", "").is_none());
}
