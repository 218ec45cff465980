//! Requests of pages of other origins: the CORS protocol of <https://fetch.spec.whatwg.org/#http-cors-protocol>, for
//! `CORS_ORIGINS`. Credentials are never allowed: keys come in the header `Authorization`, which needs none.

use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use crate::config::CorsOrigins;

/// What a page may send. The star does not cover `Authorization`.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str = "Authorization, *";

/// What a page may read beyond the few headers that every page may.
const EXPOSED: &str = "X-Request-Id, Location, ETag, Retry-After, RateLimit, RateLimit-Policy, Idempotency-Replayed, \
     Content-Disposition, Accept-Encoding, WWW-Authenticate";

/// How long a browser keeps the answer to a preflight, in seconds: the most that Chromium does.
const MAX_AGE: &str = "7200";

/// The value of `Access-Control-Allow-Origin` for a request; `None` if its origin may not read the answer.
fn allowed<'a>(origins: &CorsOrigins, request: &'a HttpRequest) -> Option<&'a str> {
    let origin = request.headers().get(ORIGIN)?.to_str().ok()?;
    match origins {
        CorsOrigins::None => None,
        CorsOrigins::Any => Some("*"),
        CorsOrigins::Listed(listed) => listed.iter().any(|listed| listed == origin).then_some(origin),
    }
}

/// Whether a page of the request's origin may read answers.
pub(super) fn is_allowed(origins: &CorsOrigins, request: &HttpRequest) -> bool {
    allowed(origins, request).is_some()
}

/// The answer to a preflight from an origin that is allowed; `None` for every other request.
pub(super) fn preflight(origins: &CorsOrigins, request: &HttpRequest) -> Option<HttpResponse> {
    let asks =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if !asks || allowed(origins, request).is_none() {
        return None;
    }
    let mut response = HttpResponse::build(StatusCode::NO_CONTENT);
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.insert_header((name, HeaderValue::from_static(value)));
    }
    Some(response.finish())
}

/// Lets the page that asked read the answer, if its origin is allowed.
pub(super) fn show(origins: &CorsOrigins, request: &HttpRequest, headers: &mut HeaderMap) {
    if *origins == CorsOrigins::None {
        return;
    }
    if matches!(origins, CorsOrigins::Listed(_)) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    let Some(origin) = allowed(origins, request).and_then(|origin| HeaderValue::from_str(origin).ok()) else {
        return;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if request.method() != Method::OPTIONS {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
