//! The configuration: command lines, the environment, the file, URLs and durations end in a
//! configuration or in an error with a text, never in a panic. What is shown of a configuration's URLs
//! reads back as the same.
//!
//! The first byte says which; the rest is text, words separated by newlines.

use std::{ffi::OsString, io::Write};

use config::{GoDuration, Url, UrlsMap, parse, parse_urls};

/// Runs an input.
pub fn run(input: &[u8]) {
    let Some((&how, rest)) = input.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match how % 5 {
        0 => settings(text.lines().map(OsString::from).collect(), Vec::new()),
        1 => {
            let pairs = text.lines().filter_map(|line| line.split_once('='));
            let env = pairs.map(|(key, value)| (format!("ETCD_{key}").into(), value.into()));
            settings(Vec::new(), env.collect());
        }
        2 => file(text),
        3 => urls(text),
        _ => {
            if let Ok(duration) = GoDuration::parse(text) {
                let shown = duration.to_string();
                let again = GoDuration::parse(&shown).expect("what is shown can be read");
                assert_eq!(again.to_string(), shown);
            }
        }
    }
}

fn settings(mut words: Vec<OsString>, env: Vec<(OsString, OsString)>) {
    words.insert(0, "etcd".into());
    // Another file would be read from wherever the input says.
    if words.iter().any(|word| word.to_string_lossy().contains("config-file")) {
        return;
    }
    if env.iter().any(|(key, _)| key.to_string_lossy().contains("CONFIG_FILE")) {
        return;
    }
    let _ = parse(words, env, || Ok("10.0.0.1".to_owned()));
}

fn file(text: &str) {
    let path = std::env::temp_dir().join(format!("fuzzed-config-{}.yaml", std::process::id()));
    let mut file = std::fs::File::create(&path).expect("a temporary file");
    file.write_all(text.as_bytes()).expect("a temporary file takes bytes");
    let flag = format!("--config-file={}", path.display());
    let _ = parse(["etcd".into(), flag.into()], [], || Err("no host".to_owned()));
    let _ = std::fs::remove_file(&path);
}

fn urls(text: &str) {
    let _ = Url::parse(text);
    if let Ok(urls) = parse_urls(text.lines()) {
        let shown: Vec<String> = urls.iter().map(ToString::to_string).collect();
        let again =
            parse_urls(shown.iter().map(String::as_str)).expect("what is shown can be read");
        let twice: Vec<String> = again.iter().map(ToString::to_string).collect();
        assert_eq!(shown, twice);
    }
    if let Ok(map) = UrlsMap::parse(text) {
        let joined = map.joined();
        let again = UrlsMap::parse(&joined).expect("what is shown can be read");
        assert_eq!(joined, again.joined());
    }
}
