//! What links may be.

use url::Host;

use super::{BlockedDomains, Env, Http, Place};
use crate::domain::{DomainList, SlugPolicy, TargetPolicy, TargetUrl};

const DEFAULT_URL_LENGTH: u64 = TargetUrl::DEFAULT_MAX_LEN as u64;
const MAX_URL_LENGTH: u64 = TargetUrl::MAX_LEN as u64;

/// The settings of link creation.
#[derive(Debug, Clone)]
pub struct Links {
    /// Characters of a generated slug.
    pub slug_length: u8,
    /// Which slugs may not be claimed.
    pub slugs: SlugPolicy,
    /// Hosts of the service itself, lower case.
    pub own_hosts: Vec<String>,
    /// Where the blocked domains are listed.
    pub blocked_domains: BlockedDomains,
    /// Whether targets in private networks are let through.
    pub allow_private_targets: bool,
    /// The most bytes of a serialised target.
    pub max_url_length: usize,
}

impl Links {
    pub(super) fn read(env: &mut Env, place: Place, http: &Http) -> Self {
        let mut own_hosts = hosts(env, "OWN_HOSTS");
        own_hosts.extend(http.base_url.as_ref().map(|base| base.host().to_owned()));
        Self {
            slug_length: env.number_or("SLUG_LENGTH", 7, 5..=32),
            slugs: SlugPolicy {
                refuse_final_z: place.cloud_run,
            },
            own_hosts,
            blocked_domains: BlockedDomains::read(env),
            allow_private_targets: env.flag_or("ALLOW_PRIVATE_TARGETS", false),
            max_url_length: env.number_or("MAX_URL_LENGTH", DEFAULT_URL_LENGTH, 256..=MAX_URL_LENGTH),
        }
    }

    /// Whether a host is one of the service's own.
    #[must_use]
    pub fn is_own(&self, host: &str) -> bool {
        self.own_hosts.iter().any(|own| own.eq_ignore_ascii_case(host))
    }

    /// The rules for targets of a request that was sent to `request_host` while these domains are blocked.
    #[must_use]
    pub fn target_policy<'a>(
        &'a self,
        request_host: Option<&'a str>,
        blocked_domains: &'a DomainList,
    ) -> TargetPolicy<'a> {
        TargetPolicy {
            own_hosts: &self.own_hosts,
            request_host,
            blocked_domains: Some(blocked_domains),
            allow_private: self.allow_private_targets,
            max_length: self.max_url_length,
        }
    }
}

/// Host names as the URL parser would spell them, so that they compare equal to a parsed target's.
fn hosts(env: &mut Env, name: &'static str) -> Vec<String> {
    let mut hosts = Vec::new();
    for item in env.list(name) {
        match Host::parse(item.trim_start_matches('.')) {
            Ok(host) => hosts.push(host.to_string()),
            Err(_) => env.fault(name, "is not valid: host names separated by commas"),
        }
    }
    hosts
}
