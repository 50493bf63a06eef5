//! Versions of a key and differences between revisions, as text.

use api::{
    etcdserverpb::{RangeRequest, RangeResponse, ResponseHeader},
    kv::KeyValue,
    range::KeyRange,
};
use client::error::Error;

use super::{
    diff::{COMMAND, Options, diff, span},
    lines,
};
use crate::{
    cli::{self, flag::Flags},
    decode::{
        Show,
        paint::{Paint, Screen},
    },
    tree::{Look, keyspace::Read},
};

/// Puts and deletions; the first is revision 2.
struct Log(Vec<(&'static str, Option<&'static str>)>);

impl Read for Log {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let now = i64::try_from(self.0.len()).unwrap() + 1;
        let at = if request.revision == 0 { now } else { request.revision };
        let range = KeyRange::new(request.key, request.range_end);
        let mut keys = std::collections::BTreeMap::new();
        for (revision, (key, value)) in (2..=at).zip(&self.0) {
            match value {
                Some(value) => keys.insert(*key, (revision, *value)),
                None => keys.remove(key),
            };
        }
        let kvs = keys.iter().filter(|(key, _)| range.contains(key.as_bytes()));
        let kvs = kvs.map(|(key, (revision, value))| {
            let value = if request.keys_only { "" } else { value };
            KeyValue {
                key: key.as_bytes().into(),
                mod_revision: *revision,
                value: value.as_bytes().into(),
                ..KeyValue::default()
            }
            .to_raw()
        });
        Ok(RangeResponse {
            header: Some(ResponseHeader { revision: now, ..ResponseHeader::default() }),
            kvs: kvs.collect(),
            ..RangeResponse::default()
        })
    }
}

fn flags(words: &str) -> Flags {
    let words: Vec<_> = words.split_whitespace().map(|word| word.as_bytes().to_vec()).collect();
    cli::parse(vec![&COMMAND], &words).unwrap().flags
}

#[track_caller]
fn check(words: &str, prefix: &str, json: bool, expected: &str) {
    let log = Log(vec![
        ("/a/1", Some("one")),
        ("/a/2", Some("x: 1\ny: 2\n")),
        ("/a/3", Some("three")),
        ("/b", Some("b")),
        ("/a/2", Some("x: 1\ny: 3\n")),
        ("/a/1", None),
        ("/a/0", Some("{\"z\":0}")),
        ("/a/3", Some("three")),
        ("/b", Some("c")),
    ]);
    let flags = flags(words);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut out = Vec::new();
    let options = Options::from_flags(&flags);
    let span = span(&flags).unwrap().unwrap();
    runtime
        .block_on(async {
            let look = Look { screen: Screen::PIPE, json };
            diff(&log, look, prefix.as_bytes(), span, options, &mut out).await
        })
        .unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn added_removed_and_changed_keys() {
    let expected = "\
+ /a/0
- /a/1
~ /a/2
    x: 1
  - y: 2
  + y: 3
~ /a/3
  (the same value)
1 added, 1 removed, 2 changed
";
    check("--rev 5", "/a/", false, expected);
    check("--rev 5,10", "/a/", false, expected);
    check("-r 5 -r 6 -b", "/", false, "~ /a/2\n0 added, 0 removed, 1 changed\n");
    check("-r 10 -r 9 -b", "", false, "~ /b\n0 added, 0 removed, 1 changed\n");
    check("-r 8 -r 8", "/a/", false, "0 added, 0 removed, 0 changed\n");
    let json = "{\"change\":\"added\",\"key\":\"/a/0\",\"after\":{\"z\":0}}\n\
                {\"change\":\"removed\",\"key\":\"/a/1\",\"before\":\"one\"}\n";
    check("-r 6 -r 8", "/a/", true, json);
}

#[test]
fn revisions_of_a_span() {
    assert_eq!(span(&flags("")).unwrap(), None);
    assert_eq!(span(&flags("--rev 7")).unwrap(), Some((7, 0)));
    for bad in ["--rev 1,2,3", "--rev x", "--rev 0", "--rev=-4"] {
        assert!(span(&flags(bad)).is_err(), "{bad}");
    }
}

#[test]
fn changes_of_a_value() {
    let changed = |before: &str, after: &str| {
        let mut out = Vec::new();
        lines::changed(before.as_bytes(), after.as_bytes(), Show::default(), Paint::OFF, &mut out)
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
    let after = "1\n2\nthree\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13";
    let expected = "    1\n    2\n  - 3\n  + three\n    4\n    5\n    6\n  ...\n    10\n    11\n    12\n  + 13\n";
    assert_eq!(changed(before, after), expected);
    let secret =
        |value| format!(r#"{{"apiVersion":"v1","kind":"Secret","data":{{"p":"{value}"}}}}"#);
    let hidden = "  (the difference is in what is not shown)\n";
    assert_eq!(changed(&secret("YWFh"), &secret("YmJi")), hidden);
    assert_eq!(changed("\x1b[2J", "\x07"), "  - \"\\x1b[2J\"\n  + \"\\a\"\n");
}
