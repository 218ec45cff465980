//! Whose address a request comes from, as far as it may be believed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::config;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the entry of `X-Forwarded-For` that the outermost proxy of ours wrote, counted from the
/// right, or else the peer's. What stands further left was written by whoever sent the request.
pub(super) fn client(request: &HttpRequest, config: &config::Http) -> IpAddr {
    let peer = || {
        let peer = request.peer_addr();
        peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip())
    };
    let hops = usize::try_from(config.trusted_proxy_hops).unwrap_or(usize::MAX);
    let Some(from_the_right) = hops.checked_sub(1) else {
        return peer();
    };
    let lines: Vec<&str> = request
        .headers()
        .get_all(FORWARDED_FOR)
        .map(|line| line.to_str().unwrap_or_default())
        .collect();
    let entries = lines.iter().rev().flat_map(|line| line.rsplit(','));
    entries
        .map(str::trim)
        .nth(from_the_right)
        .and_then(parse)
        .unwrap_or_else(peer)
}

/// An address, perhaps with a port behind it.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .ok()
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
