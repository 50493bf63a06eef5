//! `--auth-token`: which kind of tokens, with which options. Read as etcd reads it.

use std::{collections::BTreeMap, time::Duration};

use config::GoDuration;

use super::jwt::{Jwt, OptionsError};

/// What gives users their tokens.
pub(crate) enum Provider {
    /// Random tokens that every member remembers.
    Simple,
    /// Signed tokens.
    Jwt(Box<Jwt>),
    /// Nothing: with an empty flag nobody can log in by password.
    None,
}

impl Provider {
    /// The provider that the flag names. Files that it names are read now, once.
    pub(crate) fn new(flag: &str) -> Result<Provider, OptionsError> {
        let (kind, options) = split(flag).ok_or(OptionsError::Options)?;
        match kind {
            "simple" => {
                tracing::warn!("simple token is not cryptographically signed");
                Ok(Provider::Simple)
            }
            "jwt" => {
                let read = |path: &str| std::fs::read(path);
                Ok(Provider::Jwt(Box::new(Jwt::new(&options, duration, read)?)))
            }
            "" => Ok(Provider::None),
            _ => Err(OptionsError::Options),
        }
    }
}

/// A kind and its options: `kind,name=value,...`. Names come once.
fn split(flag: &str) -> Option<(&str, BTreeMap<String, String>)> {
    let mut words = flag.split(',');
    let kind = words.next()?;
    let mut options = BTreeMap::new();
    for word in words {
        let (name, value) = word.split_once('=').filter(|(_, value)| !value.contains('='))?;
        if options.insert(name.to_owned(), value.to_owned()).is_some() {
            return None;
        }
    }
    Some((kind, options))
}

/// A time as Go writes it. One that is negative makes tokens that have ended when they are made.
fn duration(text: &str) -> Option<Duration> {
    GoDuration::parse(text).ok().map(GoDuration::to_std)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(flag: &str) -> Option<Vec<String>> {
        split(flag).map(|(kind, options)| {
            let options = options.into_iter().map(|(name, value)| format!("{name}:{value}"));
            std::iter::once(kind.to_owned()).chain(options).collect()
        })
    }

    #[test]
    fn options_are_read_as_etcd_reads_them() {
        assert_eq!(names("simple").unwrap(), ["simple"]);
        let jwt = names("jwt,ttl=5m,sign-method=RS256,pub-key=").unwrap();
        assert_eq!(jwt, ["jwt", "pub-key:", "sign-method:RS256", "ttl:5m"]);
        assert_eq!(names(""), Some(vec![String::new()]));
        for bad in ["jwt,", "jwt,ttl", "jwt,ttl=1=2", "jwt,ttl=1m,ttl=2m"] {
            assert_eq!(names(bad), None, "{bad}");
        }
    }

    #[test]
    fn unknown_kinds_are_refused() {
        for bad in ["Simple", "jwt", "jwt,sign-method=none", "jwt,sign-method=RS256", "x,a=b"] {
            let refused = Provider::new(bad).err().unwrap_or_else(|| panic!("{bad} is taken"));
            assert!(refused.to_string().starts_with("auth: "), "{bad}: {refused}");
        }
        assert!(matches!(Provider::new("simple,any=thing"), Ok(Provider::Simple)));
        assert!(matches!(Provider::new(""), Ok(Provider::None)));
    }
}
