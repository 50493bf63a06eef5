//! Output formats: what a command found, for people and for programs.

use serde_json::Value;

use crate::Failure;

/// How results are shown (`--write-out`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Simple,
    Fields,
    Json,
    Table,
    Protobuf,
}

impl Format {
    /// The format of that name.
    pub(crate) fn parse(name: &str) -> Result<Format, Failure> {
        Ok(match name {
            "simple" => Format::Simple,
            "fields" => Format::Fields,
            "json" => Format::Json,
            "table" => Format::Table,
            "protobuf" => Format::Protobuf,
            _ => return Err(Failure::bad_feature("unsupported output format")),
        })
    }
}

/// One result: a value under each of three names.
pub(crate) struct Column {
    /// The heading of the table.
    pub(crate) heading: &'static str,
    /// The name in `fields`.
    pub(crate) field: &'static str,
    /// The name in JSON.
    pub(crate) json: &'static str,
    /// For people.
    pub(crate) text: String,
    /// For programs.
    pub(crate) value: Value,
}

/// The text of a result in a format, with its line ends.
pub(crate) fn render(format: Format, columns: &[Column]) -> Result<String, Failure> {
    Ok(match format {
        Format::Simple => {
            let texts: Vec<&str> = columns.iter().map(|column| &column.text[..]).collect();
            texts.join(", ") + "\n"
        }
        Format::Fields => columns
            .iter()
            .map(|column| match &column.value {
                Value::String(text) => format!("{:?} : {text}\n", column.field),
                value => format!("{:?} : {value}\n", column.field),
            })
            .collect(),
        Format::Json => {
            let pairs = columns.iter().map(|c| (c.json.to_owned(), c.value.clone()));
            // In the order of the columns, not of the names.
            let pairs: Vec<String> =
                pairs.map(|(name, value)| format!("{}:{value}", Value::String(name))).collect();
            format!("{{{}}}\n", pairs.join(","))
        }
        Format::Table => table(columns),
        Format::Protobuf => {
            return Err(Failure::bad_feature("protobuf not supported as output format"));
        }
    })
}

/// A frame around one row: headings in capitals in the middle of their column, values to the right.
fn table(columns: &[Column]) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .map(|column| column.heading.len().max(column.text.chars().count()))
        .collect();
    let rule = |left: &str, between: &str, right: &str| {
        let lines: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", lines.join(between))
    };
    let row = |cells: Vec<String>| format!("│ {} │\n", cells.join(" │ "));
    let headings = columns.iter().zip(&widths).map(|(column, width)| {
        format!("{:^width$}", column.heading.to_uppercase(), width = *width)
    });
    let values = columns
        .iter()
        .zip(&widths)
        .map(|(column, width)| format!("{:>width$}", column.text, width = *width));
    [
        rule("┌", "┬", "┐"),
        row(headings.collect()),
        rule("├", "┼", "┤"),
        row(values.collect()),
        rule("└", "┴", "┘"),
    ]
    .concat()
}

/// Bytes in units of a thousand, with one decimal below ten.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut value = bytes as f64;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let rounded = (value * 10.0 + 0.5).floor() / 10.0;
    let decimals = if rounded < 10.0 { 1 } else { 0 };
    format!("{rounded:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_etcd_shows_them() {
        let cases = [
            (0, "0 B"),
            (9, "9 B"),
            (10, "10 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (81_920, "82 kB"),
            (9_949, "9.9 kB"),
            (1_500_000_000, "1.5 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human_bytes(bytes), text);
        }
    }

    #[test]
    fn formats() {
        let columns = [
            Column {
                heading: "hash",
                field: "Hash",
                json: "hash",
                text: "625898088".into(),
                value: 625898088.into(),
            },
            Column {
                heading: "version",
                field: "Version",
                json: "version",
                text: "".into(),
                value: "".into(),
            },
        ];
        let show = |name| render(Format::parse(name).unwrap(), &columns).unwrap();
        assert_eq!(show("simple"), "625898088, \n");
        assert_eq!(show("fields"), "\"Hash\" : 625898088\n\"Version\" : \n");
        assert_eq!(show("json"), "{\"hash\":625898088,\"version\":\"\"}\n");
        let table = "\
┌───────────┬─────────┐
│   HASH    │ VERSION │
├───────────┼─────────┤
│ 625898088 │         │
└───────────┴─────────┘
";
        assert_eq!(show("table"), table);
        assert_eq!(render(Format::Protobuf, &columns).unwrap_err().code, 4);
        assert_eq!(Format::parse("xml").unwrap_err().code, 4);
    }
}
