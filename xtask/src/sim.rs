//! Runs the simulator, and the old sins that it must catch.

use anyhow::Result;

use crate::shell::{command, root, run as sh};

/// Runs seeds; `--release` is for cargo (the profile `sim`, in which a panic ends its seed alone), all
/// else for the simulator. It has its switches for mutants, all off, so that one build serves both
/// tasks.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut cargo = command("cargo");
    cargo.args(["run", "--quiet", "-p", "sim"]);
    if args.iter().any(|arg| arg == "--release") {
        cargo.args(["--profile", "sim", "--features", "switch"]);
    }
    cargo.arg("--").args(args.iter().filter(|arg| *arg != "--release"));
    sh(&mut cargo)
}

/// Runs seeds with each mutant until one fails. With all of them the table is written, too.
pub(crate) fn mutants(args: &[String]) -> Result<()> {
    let mut cargo = command("cargo");
    cargo.args(["run", "--quiet", "-p", "sim", "--profile", "sim", "--features", "switch", "--"]);
    if !args.iter().any(|arg| arg == "--seeds") {
        cargo.args(["--seeds", "3000"]);
    }
    if !args.iter().any(|arg| arg == "--mutant") {
        cargo.arg("--table").arg(root().join("docs/mutants.md"));
    }
    sh(cargo.args(args))
}
