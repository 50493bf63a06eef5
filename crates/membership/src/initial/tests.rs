//! Initial clusters: their texts, ids and refusals.

use super::*;

fn same(these: &[String], those: &[String]) -> Result<(), String> {
    if these == those { Ok(()) } else { Err(difference(these, those)) }
}

fn cluster(text: &str) -> InitialCluster {
    InitialCluster::parse(text).unwrap()
}

#[test]
fn names_may_repeat_and_print_sorted() {
    let parsed = cluster("b=http://b:1,a=http://a:2,,a=http://a:1");
    assert_eq!(parsed.to_string(), "a=http://a:1,a=http://a:2,b=http://b:1");
    assert_eq!(parsed.urls_of("a").unwrap(), ["http://a:1", "http://a:2"]);
    let text = InitialCluster::parse("a=b:1").unwrap_err().to_string();
    assert_eq!(text, "URL scheme must be http, https, unix, or unixs: b:1");
}

#[test]
fn bootstrap_is_refused_with_the_texts_of_etcd() {
    let check = |text: &str, name: &str, advertised: &[&str]| {
        let advertised: Vec<String> = advertised.iter().map(ToString::to_string).collect();
        cluster(text).verify_bootstrap(name, &advertised).map_err(|error| error.to_string())
    };
    assert_eq!(check("a=http://a:1,b=http://b:1", "a", &["http://a:1"]), Ok(()));
    assert_eq!(
        check("a=http://a:1", "x", &["http://a:1"]).unwrap_err(),
        "couldn't find local name \"x\" in the initial cluster configuration"
    );
    assert_eq!(
        check("a=http://a:1", "a", &["http://a:2"]).unwrap_err(),
        "--initial-cluster has a=http://a:1 but missing from \
         --initial-advertise-peer-urls=http://a:2 \
         (resolved urls: \"http://a:2\" != \"http://a:1\")"
    );
    assert_eq!(
        check("a=http://a:1", "a", &["http://a:1", "http://a:2"]).unwrap_err(),
        "--initial-advertise-peer-urls has http://a:2 but missing from \
         --initial-cluster=a=http://a:1,a=http://a:2"
    );
    assert_eq!(
        check("a=http://a:1,b=http://a:1", "a", &["http://a:1"]).unwrap_err(),
        "initial cluster a=http://a:1,b=http://a:1 has duplicate url"
    );
}

#[test]
fn the_cluster_has_the_ids_that_etcd_computes() {
    let text = "default=http://127.0.0.1:12380";
    let cluster = Membership::from_initial_cluster(text, "etcd-cluster", 1).unwrap();
    assert_eq!(cluster.cluster_id().to_string(), "a7ef944b95711739");
    let member = cluster.member_by_name("default").unwrap();
    assert_eq!(member.id.to_string(), "ddd67b312462fd7b");
    assert!(member.is_started() && member.client_urls.is_empty());
    let twins = Membership::from_initial_cluster("a=http://a:1,b=http://a:1", "t", 1);
    assert!(matches!(twins, Err(BootstrapError::IdenticalId(_))));
}

#[test]
fn joining_takes_over_the_ids_of_the_running_cluster() {
    let ours = Membership::from_initial_cluster("a=http://a:1,b=http://b:1", "t", 1).unwrap();
    let theirs = Membership::from_initial_cluster("x=http://a:1,y=http://b:1", "u", 1).unwrap();
    let joined = ours.with_ids_of(&theirs, same).unwrap();
    assert_eq!(joined.cluster_id(), theirs.cluster_id());
    for member in joined.members() {
        assert_eq!(theirs.member(member.id).unwrap().peer_urls, member.peer_urls);
    }
    assert_eq!(joined.member_by_name("x"), None);

    let smaller = Membership::from_initial_cluster("x=http://a:1", "u", 1).unwrap();
    assert_eq!(ours.with_ids_of(&smaller, same).unwrap_err(), BootstrapError::CountUnequal);
    let other = Membership::from_initial_cluster("x=http://a:1,y=http://c:1", "u", 1).unwrap();
    let text = ours.with_ids_of(&other, same).unwrap_err().to_string();
    assert!(text.starts_with("PeerURLs: no match found for existing member ("), "{text}");
    assert!(text.contains(", [http://c:1]), last resolver error (resolved urls: "), "{text}");
}
