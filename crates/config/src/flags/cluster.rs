//! Flags of how a cluster is formed.

use super::{Flag, Group, Kind, rows};
use crate::compat::Status;

pub(super) const CLUSTERING: &[Flag] = rows! { Group::Clustering;
    "initial-advertise-peer-urls", Kind::Urls(|c| &mut c.initial_advertise_peer_urls, ""),
    Status::Built(""),
    "This member's peer URLs, told to the other members.";
    "initial-cluster", Kind::Text(|c| &mut c.initial_cluster),
    Status::Built("ignored once the member exists"),
    "The members of a new cluster: name=url separated by commas.";
    "initial-cluster-state", Kind::Choice(|c| &mut c.initial_cluster_state, &["new", "existing"]),
    Status::Built("ignored once the member exists"),
    "Whether this member starts a new cluster or joins an existing one; ignored after that.";
    "initial-cluster-token", Kind::Text(|c| &mut c.initial_cluster_token), Status::Built(""),
    "A word that tells this cluster's ids from those of another with the same URLs.";
    "advertise-client-urls", Kind::Urls(|c| &mut c.advertise_client_urls, ""), Status::Built(""),
    "This member's client URLs, told to clients.";
    "enable-v2", Kind::Bool(|c| &mut c.enable_v2),
    Status::Built("etcd 3.6 has no v2 API any more, and 3.7 refuses the flag"),
    "Serve the v2 API below /v2/ of the client URLs.";
    "strict-reconfig-check", Kind::Bool(|c| &mut c.strict_reconfig_check),
    Status::Built(""),
    "Refuse changes of membership that would lose the quorum.";
    "pre-vote", Kind::Bool(|c| &mut c.pre_vote), Status::Built(""),
    "Ask before an election whether it could be won.";
    "auto-compaction-retention", Kind::Text(|c| &mut c.auto_compaction_retention),
    Status::Built(""),
    "History to keep when compacting by itself: hours or a duration, or revisions; 0 is off.";
    "auto-compaction-mode", Kind::Text(|c| &mut c.auto_compaction_mode),
    Status::Built(""),
    "What --auto-compaction-retention counts: periodic (time) or revision.";
    "max-learners", Kind::Int("int", |c| &mut c.max_learners), Status::Built(""),
    "Most learners in the membership.";
    "v2-deprecation",
    Kind::Choices(
        |c| &mut c.v2_deprecation,
        &["write-only", "write-only-skip-check", "write-only-drop-data", "gone"],
    ),
    Status::Harmless("without a meaning, as in etcd 3.7; etcd's warning is logged"),
    "Stage of the v2 store's removal. Ignored.";
};

pub(super) const DISCOVERY: &[Flag] = rows! { Group::Clustering;
    "discovery-token", Kind::Text(|c| &mut c.discovery.token), Status::Built(""),
    "Token of the cluster at the discovery service.";
    "discovery-endpoints", Kind::UniqueWords(|c| &mut c.discovery.endpoints),
    Status::Built(""),
    "Endpoints of the discovery service.";
    "discovery-dial-timeout", Kind::Duration(|c| &mut c.discovery.dial_timeout),
    Status::Built(""),
    "Longest time to connect to the discovery service.";
    "discovery-request-timeout", Kind::Duration(|c| &mut c.discovery.request_timeout),
    Status::Built(""),
    "Longest time of a request to the discovery service.";
    "discovery-keepalive-time", Kind::Duration(|c| &mut c.discovery.keepalive_time),
    Status::Built(""),
    "Idle time after which the discovery service is pinged.";
    "discovery-keepalive-timeout", Kind::Duration(|c| &mut c.discovery.keepalive_timeout),
    Status::Built(""),
    "Time that a ping of the discovery service may go unanswered.";
    "discovery-insecure-transport", Kind::Bool(|c| &mut c.discovery.insecure_transport),
    Status::Built(""),
    "Speak to the discovery service without TLS.";
    "discovery-insecure-skip-tls-verify",
    Kind::Bool(|c| &mut c.discovery.insecure_skip_tls_verify),
    Status::Built(""),
    "Accept any certificate of the discovery service; for tests.";
    "discovery-cert", Kind::Text(|c| &mut c.discovery.cert), Status::Built(""),
    "Certificate shown to the discovery service.";
    "discovery-key", Kind::Text(|c| &mut c.discovery.key), Status::Built(""),
    "Key of --discovery-cert.";
    "discovery-cacert", Kind::Text(|c| &mut c.discovery.cacert), Status::Built(""),
    "Authority of the discovery service's certificate.";
    "discovery-user", Kind::Text(|c| &mut c.discovery.user), Status::Built(""),
    "User, or user:password, at the discovery service.";
    "discovery-password", Kind::Text(|c| &mut c.discovery.password), Status::Built(""),
    "Password of --discovery-user.";
    "discovery-fallback", Kind::Choice(|c| &mut c.discovery_fallback, &["exit", "proxy"]),
    Status::Built("`proxy` is etcd's error"),
    "What to do when discovery fails: exit.";
    "discovery-srv", Kind::Text(|c| &mut c.discovery.srv), Status::Built(""),
    "DNS domain whose SRV records name the initial cluster.";
    "discovery-srv-name", Kind::Text(|c| &mut c.discovery.srv_name),
    Status::Built(""),
    "Suffix of the service's name in those records.";
};
