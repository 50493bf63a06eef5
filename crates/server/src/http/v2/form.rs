//! Paths, queries and forms as Go's `net/http` reads them.

use std::collections::HashMap;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body;

use crate::limits::V2_BODY_BYTES_MAX;

/// The parameters of a request, those of the body before those of the query.
#[derive(Debug, Default)]
pub(in crate::http) struct Form(HashMap<Vec<u8>, Vec<Vec<u8>>>);

impl Form {
    /// Reads query and body. The error is Go's text.
    pub(super) async fn read<B>(request: Request<B>) -> Result<Form, String>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let mut form = Form::default();
        let mut failed = None;
        if matches!(parts.method, Method::POST | Method::PUT | Method::PATCH) {
            let kind = parts.headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
            let kind = kind.unwrap_or_default().split(|byte| *byte == b';').next();
            let kind = kind.unwrap_or_default().trim_ascii();
            if kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
                failed = form.add(&read_body(body).await?).err();
            }
        }
        let added = form.add(parts.uri.query().unwrap_or_default().as_bytes());
        match failed.or(added.err()) {
            Some(error) => Err(error),
            None => Ok(form),
        }
    }

    /// Reads a query, without the pairs that are none.
    pub(in crate::http) fn of_query(query: &str) -> Form {
        let mut form = Form::default();
        let _passed_over = form.add(query.as_bytes());
        form
    }

    /// Every value of a parameter.
    pub(in crate::http) fn all(&self, key: &str) -> &[Vec<u8>] {
        self.0.get(key.as_bytes()).map_or(&[], Vec::as_slice)
    }

    /// Adds what it can, and returns the first error.
    fn add(&mut self, text: &[u8]) -> Result<(), String> {
        let mut failed = Ok(());
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pair.contains(&b';') {
                failed = failed.and(Err("invalid semicolon separator in query".to_owned()));
                continue;
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (key, value) = at.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            match (unescape(key, true), unescape(value, true)) {
                (Ok(key), Ok(value)) => self.0.entry(key).or_default().push(value),
                (Err(error), _) | (_, Err(error)) => failed = failed.and(Err(error)),
            }
        }
        failed
    }

    /// The first value of a parameter.
    pub(in crate::http) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key.as_bytes()).map(|values| &values[0][..])
    }

    /// The first value, or nothing.
    pub(super) fn value(&self, key: &str) -> &[u8] {
        self.get(key).unwrap_or_default()
    }

    /// A number; 0 when it is not given.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        let Some(value) = self.get(key) else { return Some(0) };
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(value).ok()?.parse().ok()
    }

    /// What Go's `ParseBool` takes; false when it is not given.
    pub(super) fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key) {
            None | Some(b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False") => Some(false),
            Some(b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True") => Some(true),
            Some(_) => None,
        }
    }
}

/// A whole body. The error is Go's text for one that is too large, or the connection's.
pub(super) async fn read_body<B>(body: B) -> Result<Bytes, String>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = Limited::new(body, V2_BODY_BYTES_MAX).collect().await;
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err("http: POST too large".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Undoes URL escapes; of a query, `+` is a blank.
pub(in crate::http) fn unescape(text: &[u8], is_query: bool) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        match byte {
            b'%' => {
                let digits =
                    rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let Some(digits) = digits else {
                    let shown = &rest[..rest.len().min(2)];
                    let shown = v2store::text::from_bytes(shown);
                    return Err(format!("invalid URL escape {:?}", format!("%{shown}")));
                };
                let digit = |at: usize| char::from(digits[at]).to_digit(16).unwrap_or(0) as u8;
                out.push(digit(0) << 4 | digit(1));
                left = &rest[2..];
            }
            b'+' if is_query => out.push(b' '),
            byte => out.push(byte),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    async fn form(
        method: &str,
        query: &str,
        kind: &str,
        body: &'static str,
    ) -> Result<Form, String> {
        let request = Request::builder().method(method).uri(format!("/v2/keys/a?{query}"));
        let request = request.header("content-type", kind).body(Full::new(Bytes::from(body)));
        Form::read(request.unwrap()).await
    }

    const URL_ENCODED: &str = "application/x-www-form-urlencoded; charset=utf-8";

    #[tokio::test]
    async fn the_body_counts_before_the_query() {
        let read = form("PUT", "a=1&b=%41+x&flag", URL_ENCODED, "a=2&n=7").await.unwrap();
        assert_eq!((read.value("a"), read.value("b")), (&b"2"[..], &b"A x"[..]));
        assert_eq!((read.get("flag"), read.get("none")), (Some(&b""[..]), None));
        assert_eq!((read.number("n"), read.number("none")), (Some(7), Some(0)));
        assert_eq!((read.number("b"), read.number("flag")), (None, None));
        for (method, kind) in [("GET", URL_ENCODED), ("DELETE", URL_ENCODED), ("PUT", "text/plain")]
        {
            assert_eq!(form(method, "", kind, "a=2").await.unwrap().get("a"), None);
        }
    }

    #[tokio::test]
    async fn booleans_are_those_of_go() {
        let read = form("GET", "t=1&u=TRUE&f=False&x=yes&y=", "", "").await.unwrap();
        let bools = ["t", "u", "f", "none", "x", "y"].map(|key| read.bool(key));
        assert_eq!(bools, [Some(true), Some(true), Some(false), Some(false), None, None]);
    }

    #[tokio::test]
    async fn broken_escapes_are_refused() {
        for (query, text) in [
            ("a=%zz", "invalid URL escape \"%zz\""),
            ("a=%1", "invalid URL escape \"%1\""),
            ("a;b", "invalid semicolon separator in query"),
        ] {
            assert_eq!(form("GET", query, "", "").await.unwrap_err(), text);
        }
    }
}
