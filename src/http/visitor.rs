//! What a request shows of its sender, for counting.

use std::borrow::Cow;

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
            .map_or(Cow::Borrowed(""), |name| text(headers, name)),
        address: Some(address::client(request, &services.config)),
        prefetch: is_prefetch(headers),
        scan: is_scan(request.query_string()),
    }
}

/// A header's value. Bytes above 127 are read as UTF-8 (some phones have the name of their model in it), and what is none
/// as U+FFFD: the rest of the value still counts.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Cow<'a, str> {
    headers.get(name).map_or(Cow::Borrowed(""), |value| {
        String::from_utf8_lossy(value.as_bytes())
    })
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
    use actix_web::http::header::{self, HeaderValue};
    use actix_web::test::TestRequest;

    use super::{is_prefetch, text};

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
    #[test]
    fn bytes_above_127_leave_the_rest_of_a_header_readable() {
        let agent = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            let request = TestRequest::default().insert_header((header::USER_AGENT, value));
            text(request.to_http_request().headers(), &header::USER_AGENT).into_owned()
        };

        assert_eq!(agent("Android 13; 红米 Note".as_bytes()), "Android 13; 红米 Note");
        assert_eq!(
            agent(b"Android 13; caf\xe9 Chrome/120"),
            "Android 13; caf\u{fffd} Chrome/120"
        );
    }
}
