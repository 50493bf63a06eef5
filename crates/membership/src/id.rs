//! How ids of members and clusters are made: SHA-1 of what makes them unique, cut to 8 bytes.

use api::ids::{ClusterId, MemberId};
use sha1::{Digest, Sha1};

/// The id of a member: of its sorted peer URLs and the cluster's token, or, for a member added to a
/// running cluster, an empty token and the time of the request in Unix seconds.
pub fn member_id(peer_urls: &[String], token: &str, unix_seconds: Option<i64>) -> MemberId {
    let mut sorted: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url);
    }
    hash.update(token);
    if let Some(seconds) = unix_seconds {
        hash.update(seconds.to_string());
    }
    MemberId(first_eight(hash))
}

/// The id of a cluster: of the ids of its first members, in ascending order.
pub fn cluster_id(members: impl IntoIterator<Item = MemberId>) -> ClusterId {
    let mut sorted: Vec<MemberId> = members.into_iter().collect();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for id in sorted {
        hash.update(id.0.to_be_bytes());
    }
    ClusterId(first_eight(hash))
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    let first = digest.first_chunk::<8>().expect("a SHA-1 digest has 20 bytes");
    u64::from_be_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_known_cluster() {
        let id = member_id(&["http://127.0.0.1:12380".into()], "etcd-cluster", None);
        assert_eq!(id.to_string(), "ddd67b312462fd7b");
        assert_eq!(cluster_id([id]).to_string(), "a7ef944b95711739");
    }

    #[test]
    fn order_of_urls_and_members_does_not_matter_but_the_time_does() {
        let (a, b) = ("http://a:1".to_string(), "http://b:2".to_string());
        let id = member_id(&[a.clone(), b.clone()], "t", None);
        assert_eq!(id, member_id(&[b, a.clone()], "t", None));
        let (one, two) = (MemberId(1), MemberId(2));
        assert_eq!(cluster_id([one, two]), cluster_id([two, one]));
        let first = member_id(std::slice::from_ref(&a), "", Some(1_700_000_000));
        assert_ne!(first, member_id(&[a], "", Some(1_700_000_001)));
    }
}
