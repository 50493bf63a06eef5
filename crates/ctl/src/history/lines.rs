//! What changed between two values, line by line.

use std::io::{self, Write};

use similar::{ChangeTag, TextDiff};

use crate::decode::{Show, Style, decode, paint::Paint};

/// Unchanged lines around each change.
const CONTEXT: usize = 3;

/// Shows how one value became another, as lines of what they decode to.
pub(crate) fn changed(
    before: &[u8],
    after: &[u8],
    show: Show,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    if before == after {
        return writeln!(out, "  {}", paint.faint("(the same value)"));
    }
    let (before, after) = (text(before, show), text(after, show));
    if before == after {
        return writeln!(out, "  {}", paint.faint("(the difference is in what is not shown)"));
    }
    let diff = TextDiff::from_lines(&before, &after);
    for (at, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if at > 0 {
            writeln!(out, "  {}", paint.faint("..."))?;
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            line(change.tag(), change.value(), paint, out)?;
        }
    }
    Ok(())
}

/// Shows a whole value, with this mark before each line.
pub(super) fn whole(
    value: &[u8],
    tag: ChangeTag,
    show: Show,
    paint: Paint,
    out: &mut dyn Write,
) -> io::Result<()> {
    text(value, show).lines().try_for_each(|text| line(tag, text, paint, out))
}

fn line(tag: ChangeTag, text: &str, paint: Paint, out: &mut dyn Write) -> io::Result<()> {
    let text = text.trim_end_matches('\n');
    let line = match tag {
        ChangeTag::Equal => format!("    {text}"),
        ChangeTag::Delete => paint.removed(&format!("  - {text}")),
        ChangeTag::Insert => paint.added(&format!("  + {text}")),
    };
    writeln!(out, "{}", line.trim_end())
}

fn text(value: &[u8], show: Show) -> String {
    decode(value, show).render(Style::Yaml, Paint::OFF)
}
