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

use actix_web::{Scope, web};

use super::openapi::Operation;
use super::problem::Problem;

pub(super) use shorten::show as home;
pub(super) use visitor::{beside, problem};

/// What a page of ours may load and do.
pub(super) const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page's own address is told to pages of ours only. (With `no-referrer`, browsers would send forms without the
/// `Origin` that is asked for.)
pub(super) const REFERRER_POLICY: &str = "same-origin";

/// `/assets`
pub(super) fn assets() -> Scope {
    web::scope("/assets").default_service(web::get().to(assets::serve))
}

/// `/app`
pub(super) fn app() -> Scope {
    web::scope("/app")
        .service(web::resource("/shorten").route(web::post().to(shorten::create)))
        .default_service(web::to(nothing))
}

async fn nothing() -> Result<&'static str, Problem> {
    Err(Problem::not_found().for_visitor())
}

/// What the description of the API says of the paths beside a slug.
pub(super) fn described() -> [Operation; 3] {
    let [svg, png] = qr::described();
    [visitor::described(), svg, png]
}
