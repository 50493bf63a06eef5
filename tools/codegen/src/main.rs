//! Writes `crates/api/src/generated` from `crates/api/proto`, in pure Rust (no protoc), and the
//! tables of `crates/protojson/src/generated`.
//!
//! The result is committed; `--check` writes nothing and fails if it is stale.

mod names;
mod tables;

use std::{fs, path::Path, process::ExitCode};

use protox::prost_reflect::DescriptorPool;

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
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates");
    let check = std::env::args().any(|arg| arg == "--check");
    let mut stale = Vec::new();
    for (name, generate) in [("api", generate as fn(&Path, &Path)), ("protojson", write_tables)] {
        let fresh = std::env::temp_dir().join(format!("codegen-{name}-{}", std::process::id()));
        fs::create_dir_all(&fresh).expect("create the output directory");
        generate(&crates.join("api/proto"), &fresh);
        stale.extend(install(&fresh, &crates.join(name).join("src/generated"), check));
        fs::remove_dir_all(&fresh).expect("remove the temporary output");
    }
    if stale.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("stale generated files: {}; run cargo xtask codegen", stale.join(", "));
    ExitCode::FAILURE
}

/// Writes what JSON needs to know of the messages.
fn write_tables(protos: &Path, out: &Path) {
    let descriptors = protox::compile(PROTOS, [protos]).expect("compile the proto files");
    let pool = DescriptorPool::from_file_descriptor_set(descriptors).expect("a whole set");
    fs::write(out.join("tables.rs"), tables::tables(&pool)).expect("write the tables");
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
