//! Verbs that read: `cat`, `get`, `find`, `grep`.

use std::io::Write;

use api::kv::KeyValue;

use super::place::Place;
use crate::{
    cli::flag::Flags,
    commands::get as get_command,
    decode::{
        Show, Style, decode,
        paint::Paint,
        print::{Printer, style},
        text,
    },
    exit::{Failure, Outcome},
    printer::Answer,
    tree::{
        children::prefix_of,
        keyspace::{Pages, Read, What, count, decoded, get as get_key},
        nothing_at,
    },
};

/// Keys that are read at once without their values.
const KEYS_PAGE: i64 = 10_000;
/// Keys that are read at once with them.
const VALUES_PAGE: i64 = 64;

/// Shows the values of keys.
pub(super) async fn cat(
    place: &Place,
    flags: &Flags,
    args: &[Vec<u8>],
    out: &mut dyn Write,
) -> Outcome {
    if args.is_empty() {
        return Err(Failure::bad_args("cat takes a key"));
    }
    let show = Show::from_flags(flags);
    let style = if flags.bool("json") { Style::Json } else { Style::Yaml };
    let paint = place.view.look.screen.paint;
    for (at, word) in args.iter().enumerate() {
        let kv = value(place, &place.resolve(word)).await?;
        if flags.bool("raw") {
            out.write_all(&kv.value)?;
            continue;
        }
        if at > 0 && style == Style::Yaml {
            out.write_all(b"---\n")?;
        }
        out.write_all(decode(&kv.value, show).render(style, paint).as_bytes())?;
    }
    Ok(())
}

/// The key of this name.
async fn value(place: &Place, key: &[u8]) -> Result<KeyValue, Failure> {
    if !key.is_empty()
        && let Some(kv) = get_key(&place.view.keys, key, 0).await?
    {
        return Ok(kv);
    }
    match count(&place.view.keys, &prefix_of(key), 0).await? {
        0 => Err(nothing_at(key)),
        keys => {
            let keys = crate::tree::ls::keys_text(keys);
            Err(Failure::bad_args(format!("{} is a prefix of {keys}", text::key(key))))
        }
    }
}

/// `get` as of etcdctl, with keys as paths.
pub(super) async fn get(
    place: &Place,
    flags: &Flags,
    args: &[Vec<u8>],
    out: &mut dyn Write,
) -> Outcome {
    let args: Vec<_> = args.iter().map(|word| place.resolve(word)).collect();
    let request = get_command::request(flags, &args)?;
    let answer = place.view.keys.range(request).await?;
    let value_only = flags.bool("print-value-only");
    let Some(style) = style(flags)? else {
        let printer = place.format.printer(place.hex, value_only);
        return printer.print(&Answer::Get(&answer), out);
    };
    let screen = place.view.look.screen;
    let mut printer =
        Printer { style, show: Show::from_flags(flags), value_only, screen, some: false };
    for kv in decoded(&answer)? {
        printer.print(&kv, "", out)?;
    }
    Ok(())
}

/// Lists the keys that a pattern fits.
pub(super) async fn find(place: &Place, args: &[Vec<u8>], out: &mut dyn Write) -> Outcome {
    let (pattern, prefix) = pattern(place, args, "find")?;
    let pattern = Pattern::new(pattern);
    let mut pages = Pages::new(&place.view.keys, &prefix, 0);
    loop {
        let page = pages.next(KEYS_PAGE, What::Keys).await?;
        if page.is_empty() {
            return Ok(());
        }
        for kv in page.iter().filter(|kv| pattern.fits(&kv.key)) {
            out.write_all(&place.view.look.screen.key(&kv.key))?;
            out.write_all(b"\n")?;
        }
        out.flush()?;
    }
}

/// Shows the lines of values that have a text.
pub(super) async fn grep(
    place: &Place,
    flags: &Flags,
    args: &[Vec<u8>],
    out: &mut dyn Write,
) -> Outcome {
    let (wanted, prefix) = pattern(place, args, "grep")?;
    let fold = flags.bool("ignore-case");
    let folded = |text: &str| if fold { text.to_lowercase() } else { text.to_owned() };
    let wanted = folded(&String::from_utf8_lossy(wanted));
    let show = Show::from_flags(flags);
    let screen = place.view.look.screen;
    let mut pages = Pages::new(&place.view.keys, &prefix, 0);
    loop {
        let page = pages.next(VALUES_PAGE, What::Values).await?;
        if page.is_empty() {
            return Ok(());
        }
        for kv in &page {
            let text = decode(&kv.value, show).render(Style::Yaml, Paint::OFF);
            for line in text.lines().filter(|line| folded(line).contains(&wanted)) {
                match screen.terminal {
                    true => write!(out, "{}", screen.paint.name(&text::key(&kv.key)))?,
                    false => out.write_all(&kv.key)?,
                }
                if flags.bool("keys") {
                    out.write_all(b"\n")?;
                    break;
                }
                writeln!(out, ": {}", line.trim_start())?;
            }
        }
        out.flush()?;
    }
}

fn pattern<'a>(
    place: &Place,
    args: &'a [Vec<u8>],
    verb: &str,
) -> Result<(&'a [u8], Vec<u8>), Failure> {
    match args {
        [pattern, rest @ ..] if rest.len() < 2 => Ok((pattern, place.argument(rest)?)),
        _ => Err(Failure::bad_args(format!("{verb} takes a pattern, and perhaps a prefix"))),
    }
}

/// What keys are searched for.
struct Pattern<'a> {
    text: &'a [u8],
    /// With `*` and `?`, for the whole last parts of a key.
    glob: bool,
}

impl<'a> Pattern<'a> {
    fn new(text: &'a [u8]) -> Pattern<'a> {
        Pattern { text, glob: text.iter().any(|byte| b"*?".contains(byte)) }
    }

    fn fits(&self, key: &[u8]) -> bool {
        if !self.glob {
            return self.text.is_empty()
                || key.windows(self.text.len()).any(|window| window == self.text);
        }
        // As many parts of the key as the pattern has; all of it if the pattern begins with `/`.
        let parts = self.text.iter().filter(|byte| **byte == b'/').count();
        let starts = std::iter::once(0)
            .chain(key.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at + 1));
        let tails = starts.map(|at| &key[at..]);
        let mut tails =
            tails.filter(|tail| tail.iter().filter(|byte| **byte == b'/').count() == parts);
        self.text.first() == Some(&b'/') && glob(self.text, key)
            || tails.any(|tail| glob(self.text, tail))
    }
}

/// Whether the whole text fits: `*` is any bytes, `?` one, both without `/`. Goes back to the last
/// `*` only, which is enough when it can be followed by anything.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') if text[t] != b'/' => {
                p += 1;
                t += 1;
            }
            Some(byte) if *byte == text[t] && *byte != b'?' => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) if text[from] != b'/' => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, key, fits) in [
            ("web", "/r/pods/web-1", true),
            ("pods/w", "/r/pods/web-1", true),
            ("x", "/r/pods/web-1", false),
            ("", "/a", true),
            ("web-?", "/r/pods/web-1", true),
            ("web-??", "/r/pods/web-1", false),
            ("*-1", "/r/pods/web-1", true),
            ("p*", "/r/pods/web-1", false),
            ("pods/*", "/r/pods/web-1", true),
            ("pods/*", "/r/pods/shop/web-1", false),
            ("/r/*/web-1", "/r/pods/web-1", true),
            ("/r/*", "/r/pods/web-1", false),
            ("*a*b*c*", "xaybzc", true),
            ("*a*b*c*", "xaycz", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
        ] {
            assert_eq!(Pattern::new(pattern.as_bytes()).fits(key.as_bytes()), fits, "{pattern}");
        }
    }
}
