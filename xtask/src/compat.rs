//! COMPAT.md and its pages must name living tests, and every method of the protocol must have a row.

use std::fs;

use anyhow::{Context, Result};

use crate::shell::root;

/// Checks the rows of COMPAT.md and of the proxies' page: a test named as `path::test_name` must exist; every rpc of the
/// proto files must be named.
pub(crate) fn check(findings: &mut Vec<String>) -> Result<()> {
    let read =
        |page: &str| fs::read_to_string(root().join(page)).with_context(|| format!("read {page}"));
    let text = read("COMPAT.md")?;
    for page in ["COMPAT.md", "docs/compat/proxy.md"] {
        for (file, test) in references(&read(page)?) {
            let Ok(source) = fs::read_to_string(root().join(&file)) else {
                findings.push(format!("{page} names {file}, which does not exist"));
                continue;
            };
            if !test.is_empty() && !source.contains(&format!("fn {test}")) {
                findings.push(format!("{page} names {file}::{test}, which does not exist"));
            }
        }
    }
    for method in methods()? {
        if !text.contains(&format!("`{method}`")) {
            findings.push(format!("COMPAT.md has no row for the method {method}"));
        }
    }
    Ok(())
}

/// The `[file.rs::test]` references of the table rows, in backquotes.
fn references(text: &str) -> Vec<(String, String)> {
    let rows = text.lines().filter(|line| line.starts_with('|'));
    let quoted = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    quoted
        .filter(|quoted| quoted.contains(".rs"))
        .map(|quoted| {
            let (file, test) = quoted.split_once("::").unwrap_or((quoted, ""));
            (file.to_owned(), test.to_owned())
        })
        .collect()
}

/// Every method as `Service.Method`.
fn methods() -> Result<Vec<String>> {
    let mut methods = Vec::new();
    for file in ["etcdserverpb", "v3lockpb", "v3electionpb", "health"] {
        let path = root().join(format!("crates/api/proto/{file}.proto"));
        let text = fs::read_to_string(&path).with_context(|| format!("read {path:?}"))?;
        let mut service = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.trim_end_matches(" {");
            } else if let Some(rest) = line.trim().strip_prefix("rpc ") {
                let method = rest.split('(').next().unwrap_or_default();
                methods.push(format!("{service}.{method}"));
            }
        }
    }
    Ok(methods)
}
