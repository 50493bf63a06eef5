//! How a command ends.

use std::process::ExitCode;

/// Why a command ended without success: what it says, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The text after `Error: `.
    pub message: String,
    /// 1 for most, 4 for output formats, 128 for arguments.
    pub code: u8,
}

impl Failure {
    /// Something did not work.
    pub fn error(message: impl ToString) -> Failure {
        Failure { message: message.to_string(), code: 1 }
    }

    /// An output format that there is not.
    pub(crate) fn bad_feature(message: impl ToString) -> Failure {
        Failure { message: message.to_string(), code: 4 }
    }

    /// The arguments make no sense.
    pub(crate) fn bad_args(message: impl ToString) -> Failure {
        Failure { message: message.to_string(), code: 128 }
    }

    /// Says so on standard error.
    pub(crate) fn exit(&self) -> ExitCode {
        eprintln!("Error: {}", self.message);
        ExitCode::from(self.code)
    }
}

/// A failed operation on a file, in Go's words: `open x: no such file or directory`.
pub(crate) fn io(action: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::error(format!("{action} {}: {}", path.display(), go_text(error)))
}

/// The text of an error number as Go has it: the C library's, its first letter small.
fn go_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}
