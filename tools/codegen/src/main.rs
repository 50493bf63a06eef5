//! Writes `crates/api/src/generated` from `crates/api/proto`, in pure Rust (no protoc).
//!
//! The result is committed; `--check` writes nothing and fails if it is stale.

use std::{fs, path::Path, process::ExitCode};

const PROTOS: [&str; 12] = [
    "authpb.proto",
    "etcdserverpb.proto",
    "health.proto",
    "leasepb.proto",
    "membershippb.proto",
    "mvccpb.proto",
    "raft_internal.proto",
    "raftpb.proto",
    "snappb.proto",
    "v3electionpb.proto",
    "v3lockpb.proto",
    "walpb.proto",
];

fn main() -> ExitCode {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/api");
    let committed = api.join("src/generated");
    let fresh = std::env::temp_dir().join(format!("oxetcd-codegen-{}", std::process::id()));
    fs::create_dir_all(&fresh).expect("create the output directory");
    generate(&api.join("proto"), &fresh);
    let stale = install(&fresh, &committed, std::env::args().any(|arg| arg == "--check"));
    fs::remove_dir_all(&fresh).expect("remove the temporary output");
    if stale.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("stale generated files: {}; run cargo xtask codegen", stale.join(", "));
    ExitCode::FAILURE
}

/// Compiles every proto file into `out`. Stubs are behind the `tonic` feature of `api`; stored
/// key-values keep their encoded form (`RawKeyValue`).
fn generate(protos: &Path, out: &Path) {
    let descriptors = protox::compile(PROTOS, [protos]).expect("compile the proto files");
    tonic_prost_build::configure()
        .out_dir(out)
        .build_transport(false)
        .bytes(".")
        .extern_path(".mvccpb.KeyValue", "crate::kv::RawKeyValue")
        .server_mod_attribute(".", "#[cfg(feature = \"server\")]")
        .client_mod_attribute(".", "#[cfg(feature = \"client\")]")
        .compile_fds(descriptors)
        .expect("generate Rust");
}

/// Copies changed files to `committed`, or only names them when `check` is set.
fn install(fresh: &Path, committed: &Path, check: bool) -> Vec<String> {
    let mut stale = Vec::new();
    for entry in fs::read_dir(fresh).expect("list the output") {
        let path = entry.expect("read the output").path();
        let name = path.file_name().expect("a file has a name");
        let new = fs::read(&path).expect("read a generated file");
        let target = committed.join(name);
        if fs::read(&target).is_ok_and(|old| old == new) {
            continue;
        }
        if check {
            stale.push(name.to_string_lossy().into_owned());
        } else {
            fs::write(&target, new).expect("write a generated file");
        }
    }
    stale
}
