//! Verbs that start one server and measure it once.

pub(crate) mod idle;
pub(crate) mod restart;

use crate::report::figures::Figures;
use std::fmt::Write as _;

/// Figures as lines of text.
pub(crate) fn lines(title: &str, figures: &Figures) -> String {
    let mut out = format!("{title}\n");
    for figure in &figures.0 {
        let _ = writeln!(out, "  {:<28} {:>12.1}", figure.name, figure.value);
    }
    out
}
