//! Where a command of the shell writes: to standard output, or to a program that `sh` runs.

use std::{
    io::{self, BufWriter, Stdout, Write},
    process::{Child, ChildStdin, Command, Stdio},
};

use crate::{
    decode::paint::Screen,
    exit::{Code, Failure, Outcome},
};

/// The output of one command.
pub(super) enum Output {
    /// Standard output.
    Own(BufWriter<Stdout>),
    /// A program's input.
    Program(Program),
}

/// A program that reads the output.
pub(super) struct Program {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
}

impl Output {
    /// Starts the program, if there is one.
    pub(super) fn open(program: Option<&str>) -> Result<Output, Failure> {
        let Some(program) = program else { return Ok(Output::Own(BufWriter::new(io::stdout()))) };
        let child = Command::new("sh").arg("-c").arg(program).stdin(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| Failure::new(Code::Error, format!("sh: {error}")))?;
        let input = child.stdin.take().map(BufWriter::new);
        Ok(Output::Program(Program { child, input }))
    }

    /// The screen, if the output goes there.
    pub(super) fn screen(&self, screen: Screen) -> Screen {
        match self {
            Output::Own(_) => screen,
            Output::Program(_) => Screen::PIPE,
        }
    }

    /// What another process may write to instead; nothing when that is standard output.
    pub(super) fn take(&mut self) -> Option<Stdio> {
        match self {
            Output::Own(_) => None,
            Output::Program(program) => {
                let input = program.input.take()?.into_inner().ok()?;
                Some(Stdio::from(input))
            }
        }
    }

    /// Ends the output, and waits for the program.
    pub(super) fn close(self) -> Outcome {
        match self {
            Output::Own(mut out) => Ok(out.flush()?),
            Output::Program(Program { mut child, input }) => {
                // A program that has ended has read what it wanted.
                drop(input);
                child.wait()?;
                Ok(())
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Own(out) => out.write(bytes),
            Output::Program(program) => match &mut program.input {
                Some(input) => input.write(bytes),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Own(out) => out.flush(),
            Output::Program(program) => program.input.as_mut().map_or(Ok(()), Write::flush),
        }
    }
}
