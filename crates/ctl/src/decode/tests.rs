//! What values decode to, and that no bytes break it.

use proptest::prelude::*;

use super::*;

/// A field with bytes: a text or a message.
fn bytes(number: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut out = Vec::new();
    prost::encoding::encode_varint(u64::from(number) << 3 | 2, &mut out);
    prost::encoding::encode_varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

/// A field with an integer.
fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(u64::from(number) << 3, &mut out);
    prost::encoding::encode_varint(value, &mut out);
    out
}

fn entry(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [bytes(1, key), bytes(2, value)].concat()
}

/// An object as an API server stores it.
fn object(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [bytes(1, api_version), bytes(2, kind)].concat();
    let message = [bytes(1, type_meta), bytes(2, raw), bytes(3, ""), bytes(4, "")].concat();
    [b"k8s\0", &message[..]].concat()
}

/// `metadata` of an object, with what real ones always have.
fn metadata(name: &str, namespace: &str) -> Vec<u8> {
    let created = [varint(1, 1_700_000_000), varint(2, 0)].concat();
    [
        bytes(1, name),
        bytes(2, ""),
        bytes(3, namespace),
        bytes(4, ""),
        bytes(5, "8b7e"),
        bytes(6, ""),
        varint(7, 0),
        bytes(8, created),
        bytes(11, entry("app", "web")),
        bytes(17, bytes(1, "manager")),
    ]
    .concat()
}

fn yaml(value: &[u8]) -> String {
    decode(value, Show::default()).render(Style::Yaml, Paint::OFF)
}

#[test]
fn a_pod() {
    let resources = bytes(2, entry("cpu", bytes(1, "100m")));
    let port = [varint(2, 0), varint(3, 8080), bytes(4, "TCP")].concat();
    // A handler is no member of its own in JSON.
    let get = bytes(
        2,
        [bytes(1, "/healthz"), bytes(2, [varint(1, 0), varint(2, 8080)].concat())].concat(),
    );
    let probe = [bytes(1, get), varint(4, 10)].concat();
    let container = [
        bytes(1, "web"),
        bytes(2, "registry.example/web:1.2"),
        bytes(4, "--verbose"),
        bytes(4, "yes"),
        bytes(6, port),
        bytes(8, resources),
        bytes(10, probe),
        varint(16, 0),
    ]
    .concat();
    let volume = [bytes(1, "tmp"), bytes(2, bytes(2, [bytes(1, "")].concat()))].concat();
    let spec =
        [bytes(1, volume), bytes(2, container), varint(4, 30), bytes(10, "node-1"), varint(200, 7)]
            .concat();
    let status = [bytes(1, "Running"), bytes(6, "10.0.0.7")].concat();
    let raw = [bytes(1, metadata("web-1", "default")), bytes(2, spec), bytes(3, status)].concat();
    let expected = r#"apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: "2023-11-14T22:13:20Z"
  labels:
    app: web
  name: web-1
  namespace: default
  uid: 8b7e
spec:
  containers:
  - args:
    - --verbose
    - "yes"
    image: registry.example/web:1.2
    livenessProbe:
      httpGet:
        path: /healthz
        port: 8080
      periodSeconds: 10
    name: web
    ports:
    - containerPort: 8080
      protocol: TCP
    resources:
      requests:
        cpu: 100m
  field200: 7
  nodeName: node-1
  terminationGracePeriodSeconds: 30
  volumes:
  - emptyDir: {}
    name: tmp
status:
  phase: Running
  podIP: 10.0.0.7
"#;
    assert_eq!(yaml(&object("v1", "Pod", &raw)), expected);
}

#[test]
fn a_lease_a_config_map_and_a_definition() {
    let renewed = [varint(1, 1_700_000_000), varint(2, 123_456_000)].concat();
    let spec = [bytes(1, "node-1"), varint(2, 40), bytes(4, renewed)].concat();
    let lease = [bytes(1, bytes(1, "node-1")), bytes(2, spec)].concat();
    let text = yaml(&object("coordination.k8s.io/v1", "Lease", &lease));
    assert!(text.contains("  renewTime: \"2023-11-14T22:13:20.123456Z\"\n"), "{text}");
    assert!(text.contains("  leaseDurationSeconds: 40\n"), "{text}");

    let config = [
        bytes(2, entry("app.conf", "a = 1\nb = 2\n")),
        bytes(2, entry("A", "")),
        bytes(3, entry("blob", b"\x00\xff")),
    ]
    .concat();
    let text = yaml(&object("v1", "ConfigMap", &config));
    let expected = r#"apiVersion: v1
binaryData:
  blob: AP8=
data:
  A: ""
  app.conf: |
    a = 1
    b = 2
kind: ConfigMap
"#;
    assert_eq!(text, expected);

    let schema = [
        bytes(5, "object"),
        bytes(29, entry("x", [bytes(5, "string"), bytes(8, bytes(1, "\"d\""))].concat())),
        bytes(30, [varint(1, 1)].concat()),
        varint(38, 1),
    ]
    .concat();
    let version = [bytes(1, "v1"), varint(2, 1), bytes(4, bytes(1, schema))].concat();
    let crd = bytes(2, [bytes(1, "example.com"), bytes(7, version)].concat());
    let text = yaml(&object("apiextensions.k8s.io/v1", "CustomResourceDefinition", &crd));
    let expected = "    schema:
      openAPIV3Schema:
        additionalProperties: true
        properties:
          x:
            default: d
            type: string
        type: object
        x-kubernetes-preserve-unknown-fields: true
    served: true
";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn secrets_are_hidden_unless_asked_for() {
    let annotation =
        entry("kubectl.kubernetes.io/last-applied-configuration", "{\"data\":\"hunter2\"}");
    let metadata = [bytes(1, "db"), bytes(12, annotation)].concat();
    let raw =
        [bytes(1, metadata), bytes(2, entry("password", "hunter2")), bytes(3, "Opaque")].concat();
    let value = object("v1", "Secret", &raw);
    let text = yaml(&value);
    assert!(text.contains("  password: (hidden, 7 bytes)\n"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "{text}");
    let shown = Show { secrets: true, ..Show::default() };
    let text = decode(&value, shown).render(Style::Yaml, Paint::OFF);
    assert!(text.contains("password: aHVudGVyMg==") && text.contains("hunter2"), "{text}");

    let json = br#"{"apiVersion":"v1","kind":"Secret","stringData":{"p":"hunter2"}}"#;
    assert!(!yaml(json).contains("hunter2"));
}

#[test]
fn managed_fields_only_when_asked_for() {
    let value = object("v1", "Namespace", &bytes(1, metadata("default", "")));
    assert!(!yaml(&value).contains("managedFields"));
    let shown = Show { managed_fields: true, ..Show::default() };
    let text = decode(&value, shown).render(Style::Yaml, Paint::OFF);
    assert!(text.contains("  managedFields:\n  - manager: manager\n"), "{text}");
}

#[test]
fn objects_of_unknown_types_by_number() {
    let raw =
        [bytes(1, bytes(1, "thing")), varint(2, 7), varint(2, u64::MAX), bytes(3, b"\xff\xfe")]
            .concat();
    let expected = "# example.com/v1 Widget is not known: fields by number
apiVersion: example.com/v1
kind: Widget
field1:
  field1: thing
field2:
- 7
- -1
field3: //4=
";
    assert_eq!(yaml(&object("example.com/v1", "Widget", &raw)), expected);
    // Without an envelope the same message is no object.
    let text = yaml(&raw);
    assert!(text.starts_with("# a protobuf message: fields by number\nfield1:\n"), "{text}");
}

#[test]
fn values_of_others() {
    assert_eq!(yaml(b"plain text"), "plain text\n");
    assert_eq!(yaml(b"42"), "42\n");
    assert_eq!(yaml(b""), "");
    assert_eq!(yaml(b"\xff\x1b[2J"), "\"\\xff\\x1b[2J\"\n");
    assert_eq!(
        yaml(br#"{"b":1,"a":[true,null,1.5,"x"]}"#),
        "b: 1\na:\n- true\n- null\n- 1.5\n- x\n"
    );
    assert_eq!(yaml(b"{not json"), "{not json\n");
    let encrypted = yaml(b"k8s:enc:aescbc:v1:key1:\x00\x01\x02");
    assert_eq!(encrypted, "# encrypted by aescbc v1, key key1: 3 bytes\n");
    let json = decode(b"\xff", Show::default()).render(Style::Json, Paint::OFF);
    assert_eq!(json, "{\n  \"base64\": \"/w==\"\n}\n");
}

#[test]
fn a_key_and_its_value_on_one_line() {
    let kv = KeyValue {
        key: b"/a".as_slice().into(),
        create_revision: 2,
        mod_revision: 3,
        version: 2,
        value: br#"{"x": "\u001b"}"#.as_slice().into(),
        lease: 0,
    };
    let line = json_line(&kv, Show::default());
    let (head, value) = line.split_once(r#","value":"#).unwrap();
    assert_eq!(head, r#"{"key":"/a","create_revision":2,"mod_revision":3,"version":2,"lease":0"#);
    assert_eq!(value, r#"{"x":"\u001b"}}"#);
}

#[test]
fn nesting_is_bounded() {
    let mut message = varint(1, 1);
    for _ in 0..5000 {
        message = bytes(1, message);
    }
    assert!(yaml(&message).contains("nested too deep"));
    let mut schema = bytes(5, "string");
    for _ in 0..5000 {
        schema = bytes(28, schema);
    }
    let crd = bytes(2, bytes(7, bytes(4, bytes(1, schema))));
    let text = yaml(&object("apiextensions.k8s.io/v1", "CustomResourceDefinition", &crd));
    assert!(text.contains("nested too deep"));
    let mut inner = object("v1", "Pod", &[]);
    for _ in 0..200 {
        inner = object("apps/v1", "ControllerRevision", &bytes(2, bytes(1, &inner)));
    }
    assert!(yaml(&inner).contains("nested too deep"));
    let deep = "[".repeat(5000);
    assert_eq!(yaml(deep.as_bytes()), format!("{deep}\n"));
}

/// Trees that YAML and JSON can say.
fn node() -> impl Strategy<Value = Node> {
    let text = prop_oneof![
        "[a-z0-9:#. \\-\n\t\"'{}\\[\\],&*!|>%@~=_+]{0,12}",
        "\\PC{0,8}",
        any::<String>(),
        prop::sample::select(vec![
            "yes",
            "1e3",
            "0x1f",
            "1:20",
            "2024-01-01",
            "~",
            "a\nb\n",
            "a\n\n",
            "-",
            "---",
            "null",
            ".5",
            "1_000",
            "\u{85}",
            "\u{feff}x"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Node::Null),
        any::<bool>().prop_map(Node::Bool),
        any::<i64>().prop_map(Node::Int),
        text.clone().prop_map(Node::Text),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::List),
            prop::collection::btree_map(text.clone(), inner, 0..4)
                .prop_map(|map| Node::Map(map.into_iter().collect())),
        ]
    })
}

fn same(yaml: &serde_norway::Value, node: &Node) -> bool {
    use serde_norway::Value;
    match (yaml, node) {
        (Value::Null, Node::Null) => true,
        (Value::Bool(a), Node::Bool(b)) => a == b,
        (Value::Number(a), Node::Int(b)) => a.as_i64() == Some(*b),
        (Value::String(a), Node::Text(b)) => a == b,
        (Value::Sequence(a), Node::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Mapping(a), Node::Map(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|((name, a), (other, b))| {
                    name.as_str() == Some(other.as_str()) && same(a, b)
                })
        }
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_decode_to_something_harmless(
        value in prop::collection::vec(any::<u8>(), 0..200),
        envelope in any::<bool>(),
    ) {
        let value = if envelope { object("v1", "Pod", &value) } else { value };
        for style in [Style::Yaml, Style::Json] {
            let text = decode(&value, Show::default()).render(style, Paint::OFF);
            prop_assert!(text::is_text(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn damaged_objects_decode_to_something_harmless(
        at in 0_usize..400,
        byte in any::<u8>(),
        cut in 0_usize..400,
    ) {
        let container = [bytes(1, "c"), bytes(10, varint(2, 1))].concat();
        let raw = [bytes(1, metadata("a", "b")), bytes(2, bytes(2, container))].concat();
        let mut value = object("v1", "Pod", &raw);
        let at = at % value.len();
        value[at] = byte;
        value.truncate(value.len() - cut % value.len());
        let text = yaml(&value);
        prop_assert!(text::is_text(text.as_bytes()), "{text:?}");
    }

    #[test]
    fn yaml_reads_back(node in node()) {
        let text = yaml::write(&node, Paint::OFF);
        let read: serde_norway::Value = serde_norway::from_str(&text)
            .map_err(|error| TestCaseError::fail(format!("{error}: {text}")))?;
        prop_assert!(same(&read, &node), "{text}\n{read:?}");
    }

    #[test]
    fn json_reads_back(node in node()) {
        for text in [json::write(&node, Paint::OFF), json::write_line(&node)] {
            prop_assert_eq!(json::read(text.as_bytes()), Some(node.clone()));
        }
    }
}
