//! `shell`: the keyspace as a place to walk around in. Verbs read paths from the prefix that the
//! shell is in and at the revision it looks at; every command of etcdctl works too, as it does
//! outside.
//!
//! Lines come from a terminal, with editing, history and completion, or from `-c` or a pipe, where
//! the first failure ends the shell and nothing is asked.

mod complete;
mod editor;
mod foreign;
mod help;
mod output;
mod path;
mod place;
mod read;
mod verbs;
mod watching;
mod words;
mod write;

use std::{
    io::{BufRead, IsTerminal, Write, stdin},
    time::Duration,
};

use crate::{
    cli::{
        self, Command, Group, Invocation,
        flag::{Flag, Kind},
    },
    commands::ROOT,
    exit::{Code, Failure, Outcome},
    gotext::quote::quote,
    session::Session,
    tree::{
        View,
        children::{prefix_of, top},
    },
};
use editor::Editor;
use foreign::Foreign;
use output::Output;
use place::Place;
use verbs::{ALIASES, Step, VERBS};
use words::CommandLine;

/// Within this time a signal that has come is noticed.
const SIGNAL_PASSES: Duration = Duration::from_millis(1);

/// `shell`.
pub(crate) static COMMAND: Command = Command {
    usage: "shell [options] [prefix]",
    short: "Walks around in the keys: ls, cd, cat, rm, watch and more",
    long: "Walks around in the keys: reads commands from the terminal, or from standard input, or \
           from -c. `help` lists them.\n\n\
           Keys are paths whose parts '/' separates. Values of Kubernetes and JSON are shown as \
           YAML. `rev N` looks at the keys as they were at a revision.",
    example: "  etcdctl shell\n  \
              etcdctl shell /registry/pods -c 'ls; cat default/web-1'",
    group: Some(Group::Own),
    flags: &[
        Flag::new("command", Kind::Text, "run these commands, separated by ';', and end")
            .short('c'),
        Flag::new("echo", Kind::Bool, "show the prompt and each line before its output"),
        crate::tree::ls::REV,
    ],
    run: Some(run),
    ..Command::BASE
};

fn run(invocation: &Invocation) -> Outcome {
    let start = crate::tree::path_argument(invocation)?;
    let session = Session::open(invocation)?;
    let view = View::open(&session, session.flags.int("rev"))?;
    // A signal ends what runs, not the shell.
    session.run(async {
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map(drop)
    })?;
    let at = match start {
        Some(path) => prefix_of(path),
        None => session.run(beginning(&view))?,
    };
    let (format, hex) = (session.format, session.flags.bool("hex"));
    let place = Place { view, before: at.clone(), at, format, hex };
    let foreign = Foreign::new(invocation, &session);
    let echo = session.flags.bool("echo");
    let mut shell = Shell { session: &session, place, foreign, echo };
    if session.flags.changed("command") {
        return shell.script(session.flags.text("command")).map(drop);
    }
    if stdin().is_terminal() {
        return shell.interactive();
    }
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| {
            Failure::new(Code::InvalidInput, format!("read standard input: {error}"))
        })?;
        if shell.script(&line)? {
            break;
        }
    }
    Ok(())
}

/// Where all keys begin; for who may not see that, the empty prefix.
async fn beginning(view: &View) -> Result<Vec<u8>, Failure> {
    match top(&view.keys, 0).await {
        Err(error) if error.is(api::error::Error::PermissionDenied) => Ok(Vec::new()),
        top => Ok(top?),
    }
}

/// The shell at work.
struct Shell<'a> {
    session: &'a Session,
    place: Place,
    foreign: Foreign,
    /// Lines that nobody typed are shown.
    echo: bool,
}

impl Shell<'_> {
    /// Runs lines that nobody watches; true when one of them ends the shell.
    fn script(&mut self, text: &str) -> Result<bool, Failure> {
        if self.echo {
            crate::session::say(format_args!("{}{text}", self.place.prompt()))?;
        }
        let refuse = |_: &str| Err(Failure::bad_args("nobody is there to confirm: rm -f"));
        self.lines(text, &mut { refuse })
    }

    /// Reads lines from the terminal until it ends.
    fn interactive(&mut self) -> Outcome {
        let mut editor = Editor::open(self.session, &self.place)?;
        println!("Keys are paths, `help` lists the verbs, Ctrl-D ends.");
        while let Some(line) = editor.line(&self.place)? {
            let mut confirm = |question: &str| Ok(editor.confirm(question));
            match self.lines(&line, &mut confirm) {
                Ok(false) => {}
                Ok(true) => break,
                Err(Failure { message: Some(message), .. }) => eprintln!("{message}"),
                // Behind the ^C that the terminal shows.
                Err(Failure { code, .. }) if code == Code::Interrupted as u8 => println!(),
                Err(_) => {}
            }
            editor.save();
        }
        Ok(())
    }

    fn lines(
        &mut self,
        text: &str,
        confirm: &mut dyn FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let commands = words::commands(text)
            .map_err(|words::Unfinished| Failure::bad_args("a quote does not end"))?;
        for command in commands {
            if self.command(command, confirm)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs one command; true when it ends the shell.
    fn command(
        &mut self,
        line: CommandLine,
        confirm: &mut dyn FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let mut output = Output::open(line.pipe.as_deref())?;
        let outcome = self.run(line.words, &mut output, confirm);
        // What a program that reads the output did not want is no failure.
        let left = line.pipe.is_some() && matches!(&outcome, Err(failure) if failure.code == 141);
        output.close()?;
        if left { Ok(false) } else { outcome }
    }

    fn run(
        &mut self,
        words: Vec<Vec<u8>>,
        output: &mut Output,
        confirm: &mut dyn FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let words = expanded(words);
        let Some((name, rest)) = words.split_first() else {
            return Err(Failure::bad_args("no command before '|'"));
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(verb) = VERBS.iter().copied().find(|verb| verb.name() == name) else {
            let known = ROOT.children.iter().any(|child| child.name() == name);
            let words = match name.as_str() {
                "etcdctl" => rest,
                _ if known => &words,
                _ => {
                    let text = format!("no verb {}: `help` lists them", quote(&name));
                    return Err(Failure::bad_args(text));
                }
            };
            let outcome = self.foreign.run(words, output);
            // A signal that ended it came here too, and is not for what comes next.
            self.session.run(async { tokio::time::sleep(SIGNAL_PASSES).await });
            return outcome.map(|()| false);
        };
        let invocation = cli::parse(vec![verb], rest).map_err(Failure::bad_args)?;
        if invocation.flags.bool("help") || name == "help" {
            let about = if name == "help" { &invocation.args[..] } else { &[name.into_bytes()] };
            help::help(about, output)?;
            return Ok(false);
        }
        let screen = output.screen(self.place.view.look.screen);
        let before = std::mem::replace(&mut self.place.view.look.screen, screen);
        let step =
            self.session.run(interruptible(verbs::run(&mut self.place, &invocation, output)));
        output.flush()?;
        let outcome = match step {
            Ok(Step::Done) => Ok(false),
            Ok(Step::Exit) => Ok(true),
            Ok(Step::Confirm(deletion)) => confirm(&deletion.question).and_then(|yes| {
                if yes {
                    let work = write::delete(&self.place, deletion, output);
                    self.session.run(interruptible(work))?;
                }
                Ok(false)
            }),
            Err(failure) => Err(failure),
        };
        self.place.view.look.screen = before;
        outcome
    }
}

/// Work that Ctrl-C ends.
async fn interruptible<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        result = work => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::silent(Code::Interrupted as u8)),
    }
}

/// The words with a short word for a command replaced by that.
fn expanded(mut words: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let Some(first) = words.first() else { return words };
    if first == b"quit" {
        words[0] = b"exit".to_vec();
    }
    let alias = ALIASES.iter().find(|(name, _)| name.as_bytes() == words[0]);
    if let Some((_, command)) = alias {
        let command = command.iter().map(|word| word.as_bytes().to_vec());
        words.splice(..1, command);
    }
    words
}
