//! Asking for a password: what is typed does not show.

use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Asks on standard output, reads a line from standard input.
pub(crate) fn password(question: &str) -> io::Result<String> {
    let mut out = io::stdout();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let hidden = Hidden::begin();
    let line = line(&mut io::stdin().lock());
    drop(hidden);
    out.write_all(b"\n")?;
    Ok(line?.trim().to_owned())
}

/// A line without its end, byte by byte, so that what follows is left for others.
fn line(input: &mut dyn Read) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while input.read(&mut byte)? != 0 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned())
}

/// A terminal that does not echo, until dropped.
struct Hidden(Option<Termios>);

impl Hidden {
    fn begin() -> Hidden {
        let input = io::stdin();
        if !input.is_terminal() {
            return Hidden(None);
        }
        let Ok(before) = tcgetattr(&input) else { return Hidden(None) };
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        // A terminal that cannot be silenced shows what is typed; better than not asking.
        let _ = tcsetattr(&input, OptionalActions::Now, &silent);
        Hidden(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // There is nothing left to try.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
