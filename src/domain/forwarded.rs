//! `X-Forwarded-For`: whose address a request comes from, as far as it may be believed.

use std::net::{IpAddr, SocketAddr};

/// The address that the outermost of `hops` proxies of ours wrote: that entry from the right over all `lines` of the
/// header, in their order. What stands further left was written by whoever sent the request.
#[must_use]
pub fn forwarded_for(lines: &[impl AsRef<str>], hops: usize) -> Option<IpAddr> {
    let from_the_right = hops.checked_sub(1)?;
    let mut entries = lines.iter().rev().flat_map(|line| line.as_ref().rsplit(','));
    parse(entries.nth(from_the_right)?.trim())
}

/// An address, perhaps with a port behind it.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .ok()
        .or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}
