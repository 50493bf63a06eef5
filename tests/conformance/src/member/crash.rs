//! Tells the text of a crash from the other lines of a server's log.

/// What a line holds when the process is about to end by its own fault: Rust's and Go's panics,
/// Go's runtime errors, and log lines of a level that ends the process.
const MARKS: &[&str] = &[
    "panicked at",
    "panic: ",
    "fatal error: ",
    "stack overflow",
    "AddressSanitizer",
    "\"level\":\"panic\"",
    "\"level\":\"fatal\"",
    "\"level\":\"dpanic\"",
];

/// How many lines are shown from the first one on.
const SHOWN: usize = 20;

/// The first line that tells of a crash, and some after it.
pub(super) fn find(log: &str) -> Option<String> {
    let lines = log.lines().skip_while(|line| !MARKS.iter().any(|mark| line.contains(mark)));
    let shown: Vec<&str> = lines.take(SHOWN).collect();
    if shown.is_empty() { None } else { Some(shown.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_crashes_and_nothing_else() {
        let calm = "{\"level\":\"warn\",\"msg\":\"apply request took too long\"}\n";
        assert_eq!(find(calm), None);
        let rust = "thread 'apply' panicked at crates/apply/src/lib.rs:1:1:\n";
        assert!(find(&format!("{calm}{rust}")).is_some());
        assert!(find("{\"level\":\"fatal\",\"msg\":\"x\"}").is_some());
    }
}
