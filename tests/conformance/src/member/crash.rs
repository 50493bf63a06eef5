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

/// The first line that tells of a crash.
pub(super) fn find(log: &str) -> Option<&str> {
    log.lines().find(|line| MARKS.iter().any(|mark| line.contains(mark)))
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
