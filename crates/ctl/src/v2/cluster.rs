//! The members of a cluster as one: each request goes to the next member that answers.
//!
//! Writes that must not be repeated are sent once. An answer with a redirection is followed.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::time::Instant;

use super::{
    error::Error,
    members,
    transport::{Answer, Ask, Bounds, Transport},
    url::{self, Url},
};
use crate::gotext::{json, quote::quote};

/// Redirections that are followed.
const REDIRECTS_MAX: usize = 10;

/// What the flags say.
#[derive(Debug)]
pub(super) struct Options {
    /// Show requests as curl commands.
    pub(super) debug: bool,
    /// Bound on one request.
    pub(super) header_timeout: Option<Duration>,
    /// Bound on a command.
    pub(super) total_timeout: Duration,
    /// Name and password.
    pub(super) credentials: Option<(String, String)>,
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A key of the store.
    Key(Vec<u8>),
    /// A path below the URL, with its components cleaned.
    Path(Vec<u8>),
}

/// A request that any member may be asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) place: Place,
    pub(super) query: Vec<(&'static str, Vec<u8>)>,
    pub(super) content_type: &'static str,
    pub(super) body: Option<String>,
    /// Whether only one member is asked.
    pub(super) once: bool,
    /// Whether the answer may take its time.
    pub(super) waits: bool,
}

impl Request {
    /// A request with nothing but its place.
    pub(super) fn new(method: &'static str, place: Place) -> Request {
        let (query, content_type, body) = (Vec::new(), "", None);
        Request { method, place, query, content_type, body, once: false, waits: false }
    }

    fn url(&self, endpoint: &Url) -> Url {
        let mut url = endpoint.clone();
        url.path = match &self.place {
            Place::Key(key) => {
                let slash: &[u8] = if key.is_empty() || key.starts_with(b"/") { b"" } else { b"/" };
                url::canonical(&[&url.path[..], b"/v2/keys", slash, key].concat())
            }
            Place::Path(path) => url::clean(&[&url.path[..], b"/", path].concat()),
        };
        if !self.query.is_empty() {
            url.query = url::form(&self.query);
        }
        url
    }
}

/// The client.
pub(super) struct Cluster {
    transport: Transport,
    options: Options,
    endpoints: RefCell<Vec<Url>>,
    /// The endpoint that answered last.
    pinned: Cell<usize>,
}

impl Cluster {
    /// A client of these endpoints, in an order of its own.
    pub(super) fn new(transport: Transport, options: Options, endpoints: Vec<Url>) -> Cluster {
        let endpoints = RefCell::new(shuffled(endpoints));
        Cluster { transport, options, endpoints, pinned: Cell::new(0) }
    }

    /// The transport.
    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// The endpoints as text.
    pub(super) fn endpoints(&self) -> Vec<String> {
        self.endpoints.borrow().iter().map(Url::to_string).collect()
    }

    /// When a command that begins now must be over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(Instant::now() + self.options.total_timeout)
    }

    /// Takes the client URLs that the members tell for endpoints.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let members = members::list(self, self.deadline())?;
        let urls = members.iter().flat_map(|member| &member.client_urls);
        let parsed = urls.map(|text| Url::parse(text).map_err(Error::Other));
        let found = parsed.collect::<Result<Vec<Url>, Error>>()?;
        if found.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let sorted = |urls: &[Url]| {
            let mut texts: Vec<String> = urls.iter().map(Url::to_string).collect();
            texts.sort();
            texts
        };
        if sorted(&found) != sorted(&self.endpoints.borrow()) {
            self.endpoints.replace(shuffled(found));
            self.pinned.set(0);
        }
        Ok(())
    }

    /// Asks one member after the other until one answers.
    pub(super) fn ask(
        &self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Answer, Error> {
        let endpoints = self.endpoints.borrow();
        let (count, pinned) = (endpoints.len(), self.pinned.get());
        if count == 0 {
            return Err(Error::NoEndpoints);
        }
        let mut errors = Vec::new();
        for at in pinned..pinned + count {
            let at = at % count;
            let endpoint = &endpoints[at];
            let error = match self.ask_following(endpoint, request, deadline) {
                Err(Error::Deadline) => return Err(Error::Deadline),
                Err(error) => error,
                Ok(answer) if answer.status / 100 == 5 => server_error(endpoint, answer.status),
                Ok(answer) => {
                    self.pinned.set(at);
                    return Ok(answer);
                }
            };
            errors.push(error);
            if request.once {
                self.pinned.set((at + 1) % count);
                return Err(errors.swap_remove(0));
            }
        }
        Err(Error::Cluster(errors))
    }

    /// Asks one member and follows its redirections.
    fn ask_following(
        &self,
        endpoint: &Url,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Answer, Error> {
        let mut ask = Ask {
            method: request.method,
            url: request.url(endpoint),
            host: endpoint.host.clone(),
            content_type: request.content_type,
            authorization: self.options.credentials.as_ref().map_or_else(String::new, basic),
            body: request.body.clone(),
        };
        let header = self.options.header_timeout.filter(|_| !request.waits);
        for _ in 0..=REDIRECTS_MAX {
            if self.options.debug {
                show(&ask);
            }
            let answer = self.transport.exchange(&ask, Bounds { header, deadline });
            let answer = answer.map_err(|error| match error {
                Error::HeaderTimeout => {
                    Error::Other(format!("client: endpoint {endpoint} exceeded header timeout"))
                }
                error => error,
            })?;
            if answer.status / 100 != 3 {
                return Ok(answer);
            }
            let Some(location) = answer.header("Location").filter(|text| !text.is_empty()) else {
                return Err(Error::other("location header not set"));
            };
            ask.url = Url::parse(location)
                .map_err(|_| Error::Other(format!("location header not valid URL: {location}")))?;
        }
        Err(Error::other("client: too many redirects"))
    }
}

fn shuffled(mut endpoints: Vec<Url>) -> Vec<Url> {
    endpoints.shuffle(&mut rand::rng());
    endpoints
}

fn server_error(endpoint: &Url, status: u16) -> Error {
    if status == 500 || status == 503 {
        return Error::Other(format!("client: etcd member {endpoint} has no leader"));
    }
    let reason = hyper::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason());
    let reason = reason.unwrap_or_default();
    Error::Other(format!("client: etcd member {endpoint} returns server error [{reason}]"))
}

fn basic((name, password): &(String, String)) -> String {
    let mut out = String::from("Basic ");
    json::base64(&mut out, format!("{name}:{password}").as_bytes());
    out
}

/// A request as a curl command.
fn show(ask: &Ask) {
    let body = ask.body.as_ref().map_or_else(String::new, |body| format!(" -d {}", quote(body)));
    eprintln!("cURL Command: curl -X {} {}{body}", ask.method, ask.url);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_urls() {
        let endpoint = Url::parse("http://h:1/base").unwrap();
        for (place, expected) in [
            (Place::Key(b"/a//b/".to_vec()), "http://h:1/base/v2/keys/a/b/"),
            (Place::Key(b"a".to_vec()), "http://h:1/base/v2/keys/a"),
            (Place::Key(Vec::new()), "http://h:1/base/v2/keys"),
            (Place::Path(b"v2/members".to_vec()), "http://h:1/base/v2/members"),
            (Place::Path(b"v2/auth/roles/a/../b".to_vec()), "http://h:1/base/v2/auth/roles/b"),
        ] {
            assert_eq!(Request::new("GET", place).url(&endpoint).to_string(), expected);
        }
        let mut request = Request::new("GET", Place::Key(b"k".to_vec()));
        request.query = vec![("sorted", b"true".to_vec()), ("quorum", b"false".to_vec())];
        let url = request.url(&endpoint).to_string();
        assert_eq!(url, "http://h:1/base/v2/keys/k?quorum=false&sorted=true");
    }

    #[test]
    fn credentials_are_in_base_64() {
        assert_eq!(basic(&("root".to_owned(), "pw".to_owned())), "Basic cm9vdDpwdw==");
    }
}
