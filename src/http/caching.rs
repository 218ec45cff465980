//! `Cache-Control` of answers for a link (RFC 9111): nothing that others may keep outlives the link.

use actix_web::http::header::HeaderValue;
use jiff::Timestamp;

use crate::domain::Redirect;

/// For an answer that anybody may keep for `seconds`: not past the link's end, and not at all if the link has a click limit,
/// since a copy would be a click that is not counted.
pub(super) fn shared(redirect: &Redirect, now: Timestamp, seconds: u32) -> HeaderValue {
    if redirect.limited {
        return HeaderValue::from_static(NEVER);
    }
    let left = redirect.period.expires_at().map(|end| end.duration_since(now));
    let left = left.map_or(i64::MAX, |left| left.as_secs().max(0));
    let seconds = i64::from(seconds).min(left);
    HeaderValue::from_str(&format!("public, max-age={seconds}")).unwrap_or(HeaderValue::from_static(NEVER))
}

/// For an answer that a browser asks for again each time.
pub(super) fn own(redirect: &Redirect) -> HeaderValue {
    if redirect.limited {
        HeaderValue::from_static(NEVER)
    } else {
        HeaderValue::from_static("private, max-age=0")
    }
}

const NEVER: &str = "private, no-store";
