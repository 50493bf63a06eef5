//! The table format: lines around cells, headings centred, values to the right.

use std::io::Write;

use super::{
    Answer, Printer,
    rows::{self, Rows},
    unsupported,
};
use crate::exit::Outcome;

/// The table format.
pub(super) struct Table;

impl Printer for Table {
    fn print(&self, answer: &Answer<'_>, out: &mut dyn Write) -> Outcome {
        let rows = match answer {
            Answer::MemberList(response) => rows::members(response),
            Answer::EndpointHealth(list) => rows::health(list),
            Answer::EndpointStatus(list) => rows::status(list),
            Answer::EndpointHashKv(list) => rows::hashes(list),
            _ => return Err(unsupported("table")),
        };
        out.write_all(draw(&rows).as_bytes())?;
        Ok(())
    }
}

fn draw(table: &Rows) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<_> = table.headings.iter().map(|heading| width(heading)).collect();
    for row in &table.rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let line = |left: &str, cross: &str, right: &str| {
        let spans: Vec<_> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", spans.join(cross))
    };
    let mut out = line("┌", "┬", "┐");
    for (heading, width) in table.headings.iter().zip(&widths) {
        out.push_str(&format!("│ {heading:^width$} "));
    }
    out.push_str("│\n");
    if !table.rows.is_empty() {
        out.push_str(&line("├", "┼", "┤"));
    }
    for row in &table.rows {
        for (cell, width) in row.iter().zip(&widths) {
            out.push_str(&format!("│ {cell:>width$} "));
        }
        out.push_str("│\n");
    }
    out.push_str(&line("└", "┴", "┘"));
    out
}
