//! The web interface: pages that the server renders, which work without script. Everything that a client sent is
//! rendered as text: the templates escape what they are given.

mod assets;
mod form;
mod guest;
mod layout;
mod qr;
mod shorten;
mod visitor;
mod words;

use actix_web::{Resource, Scope, web};

use super::problem::Problem;

pub(super) use visitor::{beside, problem};

/// What a page of ours may load and do.
pub(super) const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page's own address is told to pages of ours only. (With `no-referrer`, browsers would send forms without the
/// `Origin` that is asked for.)
pub(super) const REFERRER_POLICY: &str = "same-origin";

/// `/`
pub(super) fn home() -> Resource {
    only("/", "GET, HEAD, POST")
        .route(super::routes::reading().to(shorten::show))
        .route(web::post().to(shorten::create))
}

/// `/assets`
pub(super) fn assets() -> Scope {
    web::scope("/assets").default_service(web::get().to(assets::serve))
}

/// A resource that answers 405 to every method but `allow`.
fn only(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        Err::<&str, _>(Problem::method_not_allowed(allow).for_visitor())
    }))
}
