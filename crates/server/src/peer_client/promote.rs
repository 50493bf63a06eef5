//! Promoting a learner, asked of the leader by the member whose client wants it.

use std::time::Duration;

use api::{error::Error, ids::MemberId};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use membership::Member;

use super::{Answer, Ask, PeerClient};
use crate::status::Failure;

const ANSWER_MAX: usize = 4 << 20;

/// What the leader made of it.
#[derive(Debug)]
pub(crate) enum Promotion {
    /// Done: the members now.
    Done(Vec<Member>),
    /// It refused for good.
    Refused(Failure),
    /// Ask again: it was not reached, does not lead, or cannot at the moment.
    Retry(String),
}

impl PeerClient {
    /// Asks for the promotion of `id` at `url`, in the name of who sent `token`.
    pub(crate) async fn promote(
        &self,
        url: &str,
        id: MemberId,
        token: Option<&HeaderValue>,
        limit: Duration,
    ) -> Promotion {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        let path = format!("/members/promote/{}", id.0);
        let ask = Ask {
            method: Method::POST,
            url,
            path: &path,
            headers,
            body: Default::default(),
            limit,
            answer_max: ANSWER_MAX,
        };
        match self.ask(ask).await {
            Ok(answer) => read(&answer),
            Err(error) => Promotion::Retry(error.to_string()),
        }
    }
}

/// What an answer means. Both refusals have the same status.
fn read(answer: &Answer) -> Promotion {
    let refused = |error: Error| Promotion::Refused(error.into());
    let text = answer.text();
    match answer.status {
        StatusCode::OK => match membership::members_from_json(&answer.body) {
            Ok(members) => Promotion::Done(members),
            Err(error) => Promotion::Retry(error.to_string()),
        },
        StatusCode::NOT_FOUND => refused(Error::MemberNotFound),
        StatusCode::PRECONDITION_FAILED if text.contains(Error::LearnerNotReady.message()) => {
            refused(Error::LearnerNotReady)
        }
        StatusCode::PRECONDITION_FAILED if text.contains(NOT_LEARNER) => {
            refused(Error::MemberNotLearner)
        }
        _ => Promotion::Retry(format!("member promote: unknown error({text})")),
    }
}

/// What the peer route says of a member that is no learner.
pub(crate) const NOT_LEARNER: &str = "membership: can only promote a learner member";

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(status: u16, body: &str) -> Promotion {
        let status = StatusCode::from_u16(status).unwrap();
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        read(&Answer { status, headers: HeaderMap::new(), body })
    }

    #[test]
    fn answers_are_told_apart() {
        let Promotion::Done(members) = read_text(200, r#"[{"id":7,"peerURLs":["http://a:1"]}]"#)
        else {
            panic!("a list of members is success")
        };
        assert_eq!(members[0].id, MemberId(7));
        let refusal = |status, body: &str| match read_text(status, body) {
            Promotion::Refused(failure) => failure.message.into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refusal(404, ""), Error::MemberNotFound.message());
        assert_eq!(refusal(412, &format!("{NOT_LEARNER}\n")), Error::MemberNotLearner.message());
        let not_ready = Error::LearnerNotReady.message();
        assert_eq!(refusal(412, &format!("{not_ready}\n")), not_ready);
        for (status, body) in [(412, "other"), (500, "Internal"), (200, "{}"), (200, "[1]")] {
            assert!(matches!(read_text(status, body), Promotion::Retry(_)), "{status} {body}");
        }
    }
}
