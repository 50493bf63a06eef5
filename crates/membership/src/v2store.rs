//! The membership as etcd's former v2 store: the content of `.snap` files and of raft snapshots
//! between members, which etcd up to 3.6 reads its members from.
//!
//! ```text
//! /0/members/<hex id>/raftAttributes   {"peerURLs":[...],"isLearner":true}
//! /0/members/<hex id>/attributes       {"name":"...","clientURLs":[...]}
//! /0/removed_members/<hex id>
//! /0/version                           3.5.0
//! ```
//!
//! What a member of etcd keeps beside the tree (the history of events for v2 watchers, counters) is
//! left out: a reader keeps what it has.

use std::collections::BTreeMap;

use api::ids::MemberId;
use serde::{Deserialize, Serialize};

use crate::{Member, Membership};

#[derive(Serialize)]
struct StoreJson {
    #[serde(rename = "Root")]
    root: Node,
    #[serde(rename = "CurrentIndex")]
    current_index: u64,
    #[serde(rename = "CurrentVersion")]
    current_version: u32,
}

/// A directory, or a file when it has no map of children.
#[derive(Serialize)]
struct Node {
    #[serde(rename = "Path")]
    path: String,
    #[serde(rename = "CreatedIndex")]
    created_index: u64,
    #[serde(rename = "ModifiedIndex")]
    modified_index: u64,
    #[serde(rename = "ExpireTime")]
    expire_time: &'static str,
    #[serde(rename = "Value")]
    value: String,
    #[serde(rename = "Children")]
    children: Option<BTreeMap<String, Node>>,
}

#[derive(Serialize)]
struct RaftAttributes<'a> {
    #[serde(rename = "peerURLs")]
    peer_urls: &'a [String],
    #[serde(rename = "isLearner", skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
}

/// What a member publishes of itself.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Attributes {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
}

/// The never of Go's times.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The index of a store, which counts its changes.
struct Index(u64);

impl Index {
    fn node(&self, path: &str, value: String, children: Option<BTreeMap<String, Node>>) -> Node {
        Node {
            path: path.to_owned(),
            created_index: self.0,
            modified_index: self.0,
            expire_time: NEVER,
            value,
            children,
        }
    }

    fn directory(&self, path: &str, children: BTreeMap<String, Node>) -> Node {
        self.node(path, String::new(), Some(children))
    }

    fn file(&mut self, path: &str, value: String) -> Node {
        self.0 += 1;
        self.node(path, value, None)
    }

    fn member(&mut self, member: &Member) -> Node {
        let path = format!("/0/members/{}", member.id);
        let raft = RaftAttributes { peer_urls: &member.peer_urls, is_learner: member.is_learner };
        let raft_path = format!("{path}/raftAttributes");
        let mut children =
            BTreeMap::from([("raftAttributes".to_owned(), self.file(&raft_path, json(&raft)))]);
        if member.is_started() || !member.client_urls.is_empty() {
            let attributes =
                Attributes { name: member.name.clone(), client_urls: member.client_urls.clone() };
            let node = self.file(&format!("{path}/attributes"), json(&attributes));
            children.insert("attributes".to_owned(), node);
        }
        self.directory(&path, children)
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("attributes have string keys and no maps")
}

impl Membership {
    /// Members, removed members and the cluster version as the node `/0` of the v2 store, which
    /// has other nodes beside it.
    pub fn to_v2_node(&self) -> String {
        json(&self.v2_node(&mut Index(0)))
    }

    fn v2_node(&self, index: &mut Index) -> Node {
        let mut inner = BTreeMap::new();
        let members: BTreeMap<_, _> =
            self.members().map(|member| (member.id.to_string(), index.member(member))).collect();
        if !members.is_empty() {
            inner.insert("members".to_owned(), index.directory("/0/members", members));
        }
        let removed: BTreeMap<_, _> = self
            .removed()
            .map(|id| {
                let path = format!("/0/removed_members/{id}");
                (id.to_string(), index.file(&path, String::new()))
            })
            .collect();
        if !removed.is_empty() {
            let directory = index.directory("/0/removed_members", removed);
            inner.insert("removed_members".to_owned(), directory);
        }
        if let Some(version) = self.cluster_version() {
            inner.insert("version".to_owned(), index.file("/0/version", version.to_string()));
        }
        index.directory("/0", inner)
    }

    /// The same as a snapshot of a v2 store without keys.
    pub fn to_v2_store(&self) -> Vec<u8> {
        let mut index = Index(0);
        let node = self.v2_node(&mut index);
        let top = BTreeMap::from([
            ("0".to_owned(), node),
            ("1".to_owned(), index.directory("/1", BTreeMap::new())),
        ]);
        let root = index.directory("/", top);
        let store = StoreJson { root, current_index: index.0, current_version: 2 };
        serde_json::to_vec(&store).expect("a store has string keys")
    }
}

/// What a change of the v2 store means for the membership. Members of etcd 3.5 publish themselves
/// and the first cluster version this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum V2Put {
    /// A member publishes itself.
    Attributes {
        /// Which member.
        id: MemberId,
        /// Its name.
        name: String,
        /// Its client URLs.
        client_urls: Vec<String>,
    },
    /// The cluster version.
    Version(String),
}

impl V2Put {
    /// Reads a put of `value` at `path`; `None` when it is about anything else.
    pub fn read(path: &str, value: &str) -> Option<V2Put> {
        if path == "/0/version" {
            return Some(V2Put::Version(value.to_owned()));
        }
        let id = path.strip_prefix("/0/members/")?.strip_suffix("/attributes")?;
        let hex = (1..=16).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = hex.then(|| u64::from_str_radix(id, 16).ok()).flatten()?;
        let Attributes { name, client_urls } = serde_json::from_str(value).ok()?;
        Some(V2Put::Attributes { id: MemberId(id), name, client_urls })
    }
}

#[cfg(test)]
mod tests {
    use api::ids::ClusterId;
    use serde_json::{Value, json};

    use super::*;
    use crate::Version;

    fn member(id: u64, name: &str) -> Member {
        Member {
            id: MemberId(id),
            peer_urls: vec!["http://127.0.0.1:2380".into()],
            is_learner: name.is_empty(),
            name: name.into(),
            client_urls: if name.is_empty() { vec![] } else { vec!["http://127.0.0.1:1".into()] },
        }
    }

    #[test]
    fn the_tree_is_that_of_etcd() {
        let members = [member(0x8ddab73534be950c, "m1"), member(5, "")];
        let mut membership = Membership::from_members(ClusterId(1), 1, members);
        membership.removed.insert(MemberId(0xab));
        membership.version = Version::parse("3.5.0");
        let store: Value = serde_json::from_slice(&membership.to_v2_store()).unwrap();
        let zero = &store["Root"]["Children"]["0"]["Children"];
        let value = |node: &Value| node["Value"].as_str().unwrap().to_owned();
        let started = &zero["members"]["Children"]["8ddab73534be950c"]["Children"];
        assert_eq!(
            value(&started["attributes"]),
            r#"{"name":"m1","clientURLs":["http://127.0.0.1:1"]}"#
        );
        assert_eq!(value(&started["raftAttributes"]), r#"{"peerURLs":["http://127.0.0.1:2380"]}"#);
        let learner = &zero["members"]["Children"]["5"];
        assert_eq!(learner["Path"], "/0/members/5");
        assert_eq!(
            value(&learner["Children"]["raftAttributes"]),
            r#"{"peerURLs":["http://127.0.0.1:2380"],"isLearner":true}"#
        );
        assert!(learner["Children"]["attributes"].is_null());
        assert!(zero["removed_members"]["Children"]["ab"].is_object());
        assert_eq!(value(&zero["version"]), "3.5.0");
        assert_eq!(store["Root"]["Children"]["1"]["Children"], json!({}));
        assert_eq!(store["CurrentVersion"], 2);
        assert_eq!(zero["version"]["Children"], Value::Null);
    }

    #[test]
    fn puts_of_older_members_are_read() {
        let read = |path: &str, value: &str| V2Put::read(path, value);
        let value = r#"{"name":"m1","clientURLs":["http://h:1"]}"#;
        assert_eq!(
            read("/0/members/8ddab73534be950c/attributes", value),
            Some(V2Put::Attributes {
                id: MemberId(0x8ddab73534be950c),
                name: "m1".into(),
                client_urls: vec!["http://h:1".into()],
            })
        );
        assert_eq!(read("/0/version", "3.5.0"), Some(V2Put::Version("3.5.0".into())));
        for path in ["/0/members/xyz/attributes", "/0/members//attributes", "/1/a", "", "/0/v"] {
            assert_eq!(read(path, value), None, "{path}");
        }
        assert_eq!(read("/0/members/1/attributes", "no json"), None);
    }
}
