//! Where a request was sent to, as far as it may be believed.
//!
//! `X-Forwarded-Host` and `Forwarded` are never read: nobody needs to have written them but the client.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header;
use actix_web::http::header::{HeaderName, HeaderValue};
use url::Url;

use crate::config;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The host and port that the request names, if they are well-formed.
pub(super) fn authority(request: &HttpRequest) -> Option<&str> {
    let text = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST)?.to_str().ok()?,
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (!text.is_empty() && text.len() <= 255 && text.bytes().all(plain)).then_some(text)
}

/// The host that the request names, without its port.
pub(super) fn host(request: &HttpRequest) -> Option<&str> {
    let authority = authority(request)?;
    if authority.starts_with('[') {
        return authority.split_inclusive(']').next();
    }
    authority.split(':').next()
}

/// Whether the request names this machine.
pub(super) fn is_loopback_host(request: &HttpRequest) -> bool {
    let Some(host) = host(request) else { return false };
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Whether the visitor came over HTTPS. Only a proxy of ours can know.
pub(super) fn is_https(request: &HttpRequest, config: &config::Http) -> bool {
    config.trusted_proxy_hops > 0
        && request
            .headers()
            .get_all(FORWARDED_PROTO)
            .last()
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.rsplit(',').next())
            .is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// What stands before the slug in a short URL, as this request's client would write it.
pub(super) fn base(request: &HttpRequest, config: &config::Http) -> String {
    match &config.base_url {
        Some(base) => base.join(""),
        None => {
            let scheme = if is_https(request, config) {
                "https"
            } else {
                "http"
            };
            format!("{scheme}://{}/", authority(request).unwrap_or("localhost"))
        }
    }
}

/// What a browser says about the page that sent a request. No page can make a browser say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Initiator {
    /// A page of this service.
    Own,
    /// A page of another origin.
    Foreign,
    /// The request does not say, as that of a program, or of a person who typed the URL.
    Unknown,
}

/// The page that sent a request, by `Sec-Fetch-Site` (<https://www.w3.org/TR/fetch-metadata/>), which counts first, or by
/// `Origin` (RFC 6454), which is compared with its scheme and port.
pub(super) fn initiator(request: &HttpRequest, config: &config::Http) -> Initiator {
    let headers = request.headers();
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(b"same-origin") => return Initiator::Own,
        Some(b"none") | None => {}
        Some(_) => return Initiator::Foreign,
    }
    let Some(sent) = headers.get(header::ORIGIN) else {
        return Initiator::Unknown;
    };
    let sent = sent.to_str().ok().and_then(|text| Url::parse(text).ok());
    let scheme = if is_https(request, config) {
        "https"
    } else {
        "http"
    };
    // A proxy may have written its own name into `Host`; then `BASE_URL` is the one that browsers see.
    let own = [
        base(request, config),
        format!("{scheme}://{}/", authority(request).unwrap_or_default()),
    ];
    let is_own = |sent: &Url| {
        let mut own = own.iter().filter_map(|own| Url::parse(own).ok());
        own.any(|own| own.origin() == sent.origin())
    };
    if sent.as_ref().is_some_and(is_own) {
        Initiator::Own
    } else {
        Initiator::Foreign
    }
}
