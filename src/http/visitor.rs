//! What a request shows of its sender, for counting.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName};

use super::{Services, address};
use crate::domain::is_scan;
use crate::service::Seen;

/// Of today, of WebKit, and of older browsers.
const PURPOSES: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

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
        address: Some(address::client(request, &services.config)),
        prefetch: is_prefetch(headers),
        scan: is_scan(request.query_string()),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// Whether a browser fetches ahead, or draws a preview: <https://wicg.github.io/nav-speculation/prefetch.html#sec-purpose-header>.
fn is_prefetch(headers: &HeaderMap) -> bool {
    const WORDS: [&str; 3] = ["prefetch", "prerender", "preview"];
    PURPOSES.iter().any(|name| {
        text(headers, name)
            .split([';', ','])
            .any(|word| WORDS.iter().any(|known| word.trim().eq_ignore_ascii_case(known)))
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::is_prefetch;

    #[test]
    fn a_prefetch_is_known_by_each_header() {
        let prefetch = |name, value| {
            let request = TestRequest::default().insert_header((name, value));
            is_prefetch(request.to_http_request().headers())
        };

        assert!(prefetch("Sec-Purpose", "prefetch;prerender"));
        assert!(prefetch("Purpose", "prefetch"));
        assert!(prefetch("Purpose", "preview"));
        assert!(prefetch("X-Purpose", "preview"));
        assert!(prefetch("X-Moz", "prefetch"));
        assert!(!prefetch("X-Moz", "prefetching"));
        assert!(!prefetch("Purpose", "anything"));
    }
}
