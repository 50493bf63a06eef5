//! What `get` does beyond etcdctl's: values decoded, and several revisions at once.

use std::io::Write;

use api::etcdserverpb::{RangeRequest, RangeResponse};

use crate::{
    cli::flag::{Flag, Flags, Kind},
    decode::{
        Show,
        paint::Screen,
        print::{DECODE, MANAGED_FIELDS, Printer, REVEAL, style},
    },
    exit::{Code, Failure, Outcome},
    gotext::{number, quote::quote},
    printer::{Answer, Format},
    session::{Display, Session},
    tree::keyspace::decoded,
};

/// `--at-rev`.
pub(crate) const AT_REV: Flag =
    Flag::new("at-rev", Kind::List, "read at each of these revisions, separated by commas");

/// Whether a `get` asks for any of this.
pub(crate) fn is_asked(flags: &Flags) -> bool {
    [&DECODE, &REVEAL, &MANAGED_FIELDS, &AT_REV].iter().any(|flag| flags.changed(flag.name))
}

/// Reads and prints.
pub(crate) fn run(session: &Session, request: RangeRequest) -> Outcome {
    let flags = &session.flags;
    let value_only = flags.bool("print-value-only");
    let style = style(flags)?;
    if style.is_some() && session.format != Format::Simple {
        return Err(Failure::bad_args("--decode is only for `--write-out=simple`"));
    }
    let revisions = revisions(flags, request.revision)?;
    let several = flags.changed(AT_REV.name);
    let client = session.client()?;
    let screen = Screen::stdout();
    let mut decoder = style.map(|style| Printer {
        style,
        show: Show::from_flags(flags),
        value_only,
        screen,
        some: false,
    });
    let display = Display { value_only, ..session.display() };
    let mut failed = false;
    for revision in revisions {
        let client = client.with_timeout(session.timeout());
        let request = RangeRequest { revision, ..request.clone() };
        let answer = match session.run(client.range(request)) {
            Ok(answer) => answer,
            Err(error) if several => {
                eprintln!("revision {revision}: {error}");
                failed = true;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let note = if several { format!(" at revision {revision}") } else { String::new() };
        match &mut decoder {
            Some(decoder) => print_decoded(decoder, &answer, &note)?,
            None => {
                if several && display.format == Format::Simple && !value_only {
                    crate::session::say(screen.paint.faint(&format!("revision {revision}")))?;
                }
                display.print(&Answer::Get(&answer))?;
            }
        }
    }
    if failed { Err(Failure::silent(Code::Error as u8)) } else { Ok(()) }
}

fn print_decoded(decoder: &mut Printer, answer: &RangeResponse, note: &str) -> Outcome {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for kv in decoded(answer)? {
        decoder.print(&kv, note, &mut out)?;
    }
    Ok(out.flush()?)
}

/// The revisions of `--at-rev`, else that of `--rev`.
fn revisions(flags: &Flags, rev: i64) -> Result<Vec<i64>, Failure> {
    if !flags.changed(AT_REV.name) {
        return Ok(vec![rev]);
    }
    if flags.changed("rev") {
        let text = "`--rev` and `--at-rev` cannot be set at the same time, choose one";
        return Err(Failure::bad_args(text));
    }
    flags.list(AT_REV.name).iter().map(|text| revision(text)).collect()
}

/// A revision as it is typed.
pub(crate) fn revision(text: &str) -> Result<i64, Failure> {
    match number::parse_int(text.trim(), 10) {
        Ok(revision) if revision > 0 => Ok(revision),
        _ => Err(Failure::bad_args(format!("{} is no revision", quote(text)))),
    }
}
