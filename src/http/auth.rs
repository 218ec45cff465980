//! Who sends a request: the `Authorization` header (RFC 6750).

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::origin::{self, Initiator};
use super::problem::Problem;
use super::{Services, address, cors, services};
use crate::service::{Caller, Error};

/// The sender of a request.
pub(super) struct Sender(pub(super) Caller);

impl FromRequest for Sender {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        async move {
            let services = services(&request);
            let shown = key(&request);
            if matches!(shown, Ok(None)) && !request.method().is_safe() {
                refuse_foreign(&request, services)?;
            }
            Ok(Self(caller(&request, services, shown).await?))
        }
        .boxed_local()
    }
}

/// Refuses a request without a key that a page of another origin sent, unless `CORS_ORIGINS` allows that origin: the page
/// uses the place of the browser, such as a machine on which trial mode asks for no key.
pub(super) fn refuse_foreign(request: &HttpRequest, services: &Services) -> Result<(), Problem> {
    match origin::initiator(request, &services.config) {
        Initiator::Foreign if !cors::is_allowed(&services.config.cors_origins, request) => {
            Err(Problem::foreign_origin())
        }
        _ => Ok(()),
    }
}

/// Whose key `shown` is. A wrong key is counted against its sender.
pub(super) async fn caller(
    request: &HttpRequest,
    services: &Services,
    shown: Result<Option<&str>, Error>,
) -> Result<Caller, Error> {
    let Some(key) = shown.transpose() else {
        return Ok(services.keys.anonymous());
    };
    let address = address::client(request, &services.config);
    let caller = match key {
        Ok(key) => {
            let admit = || services.limits.check_key(address);
            services.keys.identify(key, admit).await
        }
        Err(err) => Err(err),
    };
    if matches!(caller, Err(Error::Unauthenticated)) {
        services.limits.wrong_key(address).await?;
    }
    caller
}

/// The key that the request shows; a header that shows none is an error.
pub(super) fn key(request: &HttpRequest) -> Result<Option<&str>, Error> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Error::Unauthenticated)?;
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(key.trim())),
        _ => Err(Error::Unauthenticated),
    }
}
