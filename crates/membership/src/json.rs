//! The JSON forms of members: in the members bucket, in conf changes and on the peer HTTP API.
//!
//! Byte for byte what Go's encoder writes for etcd's types: fixed field order, ids as numbers,
//! empty optional fields left out, and `<`, `>`, `&` as `\u` escapes.

use api::ids::MemberId;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Downgrade, Member};

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct MemberJson {
    id: u64,
    #[serde(rename = "peerURLs", deserialize_with = "null_is_empty")]
    peer_urls: Vec<String>,
    #[serde(rename = "isLearner", skip_serializing_if = "is_false")]
    is_learner: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(
        rename = "clientURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    client_urls: Vec<String>,
    /// Only in the context of adding and promoting.
    #[serde(rename = "isPromote", skip_serializing_if = "Option::is_none")]
    is_promote: Option<bool>,
}

impl Default for MemberJson {
    fn default() -> MemberJson {
        MemberJson::new(&Member::default(), None)
    }
}

impl MemberJson {
    fn new(member: &Member, is_promote: Option<bool>) -> MemberJson {
        MemberJson {
            id: member.id.0,
            peer_urls: member.peer_urls.clone(),
            is_learner: member.is_learner,
            name: member.name.clone(),
            client_urls: member.client_urls.clone(),
            is_promote,
        }
    }

    fn member(self) -> Member {
        Member {
            id: MemberId(self.id),
            peer_urls: self.peer_urls,
            is_learner: self.is_learner,
            name: self.name,
            client_urls: self.client_urls,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct DowngradeJson {
    #[serde(rename = "target-version")]
    target_version: String,
    enabled: bool,
}

#[derive(Serialize)]
struct ConfStateJson<'a> {
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    voters: &'a [u64],
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    learners: &'a [u64],
    auto_leave: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn null_is_empty<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A member as in the members bucket and in the context of an update.
pub fn member_to_json(member: &Member) -> Vec<u8> {
    encode(&MemberJson::new(member, None))
}

/// Reads a member; unknown fields are passed over.
pub fn member_from_json(json: &[u8]) -> Result<Member, serde_json::Error> {
    Ok(serde_json::from_slice::<MemberJson>(json)?.member())
}

/// A list of members, as the peer listener shows it.
pub fn members_to_json<'a>(members: impl IntoIterator<Item = &'a Member>) -> Vec<u8> {
    let members: Vec<MemberJson> =
        members.into_iter().map(|member| MemberJson::new(member, None)).collect();
    encode(&members)
}

/// Reads such a list.
pub fn members_from_json(json: &[u8]) -> Result<Vec<Member>, serde_json::Error> {
    let members: Option<Vec<MemberJson>> = serde_json::from_slice(json)?;
    Ok(members.unwrap_or_default().into_iter().map(MemberJson::member).collect())
}

/// The context of a conf change that adds a member or, with `is_promote`, promotes a learner.
pub fn change_context(member: &Member, is_promote: bool) -> Vec<u8> {
    encode(&MemberJson::new(member, Some(is_promote)))
}

/// Reads the context of a conf change: the member and whether it is promoted.
pub(crate) fn read_change_context(json: &[u8]) -> Result<(Member, bool), serde_json::Error> {
    let read: MemberJson = serde_json::from_slice(json)?;
    let is_promote = read.is_promote.unwrap_or(false);
    Ok((read.member(), is_promote))
}

/// The downgrade record of the cluster bucket.
pub(crate) fn downgrade_to_json(downgrade: &Downgrade) -> Vec<u8> {
    encode(&DowngradeJson {
        target_version: downgrade.target_version.clone(),
        enabled: downgrade.enabled,
    })
}

/// Reads the downgrade record.
pub(crate) fn downgrade_from_json(json: &[u8]) -> Result<Downgrade, serde_json::Error> {
    let read: DowngradeJson = serde_json::from_slice(json)?;
    Ok(Downgrade { enabled: read.enabled, target_version: read.target_version })
}

/// The conf state record of the meta bucket.
pub fn conf_state(voters: &[MemberId], learners: &[MemberId]) -> Vec<u8> {
    let voters: Vec<u64> = voters.iter().map(|id| id.0).collect();
    let learners: Vec<u64> = learners.iter().map(|id| id.0).collect();
    encode(&ConfStateJson { voters: &voters, learners: &learners, auto_leave: false })
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("these types have string keys and no maps");
    if !json.iter().any(|byte| b"<>&".contains(byte)) {
        return json;
    }
    let mut escaped = Vec::with_capacity(json.len() + 10);
    for byte in json {
        match byte {
            // Outside of strings JSON has none of these.
            b'<' | b'>' | b'&' => escaped.extend(format!("\\u{byte:04x}").bytes()),
            _ => escaped.push(byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: Vec<u8>) -> String {
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn a_member_is_written_as_etcd_writes_it() {
        let mut member = Member {
            id: MemberId(15_985_287_120_741_924_219),
            peer_urls: vec!["http://127.0.0.1:12380".into()],
            ..Member::default()
        };
        let unstarted = r#"{"id":15985287120741924219,"peerURLs":["http://127.0.0.1:12380"]}"#;
        assert_eq!(text(member_to_json(&member)), unstarted);
        member.is_learner = true;
        member.name = "a<b&c".into();
        member.client_urls = vec!["http://h:1".into(), "http://h:2".into()];
        let full = concat!(
            r#"{"id":15985287120741924219,"peerURLs":["http://127.0.0.1:12380"],"#,
            r#""isLearner":true,"name":"a\u003cb\u0026c","#,
            r#""clientURLs":["http://h:1","http://h:2"]}"#
        );
        assert_eq!(text(member_to_json(&member)), full);
        assert_eq!(member_from_json(full.as_bytes()).unwrap(), member);
    }

    #[test]
    fn a_context_says_whether_it_promotes() {
        let member = Member { id: MemberId(7), ..Member::default() };
        let json = text(change_context(&member, true));
        assert_eq!(json, r#"{"id":7,"peerURLs":[],"isPromote":true}"#);
        assert_eq!(read_change_context(json.as_bytes()).unwrap(), (member, true));
        let (boot, promote) = read_change_context(br#"{"id":9,"peerURLs":null,"x":1}"#).unwrap();
        assert_eq!((boot.id, promote), (MemberId(9), false));
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(member_from_json(b"").is_err());
        assert!(member_from_json(br#"{"id":"7"}"#).is_err());
        assert!(member_from_json(br#"{"id":-1}"#).is_err());
    }

    #[test]
    fn downgrade_and_conf_state_records() {
        let downgrade = Downgrade { enabled: true, target_version: "3.6.0".into() };
        let json = text(downgrade_to_json(&downgrade));
        assert_eq!(json, r#"{"target-version":"3.6.0","enabled":true}"#);
        assert_eq!(downgrade_from_json(json.as_bytes()).unwrap(), downgrade);
        let state = conf_state(&[MemberId(1), MemberId(2)], &[]);
        assert_eq!(text(state), r#"{"voters":[1,2],"auto_leave":false}"#);
        let state = conf_state(&[MemberId(1)], &[MemberId(3)]);
        assert_eq!(text(state), r#"{"voters":[1],"learners":[3],"auto_leave":false}"#);
    }
}
