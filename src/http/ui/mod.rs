//! The web interface: pages that the server renders, which work without script. Everything that a client sent is
//! rendered as text: the templates escape what they are given.

mod assets;
mod bulk;
mod chart;
mod docs;
mod edit;
mod form;
mod guest;
mod keys;
mod layout;
mod link;
mod list;
mod qr;
mod remove;
mod shorten;
mod sign_in;
mod statistics;
mod visitor;
mod words;

use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, Resource, Scope, web};
use url::form_urlencoded::byte_serialize;

use self::guest::Guest;
use super::openapi::Operation;
use super::problem::Problem;
use super::routes::{Endpoint, reading};
use super::{Services, panics};
use crate::domain::{Fault, FaultCode, Link, Slug};
use crate::service::{self, Caller, Error};

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
        .service(page("").route(reading().to(list::show)))
        .service(page("/shorten").route(web::post().to(shorten::create)))
        .service(
            page("/sign-in")
                .route(reading().to(sign_in::show))
                .route(web::post().to(sign_in::sign_in)),
        )
        .service(page("/sign-out").route(web::post().to(sign_in::sign_out)))
        .service(
            page("/new")
                .route(reading().to(edit::new))
                .route(web::post().to(edit::create)),
        )
        .service(
            page("/bulk")
                .route(reading().to(bulk::show))
                .route(web::post().to(bulk::create)),
        )
        .service(page("/bulk/csv").route(web::post().to(bulk::csv)))
        .service(page("/links/{slug}").route(reading().to(link::show)))
        .service(
            page("/links/{slug}/edit")
                .route(reading().to(edit::edit))
                .route(web::post().to(edit::update)),
        )
        .service(
            page("/links/{slug}/delete")
                .route(reading().to(remove::ask))
                .route(web::post().to(remove::delete)),
        )
        .service(page("/links/{slug}/undo").route(web::post().to(remove::undo)))
        .service(page("/links/{slug}/state").route(web::post().to(remove::set_state)))
        .service(
            page("/keys")
                .route(reading().to(keys::show))
                .route(web::post().to(keys::create)),
        )
        .service(page("/keys/{id}/revoke").route(web::post().to(keys::revoke)))
        .default_service(web::to(nothing))
}

/// `/docs`
pub(super) fn docs() -> Resource<impl Endpoint> {
    page("/docs").route(reading().to(docs::show))
}

/// A resource that is not found by other methods than its own: nobody types them.
fn page(path: &str) -> Resource<impl Endpoint> {
    web::resource(path)
        .wrap(from_fn(panics::answer))
        .default_service(web::to(nothing))
}

/// Somebody with a key that has `scope`; whoever has none is sent to the page to sign in.
async fn member(
    request: &HttpRequest,
    services: &Services,
    scope: service::Scope,
) -> Result<Result<Guest, HttpResponse>, Problem> {
    let guest = Guest::of(request, services).await?;
    if matches!(guest.caller, Caller::Anonymous { .. }) {
        let wanted = match request.uri().path_and_query() {
            Some(wanted) if request.method() == "GET" => wanted.as_str(),
            _ => "/app",
        };
        let to: String = byte_serialize(wanted.as_bytes()).collect();
        return Ok(Err(guest.see_other(&format!("{}?to={to}", sign_in::PATH))));
    }
    guest.caller.require(scope).map_err(visible)?;
    Ok(Ok(guest))
}

/// The slug in a path. A text that is no slug is the slug of no link.
fn slug_in_path(text: &str) -> Result<Slug, Problem> {
    text.parse().map_err(|_| visible(Error::LinkNotFound))
}

/// The link that a path names, if this guest sees it.
async fn link_in_path(guest: &Guest, services: &Services, path: &str) -> Result<Link, Problem> {
    let slug = slug_in_path(path)?;
    services.links.link(&guest.caller, &slug).await.map_err(visible)
}

/// The fault of a slug that is in use.
fn taken() -> Fault {
    Fault::new(
        "/slug",
        FaultCode::SlugReserved,
        "another link has this name: choose another one",
    )
}

/// A failure that a person sees.
fn visible(err: Error) -> Problem {
    Problem::from(err).for_visitor()
}

async fn nothing() -> Result<&'static str, Problem> {
    Err(Problem::not_found().for_visitor())
}

/// What the description of the API says of the paths beside a slug.
pub(super) fn described() -> [Operation; 3] {
    let [svg, png] = qr::described();
    [visitor::described(), svg, png]
}
