//! `MemberList` as the proxy answers it: the proxies in the place of the members, so that clients
//! which look for members find proxies.

use std::sync::Arc;

use api::etcdserverpb::{Member, MemberListResponse};

use super::{
    options::Options,
    register::{self, Proxies, hostname},
    upstream::Upstream,
};

/// Who stands in for the members.
#[derive(Clone)]
pub(crate) struct Stand {
    advertise: String,
    proxies: Proxies,
}

impl Stand {
    /// Registers this proxy and follows the others, if that is asked for. `None` if the members
    /// themselves are told.
    pub(crate) fn begin(upstream: &Arc<Upstream>, options: &Options) -> Option<Stand> {
        let proxies = Proxies::default();
        let (prefix, advertise) = (&options.resolver_prefix, &options.advertise);
        if !prefix.is_empty() {
            let registering = register::register(
                upstream.clone(),
                prefix.clone(),
                advertise.clone(),
                options.resolver_ttl,
            );
            tokio::spawn(registering);
            tokio::spawn(register::follow(upstream.clone(), prefix.clone(), proxies.clone()));
        }
        (!advertise.is_empty()).then(|| Stand { advertise: advertise.clone(), proxies })
    }

    /// The answer: the proxies that are registered, or this one.
    pub(crate) fn members(&self) -> MemberListResponse {
        let member = |name: String, address: String| Member {
            name,
            client_urls: vec![address],
            ..Member::default()
        };
        let proxies = self.proxies.read();
        let mut members: Vec<Member> = proxies
            .values()
            .map(|proxy| member(proxy.name.clone(), proxy.address.clone()))
            .collect();
        if members.is_empty() {
            members.push(member(hostname(), self.advertise.clone()));
        }
        MemberListResponse { header: None, members }
    }
}
