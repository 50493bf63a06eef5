//! The first members, as `--initial-cluster` gives them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Member, Membership, cluster_id, member_id, urls};

/// Names and their peer URLs, from `name=url,name=url`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialCluster(BTreeMap<String, Vec<String>>);

/// Why a member cannot start with the initial cluster it was given; etcd's texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// A URL is none; the text says why.
    #[error("{0}")]
    Url(String),
    /// The member itself is not in the list.
    #[error("couldn't find local name {0:?} in the initial cluster configuration")]
    NoLocalName(String),
    /// The list has URLs that the member does not advertise, or another number of them.
    #[error(
        "--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={advertised} ({reason})"
    )]
    NotAdvertised {
        /// `name=url` pairs.
        missing: String,
        /// The advertised URLs.
        advertised: String,
        /// How the two lists differ.
        reason: String,
    },
    /// The member advertises URLs that the list does not have.
    #[error(
        "--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={listed}"
    )]
    NotListed {
        /// URLs.
        missing: String,
        /// `name=url` pairs that would be right.
        listed: String,
    },
    /// Two members have one URL.
    #[error("initial cluster {0} has duplicate url")]
    DuplicateUrl(String),
    /// Neither a list nor a place to discover one.
    #[error("initial cluster unset and no discovery endpoints found")]
    Unset,
    /// Two members have one id.
    #[error("member exists with identical ID {0}")]
    IdenticalId(api::ids::MemberId),
    /// The running cluster has another number of members.
    #[error("member count is unequal")]
    CountUnequal,
    /// No listed member has the URLs of a member of the running cluster.
    #[error(
        "PeerURLs: no match found for existing member ({id}, [{urls}]), last resolver error ({reason})"
    )]
    NoMatch {
        /// The existing member.
        id: api::ids::MemberId,
        /// Its peer URLs.
        urls: String,
        /// How the last comparison failed.
        reason: String,
    },
}

impl InitialCluster {
    /// Reads `name=url,...`; a name may come several times.
    pub fn parse(text: &str) -> Result<InitialCluster, BootstrapError> {
        let mut listed: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
            listed.entry(name.to_owned()).or_default().push(url);
        }
        let parsed = listed.into_iter().map(|(name, texts)| Ok((name, urls::parse(texts)?)));
        Ok(InitialCluster(parsed.collect::<Result<_, String>>().map_err(BootstrapError::Url)?))
    }

    /// Names and their URLs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.0.iter().map(|(name, urls)| (name.as_str(), urls.as_slice()))
    }

    /// The URLs of one name.
    pub fn urls_of(&self, name: &str) -> Option<&[String]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Checks that a member of this name and these advertised peer URLs can start a new cluster.
    /// URLs are compared as texts: what they resolve to is for the caller to compare.
    pub fn verify_bootstrap(
        &self,
        name: &str,
        advertised: &[String],
    ) -> Result<(), BootstrapError> {
        let own = self.own_urls(name)?;
        match_advertised(name, own, advertised)?;
        self.verify_unique_urls()
    }

    /// Checks that a member of this name can join with this list.
    pub fn verify_join(&self, name: &str) -> Result<(), BootstrapError> {
        self.own_urls(name)?;
        self.verify_unique_urls()
    }

    fn own_urls(&self, name: &str) -> Result<&[String], BootstrapError> {
        self.urls_of(name).ok_or_else(|| BootstrapError::NoLocalName(name.to_owned()))
    }

    fn verify_unique_urls(&self) -> Result<(), BootstrapError> {
        let mut seen = BTreeSet::new();
        if self.0.values().flatten().all(|url| seen.insert(url)) {
            return Ok(());
        }
        Err(BootstrapError::DuplicateUrl(self.to_string()))
    }

    /// The members of a new cluster, with the ids that every member computes alike.
    pub fn members(&self, token: &str) -> Result<Vec<Member>, BootstrapError> {
        let mut members: BTreeMap<_, Member> = BTreeMap::new();
        for (name, peer_urls) in &self.0 {
            let id = member_id(peer_urls, token, None);
            let (name, peer_urls) = (name.clone(), peer_urls.clone());
            let member = Member { id, peer_urls, name, ..Member::default() };
            if members.insert(id, member).is_some() {
                return Err(BootstrapError::IdenticalId(id));
            }
        }
        Ok(members.into_values().collect())
    }
}

impl std::fmt::Display for InitialCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = self.iter().flat_map(|(name, urls)| pairs(name, urls));
        let mut sorted: Vec<String> = pairs.collect();
        sorted.sort_unstable();
        f.write_str(&sorted.join(","))
    }
}

impl Membership {
    /// The cluster that `--initial-cluster` and a token describe.
    pub fn from_initial_cluster(
        text: &str,
        token: &str,
        max_learners: usize,
    ) -> Result<Membership, BootstrapError> {
        let members = InitialCluster::parse(text)?.members(token)?;
        let id = cluster_id(members.iter().map(|member| member.id));
        Ok(Membership::from_members(id, max_learners, members))
    }

    /// This cluster, given by names and URLs, with the ids that a running cluster has for the same
    /// URLs. `same` compares two sorted lists of URLs, by what they resolve to, and says how they
    /// differ.
    pub fn with_ids_of(
        &self,
        existing: &Membership,
        same: impl Fn(&[String], &[String]) -> Result<(), String>,
    ) -> Result<Membership, BootstrapError> {
        if self.members.len() != existing.members.len() {
            return Err(BootstrapError::CountUnequal);
        }
        let mut matched = Vec::new();
        for member in existing.members() {
            let theirs = sorted(&member.peer_urls);
            let mut reason = String::new();
            let ours = self.members().find(|ours| {
                let compared = same(&theirs, &sorted(&ours.peer_urls));
                compared.map_err(|difference| reason = difference).is_ok()
            });
            let Some(ours) = ours else {
                let urls = member.peer_urls.join(" ");
                return Err(BootstrapError::NoMatch { id: member.id, urls, reason });
            };
            matched.push(Member { id: member.id, ..ours.clone() });
        }
        Ok(Membership::from_members(existing.cluster_id(), self.max_learners(), matched))
    }
}

fn match_advertised(
    name: &str,
    own: &[String],
    advertised: &[String],
) -> Result<(), BootstrapError> {
    let (own, advertised) = (sorted(own), sorted(advertised));
    if own == advertised {
        return Ok(());
    }
    let not_in = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|url| !those.contains(url)).cloned().collect()
    };
    let missing = not_in(&own, &advertised);
    if !missing.is_empty() {
        return Err(BootstrapError::NotAdvertised {
            missing: pairs(name, &missing).collect::<Vec<_>>().join(","),
            advertised: advertised.join(","),
            reason: difference(&advertised, &own),
        });
    }
    let missing = not_in(&advertised, &own);
    if missing.is_empty() {
        // One list names a URL twice.
        return Ok(());
    }
    Err(BootstrapError::NotListed {
        missing: missing.join(","),
        listed: pairs(name, &advertised).collect::<Vec<_>>().join(","),
    })
}

/// How etcd says that two sorted lists of URLs differ.
fn difference(these: &[String], those: &[String]) -> String {
    if these.len() != those.len() {
        let quoted = |urls: &[String]| {
            let each: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
            each.join(" ")
        };
        return format!("len([{}]) != len([{}])", quoted(these), quoted(those));
    }
    let first = these.iter().zip(those).find(|(this, that)| this != that);
    first.map_or(String::new(), |(this, that)| format!("resolved urls: {this:?} != {that:?}"))
}

fn pairs<'a>(name: &'a str, urls: &'a [String]) -> impl Iterator<Item = String> + 'a {
    urls.iter().map(move |url| format!("{name}={url}"))
}

fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls = urls.to_vec();
    urls.sort_unstable();
    urls
}

#[cfg(test)]
mod tests;
