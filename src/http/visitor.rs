//! What a request shows of its sender, for counting.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use super::Services;
use crate::service::Seen;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// What `request` shows. Nothing is copied.
pub(super) fn seen<'a>(request: &'a HttpRequest, services: &Services) -> Seen<'a> {
    let headers = request.headers();
    Seen {
        agent: text(headers, &header::USER_AGENT),
        referrer: text(headers, &header::REFERER),
        language: text(headers, &header::ACCEPT_LANGUAGE),
        country: services
            .country_header
            .as_ref()
            .map_or("", |name| text(headers, name)),
        address: address(request, services.config.trusted_proxy_hops),
        prefetch: is_prefetch(headers),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Whether a browser fetches ahead: <https://wicg.github.io/nav-speculation/prefetch.html#sec-purpose-header>.
fn is_prefetch(headers: &HeaderMap) -> bool {
    [SEC_PURPOSE, PURPOSE].iter().any(|name| {
        text(headers, name)
            .split([';', ','])
            .any(|word| word.trim().eq_ignore_ascii_case("prefetch"))
    })
}

/// The client's address: the entry of `X-Forwarded-For` that the outermost of our proxies wrote. Whatever
/// stands left of it, the client may have made up. A chain that is too short is not ours.
fn address(request: &HttpRequest, hops: u64) -> Option<IpAddr> {
    let peer = || request.peer_addr().map(|peer| peer.ip());
    let Some(place) = usize::try_from(hops).ok().and_then(|hops| hops.checked_sub(1)) else {
        return peer();
    };
    let entries = || {
        let lines = request.headers().get_all(FORWARDED_FOR);
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
    };
    let from_the_left = entries().count().checked_sub(place + 1);
    match from_the_left.and_then(|place| entries().nth(place)) {
        Some(entry) => parse(entry.trim()).or_else(peer),
        None => peer(),
    }
}

/// Some proxies write the port too.
fn parse(text: &str) -> Option<IpAddr> {
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use actix_web::test::TestRequest;

    use super::{address, is_prefetch};

    fn client(lines: &[&str], hops: u64) -> Option<IpAddr> {
        let mut request = TestRequest::default().peer_addr("192.0.2.1:9".parse().unwrap());
        for line in lines {
            request = request.append_header(("x-forwarded-for", *line));
        }
        address(&request.to_http_request(), hops)
    }

    #[test]
    fn the_client_is_the_entry_that_the_outermost_proxy_of_ours_wrote() {
        let of = |lines: &[&str], hops| client(lines, hops).unwrap().to_string();

        assert_eq!(of(&["203.0.113.7"], 0), "192.0.2.1");
        assert_eq!(of(&["6.6.6.6, 203.0.113.7"], 1), "203.0.113.7");
        assert_eq!(of(&["6.6.6.6", "203.0.113.7, 198.51.100.2"], 2), "203.0.113.7");
        assert_eq!(of(&["203.0.113.7"], 2), "192.0.2.1");
        assert_eq!(of(&[], 1), "192.0.2.1");
        assert_eq!(of(&["[2001:db8::1]:443"], 1), "2001:db8::1");
        assert_eq!(of(&["nonsense"], 1), "192.0.2.1");
    }

    #[test]
    fn a_prefetch_is_known_by_either_header() {
        let prefetch = |name, value| {
            let request = TestRequest::default().insert_header((name, value));
            is_prefetch(request.to_http_request().headers())
        };

        assert!(prefetch("Sec-Purpose", "prefetch;prerender"));
        assert!(prefetch("Purpose", "prefetch"));
        assert!(!prefetch("Purpose", "anything"));
    }
}
