//! Checks of the tree that no compiler makes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    compat, layers,
    shell::{capture, command, root},
};

/// Runs every check and reports all that they find.
pub(crate) fn run() -> Result<()> {
    let mut findings = Vec::new();
    dependencies(&mut findings)?;
    for file in sources(&root())? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {file:?}"))?;
        let name = file.strip_prefix(root()).expect("listed below the root").display().to_string();
        source(&name, &text, &mut findings);
    }
    compat::check(&mut findings)?;
    if findings.is_empty() {
        println!("tidy: no findings");
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("{} findings", findings.len())
}

/// Compares the arrows between crates with the layers.
fn dependencies(findings: &mut Vec<String>) -> Result<()> {
    let metadata = capture(command("cargo").args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--locked",
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("parse cargo metadata")?;
    for package in metadata["packages"].as_array().context("metadata has packages")? {
        let name = package["name"].as_str().context("a package has a name")?;
        let Some(from) = layers::layer(name) else {
            findings.push(format!("crate {name} stands in no layer of xtask/src/layers.rs"));
            continue;
        };
        switches(name, package, findings);
        for dependency in package["dependencies"].as_array().context("a list")? {
            let to = dependency["name"].as_str().context("a dependency has a name")?;
            let dev = dependency["kind"] == "dev";
            arrow(name, from, to, dev, findings);
        }
    }
    Ok(())
}

/// Only the simulator may be built with mutants.
fn switches(name: &str, package: &Value, findings: &mut Vec<String>) {
    let of_others = !["sim", "mutants"].contains(&name);
    let mut asked = of_others && package["features"].to_string().contains("mutants/switch");
    for dependency in package["dependencies"].as_array().into_iter().flatten() {
        let features = dependency["features"].to_string();
        asked |= dependency["name"] == "mutants" && features.contains("switch");
    }
    if asked {
        findings.push(format!("{name} may not switch mutants on: the simulator alone does"));
    }
}

fn arrow(name: &str, from: usize, to_name: &str, dev: bool, findings: &mut Vec<String>) {
    if let Some(to) = layers::layer(to_name) {
        let sideways = layers::SIDEWAYS.contains(&(name, to_name));
        if to >= from && !sideways && !dev {
            findings.push(format!("{name} may not depend on {to_name}: arrows point down only"));
        }
    }
    for (reserved, who) in layers::RESERVED {
        if to_name == *reserved && !who.contains(&name) && !dev {
            findings.push(format!("{name} may not depend on {reserved}"));
        }
    }
}

/// Every Rust source of the project, generated ones left out.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders =
        vec![root.join("crates"), root.join("xtask"), root.join("tests"), root.join("tools")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("list {folder:?}"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "generated" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn source(name: &str, text: &str, findings: &mut Vec<String>) {
    if !text.starts_with("//!") {
        findings.push(format!("{name}: opens without a module doc"));
    }
    // Spelled in halves so that this file does not find itself.
    for mark in ["TO\u{44}O", "FIX\u{4d}E", "XX\u{58}"] {
        if text.contains(mark) {
            findings.push(format!("{name}: has a mark {mark}"));
        }
    }
    let crate_name = name.split('/').nth(1).unwrap_or_default();
    let core = name.starts_with("crates/") && layers::layer(crate_name).is_some_and(|l| l <= 3);
    if !core || !name.contains("/src/") {
        return;
    }
    let production = text.split("#[cfg(test)]").next().unwrap_or_default();
    for (word, allowed) in layers::CORE_BANS {
        let test_file = name.ends_with("tests.rs") || name.contains("/tests/");
        let exempt = test_file || allowed.iter().any(|place| name.starts_with(place));
        if production.contains(word) && !exempt {
            findings.push(format!("{name}: {word} in a deterministic layer"));
        }
    }
}
