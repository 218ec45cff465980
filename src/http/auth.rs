//! Who sends a request: the `Authorization` header (RFC 6750).

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};

use super::Services;
use super::problem::Problem;
use crate::service::{Caller, Error};

/// The sender of a request.
pub(super) struct Sender(pub(super) Caller);

impl FromRequest for Sender {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let services = request
            .app_data::<web::Data<Services>>()
            .expect("the app is built with its services");
        ready(
            key(request)
                .and_then(|key| services.keys.identify(key))
                .map(Self)
                .map_err(Problem::from),
        )
    }
}

/// The key that the request shows; a header that shows none is an error.
fn key(request: &HttpRequest) -> Result<Option<&str>, Error> {
    let Some(value) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| Error::Unauthenticated)?;
    match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(key.trim())),
        _ => Err(Error::Unauthenticated),
    }
}
