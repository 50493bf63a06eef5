//! The layers of ARCHITECTURE.md as data: what each crate may depend on.

/// Crates by layer, lowest first. A crate may use any crate of a lower layer, none of its own but
/// those listed in [`SIDEWAYS`].
pub(crate) const LAYERS: &[&[&str]] = &[
    &["api", "vfs", "bbolt", "checker", "model", "mutants"],
    &["wal", "storage"],
    &["mvcc", "watch", "lease", "membership", "auth", "v2store"],
    &["apply", "replica"],
    &[
        "config",
        "priority",
        "protojson",
        "tls",
        "transport",
        "client",
        "server",
        "ctl",
        "utl",
        "proxy",
    ],
    &["oxetcd", "bench", "sim", "conformance", "cluster", "fuzzed", "xtask"],
];

/// Allowed arrows within one layer: (from, to).
pub(crate) const SIDEWAYS: &[(&str, &str)] = &[
    ("model", "api"),
    ("transport", "tls"),
    ("client", "tls"),
    ("server", "config"),
    ("server", "priority"),
    ("server", "protojson"),
    ("server", "tls"),
    ("server", "transport"),
    ("server", "client"),
    ("ctl", "client"),
    ("ctl", "tls"),
    ("ctl", "utl"),
    ("utl", "client"),
    ("utl", "tls"),
    ("proxy", "client"),
    ("proxy", "config"),
    ("proxy", "protojson"),
    ("proxy", "tls"),
    ("oxetcd", "bench"),
    ("bench", "client"),
    ("bench", "tls"),
];

/// Dependencies that only some crates may have: (dependency, who).
pub(crate) const RESERVED: &[(&str, &[&str])] = &[
    ("raft", &["replica"]),
    ("heed", &["storage"]),
    ("tonic", &["api", "server", "client", "ctl", "proxy", "bench", "conformance", "cluster"]),
    (
        "tokio",
        &[
            "config",
            "tls",
            "transport",
            "client",
            "server",
            "ctl",
            "utl",
            "proxy",
            "oxetcd",
            "bench",
            "conformance",
            "cluster",
        ],
    ),
    (
        "hyper",
        &["transport", "client", "server", "proxy", "ctl", "bench", "conformance", "cluster"],
    ),
    (
        "tracing",
        &["config", "tls", "transport", "server", "client", "ctl", "utl", "proxy", "oxetcd"],
    ),
    ("prometheus", &["server", "proxy"]),
];

/// Words that must not stand in the sources of layers 0 to 3, with where they may.
pub(crate) const CORE_BANS: &[(&str, &[&str])] = &[
    ("Instant::now", &[]),
    ("SystemTime::now", &[]),
    ("thread::sleep", &[]),
    ("thread::spawn", &[]),
    ("std::net", &[]),
    ("thread_rng", &[]),
    ("std::fs", &["crates/vfs/src/os", "crates/storage/src/engine"]),
];

/// The layer of a crate of the workspace.
pub(crate) fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}
