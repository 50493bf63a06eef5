//! Who sends a request of the v2 API: a name and a password, or a certificate.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, header};

use crate::auth::CommonName;

/// What a request says about its sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Requester {
    /// Whether there is an `Authorization` at all.
    pub(super) has_authorization: bool,
    /// Name and password of HTTP Basic, where they can be read.
    pub(super) basic: Option<(String, String)>,
    /// The name in the certificate of the connection.
    pub(super) common_name: Option<String>,
}

impl Requester {
    pub(super) fn of<B>(request: &Request<B>) -> Requester {
        let value = request.headers().get(header::AUTHORIZATION);
        let value = value.map(|value| value.as_bytes()).unwrap_or_default();
        let common_name = request.extensions().get::<CommonName>();
        Requester {
            has_authorization: !value.is_empty(),
            basic: basic(value),
            common_name: common_name.map(|name| name.0.to_string()),
        }
    }
}

fn basic(value: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_are_read() {
        let of = |value: &str| {
            Requester::of(&Request::builder().header("authorization", value).body(()).unwrap())
        };
        assert_eq!(of("Basic cm9vdDphOmI=").basic, Some(("root".into(), "a:b".into())));
        assert_eq!(of("basic cm9vdDo=").basic, Some(("root".into(), String::new())));
        for bad in ["Basic", "Basic !", "Basic cm9vdA==", "Bearer cm9vdDo="] {
            let requester = of(bad);
            assert_eq!((requester.has_authorization, requester.basic), (true, None), "{bad}");
        }
        assert!(!of("").has_authorization);
    }
}
