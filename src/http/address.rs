//! Whose address a request comes from, as far as it may be believed.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::config;
use crate::domain::forwarded_for;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the one that the outermost proxy of ours wrote, or else the peer's.
pub(super) fn client(request: &HttpRequest, config: &config::Http) -> IpAddr {
    let peer = || {
        let peer = request.peer_addr();
        peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip())
    };
    let hops = usize::try_from(config.trusted_proxy_hops).unwrap_or(usize::MAX);
    if hops == 0 {
        return peer();
    }
    let lines: Vec<&str> = request
        .headers()
        .get_all(FORWARDED_FOR)
        .map(|line| line.to_str().unwrap_or_default())
        .collect();
    forwarded_for(&lines, hops).unwrap_or_else(peer)
}
