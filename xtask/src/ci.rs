//! What a machine checks besides running tests.

use anyhow::Result;

use crate::{
    shell::{command, run as sh},
    tidy,
};

/// Format, lint, tidy, generated code.
pub(crate) fn run() -> Result<()> {
    sh(command("cargo").args(["fmt", "--all", "--check"]))?;
    sh(command("cargo").args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    tidy::run()?;
    codegen(true)
}

/// Writes or checks the generated protocol code. The generator has a workspace of its own; its
/// target folder lies in the project's.
pub(crate) fn codegen(check: bool) -> Result<()> {
    let mut generate = command("cargo");
    generate.args(["run", "--quiet", "--manifest-path", "tools/codegen/Cargo.toml"]);
    generate.env("CARGO_TARGET_DIR", crate::shell::root().join("target/codegen"));
    if check {
        generate.args(["--", "--check"]);
    }
    sh(&mut generate)
}
