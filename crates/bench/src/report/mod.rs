//! What a load is reported as: one value that is printed, written as JSON, and compared.

pub(crate) mod figures;
pub(crate) mod text;

use crate::{load::record::Outcome, probe::Costs};
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The report of one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The verb.
    pub(crate) verb: String,
    /// The server.
    pub(crate) endpoint: String,
    /// Clients.
    pub(crate) clients: usize,
    /// Connections they shared.
    pub(crate) connections: usize,
    /// Requests per second of an open loop.
    pub(crate) rate: Option<f64>,
    /// What was done and how fast.
    pub(crate) outcome: Outcome,
    /// What it cost.
    pub(crate) costs: Costs,
}

/// Prints `text`, and writes `value` as JSON when a file is named; `-` replaces the text.
pub(crate) fn emit(value: &impl Serialize, text: &str, json: Option<&Path>) -> Result<()> {
    let Some(path) = json else {
        print!("{text}");
        return Ok(());
    };
    let mut encoded = serde_json::to_string_pretty(value).context("encode the report")?;
    encoded.push('\n');
    if path == Path::new("-") {
        print!("{encoded}");
        return Ok(());
    }
    print!("{text}");
    std::fs::write(path, encoded).with_context(|| format!("write {}", path.display()))
}
