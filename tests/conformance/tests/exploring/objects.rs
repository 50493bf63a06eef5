//! Keys and values as an API server of Kubernetes writes them.

/// A field with text, bytes or a message.
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

fn message(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

/// An entry of a map.
fn entry(number: u32, key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    bytes(number, message(&[bytes(1, key), bytes(2, value)]))
}

/// The envelope of stored objects.
fn object(api_version: &str, kind: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let meta = message(&[bytes(1, api_version), bytes(2, kind)]);
    let body = message(&[bytes(1, meta), bytes(2, message(parts)), bytes(3, ""), bytes(4, "")]);
    [b"k8s\0", &body[..]].concat()
}

/// `metadata`, with the record of who set which field.
fn metadata(name: &str, namespace: &str, labels: &[(&str, &str)]) -> Vec<u8> {
    let created = bytes(8, message(&[varint(1, 1_767_225_600), varint(2, 0)]));
    let manager = bytes(17, message(&[bytes(1, "kube-apiserver"), bytes(2, "Update")]));
    let mut parts = vec![bytes(1, name), bytes(2, ""), bytes(3, namespace), created];
    parts.extend(labels.iter().map(|(key, value)| entry(11, key, value)));
    parts.push(manager);
    bytes(1, message(&parts))
}

fn namespace(name: &str) -> (String, Vec<u8>) {
    let status = bytes(3, bytes(1, "Active"));
    let value = object("v1", "Namespace", &[metadata(name, "", &[]), status]);
    (format!("/registry/namespaces/{name}"), value)
}

fn pod(namespace: &str, app: &str, id: &str, phase: &str) -> (String, Vec<u8>) {
    let name = format!("{app}-{id}");
    let container = bytes(
        2,
        message(&[
            bytes(1, app),
            bytes(2, format!("registry.example/{app}:1.4.2")),
            bytes(8, bytes(2, message(&[bytes(1, "cpu"), bytes(2, bytes(1, "100m"))]))),
        ]),
    );
    let spec = bytes(2, message(&[container, bytes(3, "Always"), bytes(10, "node-1")]));
    let status = bytes(3, bytes(1, phase));
    let metadata = metadata(&name, namespace, &[("app", app)]);
    let value = object("v1", "Pod", &[metadata, spec, status]);
    (format!("/registry/pods/{namespace}/{name}"), value)
}

fn deployment(name: &str, replicas: u64, ready: u64) -> (String, Vec<u8>) {
    let selector = bytes(2, entry(1, "app", name));
    let spec = bytes(2, message(&[varint(1, replicas), selector]));
    let status = bytes(3, message(&[varint(2, replicas), varint(7, ready)]));
    let value = object("apps/v1", "Deployment", &[metadata(name, "shop", &[]), spec, status]);
    (format!("/registry/deployments/shop/{name}"), value)
}

fn config(level: &str) -> (String, Vec<u8>) {
    let data = entry(2, "app.conf", format!("log_level = {level}\nworkers = 4\n"));
    let value = object("v1", "ConfigMap", &[metadata("app", "shop", &[]), data]);
    ("/registry/configmaps/shop/app".to_owned(), value)
}

fn secret() -> (String, Vec<u8>) {
    let (user, password) = (entry(2, "user", "shop"), entry(2, "password", "correct horse"));
    let value =
        object("v1", "Secret", &[metadata("db", "shop", &[]), user, password, bytes(3, "Opaque")]);
    ("/registry/secrets/shop/db".to_owned(), value)
}

fn node_lease(node: &str) -> (String, Vec<u8>) {
    let renewed = bytes(4, message(&[varint(1, 1_767_226_000), varint(2, 0)]));
    let spec = bytes(2, message(&[bytes(1, node), varint(2, 40), renewed]));
    let metadata = metadata(node, "kube-node-lease", &[]);
    let value = object("coordination.k8s.io/v1", "Lease", &[metadata, spec]);
    (format!("/registry/leases/kube-node-lease/{node}"), value)
}

fn order() -> (String, Vec<u8>) {
    let value = r#"{"apiVersion":"shop.example.com/v1","kind":"Order",
        "metadata":{"name":"o-1","namespace":"shop"},"spec":{"items":["tea","cup"],"total":42.5}}"#;
    ("/registry/shop.example.com/orders/shop/o-1".to_owned(), value.into())
}

/// A kind that no table has.
fn widget() -> (String, Vec<u8>) {
    let spec = bytes(2, message(&[varint(1, 3), bytes(2, "blue"), bytes(3, [0xff, 0])]));
    let value = object("example.com/v1", "Widget", &[metadata("w", "shop", &[]), spec]);
    ("/registry/example.com/widgets/shop/w".to_owned(), value)
}

/// The puts of a small cluster's first minutes, in order; the first makes revision 2.
pub(crate) fn puts() -> Vec<(String, Vec<u8>)> {
    let pods = [
        ("kube-system", "coredns", "x2x9k"),
        ("kube-system", "coredns", "p4m2c"),
        ("shop", "cart", "8xk2p"),
        ("shop", "web", "2kfzl"),
        ("shop", "web", "9jq4t"),
    ];
    let mut puts: Vec<_> = ["default", "kube-system", "shop"].map(namespace).into();
    puts.extend(["node-1", "node-2"].map(node_lease));
    puts.extend([config("info"), secret(), deployment("cart", 1, 0), deployment("web", 2, 0)]);
    for phase in ["Pending", "Running"] {
        puts.extend(pods.map(|(namespace, app, id)| pod(namespace, app, id, phase)));
    }
    puts.extend([deployment("cart", 1, 1), deployment("web", 2, 2), config("debug")]);
    puts.extend([order(), widget()]);
    puts
}
