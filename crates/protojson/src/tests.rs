//! Messages there and back, texts of errors as the real etcd 3.7.1 gives them, anything at all.

use api::etcdserverpb::{
    Compare, MemberAddRequest, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseHeader,
    StatusResponse, TxnRequest, WatchResponse, compare, request_op,
};
use proptest::prelude::*;
use prost::Message as _;

use super::*;

fn input(path: &str) -> &'static Message {
    method(path).unwrap().input
}

fn output(path: &str) -> &'static Message {
    method(path).unwrap().output
}

const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";

fn range(json: &str) -> Result<RangeRequest, String> {
    let bytes = decode(input(RANGE), json.as_bytes()).map_err(|error| error.to_string())?;
    Ok(RangeRequest::decode(&bytes[..]).unwrap())
}

#[test]
fn requests_are_read_under_either_name() {
    let expected = RangeRequest {
        key: "a?>".into(),
        range_end: "b".into(),
        limit: 5,
        sort_order: 2,
        keys_only: true,
        min_mod_revision: -1,
        ..Default::default()
    };
    for json in [
        r#"{"key":"YT8+","range_end":"Yg==","limit":"5","sort_order":"DESCEND","keys_only":true,
            "min_mod_revision":-1}"#,
        r#" {"key":"YT8-", "rangeEnd":"Yg", "limit":5.0, "sortOrder":2, "keysOnly":true,
            "minModRevision":"-1", "unknown":{"a":[1,{"b":null}]}, "revision":null} "#,
        r#"{"key":"\u0059T8+","range_end":"Yg","limit":50e-1,"sort_order":"DESCEND",
            "keys_only":true,"min_mod_revision":"-10E-1","sort_target":"NOBODY KNOWS"}"#,
    ] {
        assert_eq!(range(json), Ok(expected.clone()), "{json}");
    }
    assert_eq!(range("{}"), Ok(RangeRequest::default()));
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    for (json, text) in [
        (r#"{"key":"***"}"#, r#"(line 1:8): invalid value for bytes field key: "***""#),
        (r#"{"key":"YQ","limit":"x"}"#, r#"(line 1:21): invalid value for int64 field limit: "x""#),
        ("{\n \"limit\": 1.5}", "(line 2:11): invalid value for int64 field limit: 1.5"),
        (r#"{"range_end":1}"#, "(line 1:14): invalid value for bytes field rangeEnd: 1"),
        (
            r#"{"keys_only":"true"}"#,
            r#"(line 1:14): invalid value for bool field keysOnly: "true""#,
        ),
        (r#"{"key":"","key":""}"#, r#"(line 1:11): duplicate field "key""#),
        (r#"{"key":[]}"#, "(line 1:8): invalid value for bytes field key: ["),
        (r#"{"key":"\ud800"}"#, "unexpected EOF"),
        ("null", "syntax error (line 1:1): unexpected token null"),
        ("[]", "syntax error (line 1:1): unexpected token ["),
        (
            r#"{"limit":"9223372036854775808"}"#,
            r#"(line 1:10): invalid value for int64 field limit: "9223372036854775808""#,
        ),
    ] {
        assert_eq!(range(json), Err(format!("proto: {text}")), "{json}");
    }
    let twice = br#"{"compare":[{"version":1,"value":"YQ"}]}"#;
    assert_eq!(
        decode(input(TXN), twice).unwrap_err().to_string(),
        "proto: (line 1:26): error parsing \"value\", oneof etcdserverpb.Compare.target_union is \
         already set"
    );
}

#[test]
fn transactions_nest_and_oneofs_keep_their_defaults() {
    let json = br#"{"compare":[{"key":"YQ","target":"VALUE","value":""}],
        "success":[{"requestTxn":{"success":[{"request_put":{"key":"YQ"}}]}}]}"#;
    let decoded = TxnRequest::decode(&decode(input(TXN), json).unwrap()[..]).unwrap();
    let put = RequestOp {
        request: Some(request_op::Request::RequestPut(PutRequest {
            key: "a".into(),
            ..Default::default()
        })),
    };
    let inner = TxnRequest { success: vec![put], ..Default::default() };
    let expected = TxnRequest {
        compare: vec![Compare {
            key: "a".into(),
            target: 3,
            target_union: Some(compare::TargetUnion::Value("".into())),
            ..Default::default()
        }],
        success: vec![RequestOp { request: Some(request_op::Request::RequestTxn(inner)) }],
        failure: vec![],
    };
    assert_eq!(decoded, expected);
    let json = encode(input(TXN), &expected.encode_to_vec()).unwrap();
    let text = r#"{"compare":[{"target":"VALUE","key":"YQ==","value":""}],"#.to_owned()
        + r#""success":[{"request_txn":{"success":[{"request_put":{"key":"YQ=="}}]}}]}"#;
    assert_eq!(json, text);
}

#[test]
fn of_several_values_the_last_counts() {
    // A watch request that creates, asks for progress and creates; found by fuzzing.
    let bytes = [0x0a, 0, 0x1a, 0, 0x0a, 0];
    let watch = input("/etcdserverpb.Watch/Watch");
    let json = encode(watch, &bytes).unwrap();
    assert_eq!(json, r#"{"create_request":{}}"#);
    assert_eq!(crate::text(watch, &bytes).unwrap(), "create_request:{}");
    assert_eq!(decode(watch, json.as_bytes()).unwrap(), [0x0a, 0]);
    let limits = RangeRequest { limit: 1, ..Default::default() }.encode_to_vec();
    let twice = [limits, RangeRequest { limit: 2, ..Default::default() }.encode_to_vec()].concat();
    assert_eq!(encode(input(RANGE), &twice).unwrap(), r#"{"limit":"2"}"#);
    assert_eq!(crate::text(input(RANGE), &twice).unwrap(), "limit:2");
}

#[test]
fn a_message_too_deep_is_refused() {
    let open = r#"{"success":[{"request_txn":"#;
    let json = open.repeat(200) + "{}" + &"}]}".repeat(200);
    let refused = decode(input(TXN), json.as_bytes()).unwrap_err();
    assert_eq!(refused.to_string(), "exceeded max recursion depth");
}

#[test]
fn answers_leave_out_defaults() {
    let header = ResponseHeader { cluster_id: u64::MAX, revision: 2, ..Default::default() };
    let response = RangeResponse { header: Some(header), ..Default::default() };
    assert_eq!(
        encode(output(RANGE), &response.encode_to_vec()).unwrap(),
        r#"{"header":{"cluster_id":"18446744073709551615","revision":"2"}}"#
    );
    let response =
        WatchResponse {
            canceled: true, cancel_reason: "a\"\n\u{1}é".into(), ..Default::default()
        };
    assert_eq!(
        encode(output("/etcdserverpb.Watch/Watch"), &response.encode_to_vec()).unwrap(),
        "{\"canceled\":true,\"cancel_reason\":\"a\\\"\\n\\u0001é\"}"
    );
    let response = StatusResponse { errors: vec!["".into(), "b".into()], ..Default::default() };
    assert_eq!(
        encode(output("/etcdserverpb.Maintenance/Status"), &response.encode_to_vec()).unwrap(),
        r#"{"errors":["","b"]}"#
    );
}

#[test]
fn lists_of_strings_keep_empty_ones() {
    let path = "/etcdserverpb.Cluster/MemberAdd";
    // etcd's own names, not those that style guides want.
    let json = br#"{"peerURLs":["","http://a"],"isLearner":true,"is_learner":false}"#;
    let request = MemberAddRequest::decode(&decode(input(path), json).unwrap()[..]).unwrap();
    assert_eq!(request.peer_urls, ["", "http://a"]);
    assert!(request.is_learner);
}

fn split(text: &str) -> Result<Vec<String>, String> {
    let mut splitter = Splitter::default();
    let mut values = Vec::new();
    let shown = |value: bytes::Bytes| String::from_utf8(value.to_vec()).unwrap();
    for byte in text.as_bytes() {
        splitter.push(&[*byte]);
        while let Some(value) = splitter.next_value().map_err(|error| error.to_string())? {
            values.push(shown(value));
        }
    }
    values.extend(splitter.finish().map_err(|error| error.to_string())?.map(shown));
    Ok(values)
}

#[test]
fn values_are_cut_where_they_end() {
    let found = split(" {\"a\":[1,-0.5e+3, {}]}\n{}[]1 2\"\\u00e9\"true null ").unwrap();
    assert_eq!(
        found,
        ["{\"a\":[1,-0.5e+3, {}]}", "{}", "[]", "1", "2", "\"\\u00e9\"", "true", "null"]
    );
    assert_eq!(split("  \n"), Ok(vec![]));
    assert_eq!(split("12"), Ok(vec!["12".to_owned()]));
}

#[test]
fn broken_json_is_named_as_go_names_it() {
    for (text, error) in [
        ("{\"key\":", "unexpected EOF"),
        ("{\"key\":x}", "invalid character 'x' looking for beginning of value"),
        ("{bad", "invalid character 'b' looking for beginning of object key string"),
        ("{\"a\",", "invalid character ',' after object key"),
        ("{\"a\":1 2", "invalid character '2' after object key:value pair"),
        ("[1 2", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        ("\"\n", "invalid character '\\n' in string literal"),
        ("\"\\x", "invalid character 'x' in string escape code"),
        ("\"\\u00g", "invalid character 'g' in \\u hexadecimal character escape"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("trux", "invalid character 'x' in literal true (expecting 'e')"),
        ("'", "invalid character '\\'' looking for beginning of value"),
        ("\u{7f}", "invalid character '\\x7f' looking for beginning of value"),
        ("é", "invalid character 'Ã' looking for beginning of value"),
    ] {
        assert_eq!(split(text), Err(error.to_owned()), "{text}");
    }
    assert_eq!(split(&"[".repeat(10_001)), Err("exceeded max depth".to_owned()));
}

proptest! {
    /// Whatever comes in, an error or an answer comes out, and what comes out is JSON.
    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), pick in 0..METHODS.len()) {
        let method = &METHODS[pick];
        if let Ok(json) = encode(method.output, &bytes) {
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
        let _refused = decode(method.input, &bytes);
        let mut splitter = Splitter::default();
        splitter.push(&bytes);
        while let Ok(Some(value)) = splitter.next_value() {
            let _refused = decode(method.input, &value);
        }
    }

    /// What is written can be read, and says the same.
    #[test]
    fn there_and_back(
        key in proptest::collection::vec(any::<u8>(), 0..20),
        limit in any::<i64>(),
        order in 0..4_i32,
        keys_only in any::<bool>(),
    ) {
        let request = RangeRequest {
            key: key.into(), limit, sort_order: order, keys_only, ..Default::default()
        };
        let json = encode(input(RANGE), &request.encode_to_vec()).unwrap();
        prop_assert_eq!(range(&json), Ok(request));
    }

    /// JSON-like noise is cut and read without a panic, and cut as another library would.
    #[test]
    fn noise_is_judged_as_by_another_library(text in "[{\\[\"][\\[\\]{}:,\"a1.e+\\- \\\\ntrul]{0,12}") {
        // That library looks at what follows a number or a word; Go's does not.
        let mut splitter = Splitter::default();
        splitter.push(text.as_bytes());
        let first = splitter.next_value().and_then(|value| match value {
            Some(value) => Ok(Some(value)),
            None => splitter.finish(),
        });
        let mut reader = serde_json::Deserializer::from_str(&text)
            .into_iter::<serde::de::IgnoredAny>();
        let second = reader.next();
        let end = reader.byte_offset();
        match (first, second) {
            (Ok(None), None) => {}
            (Ok(Some(value)), Some(Ok(_))) => {
                prop_assert_eq!(&value[..], text.as_bytes()[..end].trim_ascii_start());
            }
            (Err(_), Some(Err(_))) => {}
            (ours, theirs) => prop_assert!(false, "{:?} against {:?}", ours, theirs),
        }
    }
}
