//! Lines from a terminal: edited, completed, remembered from one time to the next.
//!
//! Lines that begin with a blank are not remembered.

use std::{
    borrow::Cow,
    fs::{DirBuilder, OpenOptions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
};

use rustyline::{
    ColorMode, CompletionType, Config, Context, Helper, Result,
    completion::{Completer, Pair},
    error::ReadlineError,
    highlight::Highlighter,
    hint::Hinter,
    history::FileHistory,
    validate::Validator,
};

use super::{complete::candidates, place::Place};
use crate::{
    exit::{Code, Failure},
    session::Session,
};

/// Lines that are remembered.
const REMEMBERED: usize = 2000;

/// The editor of lines.
pub(super) struct Editor<'a> {
    inner: rustyline::Editor<Assistant<'a>, FileHistory>,
    file: Option<PathBuf>,
}

/// What completion works with.
struct Assistant<'a> {
    session: &'a Session,
    place: Place,
}

impl<'a> Editor<'a> {
    /// An editor with the lines of earlier times.
    pub(super) fn open(session: &'a Session, place: &Place) -> std::result::Result<Self, Failure> {
        let failed = |error: ReadlineError| Failure::new(Code::Error, error);
        let builder = Config::builder().completion_type(CompletionType::List);
        let builder = builder.max_history_size(REMEMBERED).map_err(failed)?;
        let builder = builder.history_ignore_dups(true).map_err(failed)?;
        let config = builder.history_ignore_space(true).color_mode(ColorMode::Enabled).build();
        let history = FileHistory::with_config(&config);
        let mut inner = rustyline::Editor::with_history(config, history).map_err(failed)?;
        inner.set_helper(Some(Assistant { session, place: place.clone() }));
        let file = file();
        if let Some(file) = &file {
            // The first time there is none.
            let _ = inner.load_history(file);
        }
        Ok(Editor { inner, file })
    }

    /// The next line; `None` at the end.
    pub(super) fn line(&mut self, place: &Place) -> std::result::Result<Option<String>, Failure> {
        if let Some(helper) = self.inner.helper_mut() {
            helper.place = place.clone();
        }
        loop {
            match self.inner.readline(&place.prompt()) {
                Ok(line) => {
                    // A line that is not remembered is no failure.
                    let _ = self.inner.add_history_entry(&line);
                    return Ok(Some(line));
                }
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(error) => return Err(Failure::new(Code::Error, error)),
            }
        }
    }

    /// Asks a question; anything but yes is no.
    pub(super) fn confirm(&mut self, question: &str) -> bool {
        let (text, prompt) = question.rsplit_once('\n').unwrap_or(("", question));
        println!("{text}");
        let answer = self.inner.readline(prompt).unwrap_or_default();
        ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
    }

    /// Writes down the lines so far.
    pub(super) fn save(&mut self) {
        if let Some(file) = &self.file {
            // Without a place to write to, lines are remembered as long as the shell runs.
            let _ = self.inner.append_history(file);
        }
    }
}

/// The file of remembered lines, which only its owner may read.
fn file() -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state =
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    let folder = state.join("oxetcd");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).ok()?;
    let file = folder.join("shell_history");
    OpenOptions::new().create(true).append(true).mode(0o600).open(&file).ok()?;
    Some(file)
}

impl Completer for Assistant<'_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let (start, candidates) = candidates(self.session, &self.place, &line[..at]);
        let pairs = candidates
            .into_iter()
            .map(|(display, replacement)| Pair { display, replacement })
            .collect();
        Ok((start, pairs))
    }
}

impl Highlighter for Assistant<'_> {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Owned(self.place.view.look.screen.paint.prefix(prompt))
    }
}

impl Hinter for Assistant<'_> {
    type Hint = String;
}

impl Validator for Assistant<'_> {}

impl Helper for Assistant<'_> {}
