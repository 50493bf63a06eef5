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
        let (kind, options) = split(flag).map_err(|why| why.logged(flag))?;
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
            _ => {
                let error = OptionsError::Options;
                tracing::warn!(r#type = kind, %error, "unknown token type");
                Err(error)
            }
        }
    }
}

/// What is wrong with the form of the options.
#[derive(Debug, PartialEq, Eq)]
enum Malformed {
    /// One of them is no `name=value`.
    Word,
    /// This name comes twice.
    Twice(String),
}

impl Malformed {
    /// Says it in the log.
    fn logged(self, flag: &str) -> OptionsError {
        match self {
            Malformed::Word => tracing::error!(option = flag, "invalid token option"),
            Malformed::Twice(name) => tracing::error!(
                option = flag,
                "duplicate-parameter" = %name,
                "invalid token option"
            ),
        }
        OptionsError::Options
    }
}

/// A kind and its options: `kind,name=value,...`. Names come once.
fn split(flag: &str) -> Result<(&str, BTreeMap<String, String>), Malformed> {
    let mut words = flag.split(',');
    let kind = words.next().unwrap_or_default();
    let mut options = BTreeMap::new();
    for word in words {
        let pair = word.split_once('=').filter(|(_, value)| !value.contains('='));
        let (name, value) = pair.ok_or(Malformed::Word)?;
        if options.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Malformed::Twice(name.to_owned()));
        }
    }
    Ok((kind, options))
}

/// A time as Go writes it. One that is negative makes tokens that have ended when they are made.
fn duration(text: &str) -> Result<Duration, String> {
    GoDuration::parse(text).map(GoDuration::to_std)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(flag: &str) -> Result<Vec<String>, Malformed> {
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
        assert_eq!(names(""), Ok(vec![String::new()]));
        for bad in ["jwt,", "jwt,ttl", "jwt,ttl=1=2"] {
            assert_eq!(names(bad), Err(Malformed::Word), "{bad}");
        }
        assert_eq!(names("jwt,ttl=1m,ttl=2m"), Err(Malformed::Twice("ttl".into())));
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
