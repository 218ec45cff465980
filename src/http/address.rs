//! Whose address a request comes from, as far as it may be believed.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderName;

use crate::config;
use crate::domain::forwarded_for;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: the one that the outermost proxy of ours wrote, or else the peer's. An IPv4 address is one, also
/// where it came mapped into IPv6 (RFC 4291, section 2.5.5.2): the same client has one spelling.
pub(super) fn client(request: &HttpRequest, config: &config::Http) -> IpAddr {
    reported(request, config).to_canonical()
}

fn reported(request: &HttpRequest, config: &config::Http) -> IpAddr {
    let peer = || {
        let peer = request.peer_addr();
        peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| peer.ip())
    };
    let hops = usize::try_from(config.trusted_proxy_hops).unwrap_or(usize::MAX);
    if hops == 0 {
        return peer();
    }
    // Read leniently: what a client wrote further left must not hide what our proxy wrote behind it.
    let lines: Vec<Cow<'_, str>> = request
        .headers()
        .get_all(FORWARDED_FOR)
        .map(|line| String::from_utf8_lossy(line.as_bytes()))
        .collect();
    forwarded_for(&lines, hops).unwrap_or_else(peer)
}
