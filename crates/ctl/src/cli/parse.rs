//! From a command's words to the values of its flags and its arguments.

use super::{Command, Invocation, find::known_flags, flag::Flags};

/// Reads the words that follow the names of `path`. Flags may stand anywhere before `--`.
pub(crate) fn parse(path: Vec<&'static Command>, words: &[Vec<u8>]) -> Result<Invocation, String> {
    let mut flags = known_flags(&path);
    let mut before_dash = None;
    let mut args = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = String::from_utf8_lossy(word);
        if text == "--" {
            before_dash = Some(args.len());
            args.extend(words.by_ref().cloned());
        } else if let Some(long) = text.strip_prefix("--") {
            set_long(&mut flags, &text, long, &mut words)?;
        } else if text.len() > 1 && text.starts_with('-') {
            set_short(&mut flags, &text[1..], &mut words)?;
        } else {
            args.push(word.clone());
        }
    }
    Ok(Invocation { path, flags, args, before_dash })
}

type Words<'a> = std::slice::Iter<'a, Vec<u8>>;

fn set_long(
    flags: &mut Flags,
    word: &str,
    long: &str,
    words: &mut Words<'_>,
) -> Result<(), String> {
    if long.starts_with(['-', '=']) {
        return Err(format!("bad flag syntax: {word}"));
    }
    let (name, value) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    let flag = flags.find(name).ok_or_else(|| format!("unknown flag: --{name}"))?;
    match (value, flag.value_alone()) {
        (Some(value), _) => flags.set(flag, value),
        (None, Some(value)) => flags.set(flag, value),
        (None, None) => {
            let value = words.next().ok_or_else(|| format!("flag needs an argument: --{name}"))?;
            flags.set(flag, &String::from_utf8_lossy(value))
        }
    }
}

/// One or more one-letter flags in one word; the last may have its value in it.
fn set_short(flags: &mut Flags, letters: &str, words: &mut Words<'_>) -> Result<(), String> {
    let mut rest = letters;
    while let Some(letter) = rest.chars().next() {
        let shown = rest;
        rest = &rest[letter.len_utf8()..];
        let flag = flags
            .find_short(letter)
            .ok_or_else(|| format!("unknown shorthand flag: '{letter}' in -{shown}"))?;
        if let Some(value) = rest.strip_prefix('=')
            && !value.is_empty()
        {
            return flags.set(flag, value);
        }
        if let Some(value) = flag.value_alone() {
            flags.set(flag, value)?;
            continue;
        }
        if !rest.is_empty() {
            return flags.set(flag, rest);
        }
        let value = words
            .next()
            .ok_or_else(|| format!("flag needs an argument: '{letter}' in -{shown}"))?;
        return flags.set(flag, &String::from_utf8_lossy(value));
    }
    Ok(())
}
