//! Rate limits in answers: the headers `RateLimit-Policy` and `RateLimit` of
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/>.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpMessage, HttpRequest};

use super::openapi::{Operation, text};
use super::{Services, address};
use crate::domain::Taken;
use crate::service::{Caller, Error};

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What the description of the API says of these headers.
pub(super) const ABOUT_POLICY: &str = "The policy: its name, `q` requests in `w` seconds. `create` is for requests that create links, `miss` for unknown slugs, \
     `key` for wrong API keys.";
pub(super) const ABOUT_LIMIT: &str =
    "The policy's name, the `r` requests that are left, and the `t` seconds until all are back.";

/// The window of every policy, in seconds.
const WINDOW: u32 = 60;

/// Takes a request that creates links from the budget of its caller. The answer shows what is left: see [`show`].
pub(super) async fn create(request: &HttpRequest, services: &Services, caller: &Caller) -> Result<(), Error> {
    let client = address::client(request, &services.config);
    if let Some(taken) = services.limits.create(caller, client).await? {
        request.extensions_mut().insert(taken);
    }
    Ok(())
}

/// Describes the headers of the answer that was named last. They are left out without a limit.
pub(super) fn described(operation: Operation) -> Operation {
    operation
        .with_header("RateLimit-Policy", text(ABOUT_POLICY))
        .with_header("RateLimit", text(ABOUT_LIMIT))
}

/// Adds the headers, if the request was taken from a budget.
pub(super) fn show(request: &HttpRequest, headers: &mut HeaderMap) {
    let taken = request.extensions().get::<Taken>().copied();
    for (name, value) in taken.into_iter().flat_map(headers_of) {
        headers.insert(name, value);
    }
}

/// The policy (`q` requests in `w` seconds) and its state: `r` requests are left, and all are back in `t` seconds.
pub(super) fn headers_of(taken: Taken) -> [(HeaderName, HeaderValue); 2] {
    let Taken {
        policy,
        limit,
        remaining,
        reset,
        ..
    } = taken;
    let value = |text: String| HeaderValue::try_from(text).expect("names of policies are ASCII");
    [
        (POLICY, value(format!("\"{policy}\";q={limit};w={WINDOW}"))),
        (LIMIT, value(format!("\"{policy}\";r={remaining};t={reset}"))),
    ]
}
