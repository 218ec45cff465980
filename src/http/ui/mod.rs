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
mod link_form;
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
use super::{Services, panics, redirect};
use crate::domain::{Fault, FaultCode, Link, Slug};
use crate::service::{self, Caller, Error};

pub(super) use shorten::show as home;
pub(super) use visitor::{beside, problem};

/// What a page of ours may load and do.
pub(super) const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Features of browsers that no page of ours uses: <https://www.w3.org/TR/permissions-policy/>.
pub(super) const PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), \
     serial=(), usb=()";

/// A page's own address is told to pages of ours only. (With `no-referrer`, browsers would send forms without the
/// `Origin` that is asked for.)
pub(super) const REFERRER_POLICY: &str = "same-origin";

/// The methods of pages that are only read, of forms, and of pages with a form of their own.
const READ: &str = redirect::METHODS;
const SEND: &str = "POST";
const BOTH: &str = "GET, HEAD, POST";

/// `/assets`
pub(super) fn assets() -> Scope {
    web::scope("/assets")
        .service(page("/{name}", READ).route(reading().to(assets::serve)))
        .default_service(web::to(nothing))
}

/// Where the pages for members are.
pub(super) const APP: &str = "/app";

/// `/app`
pub(super) fn app() -> Scope {
    web::scope(APP)
        .service(page("", READ).route(reading().to(list::show)))
        .service(page("/shorten", SEND).route(web::post().to(shorten::create)))
        .service(
            page("/sign-in", BOTH)
                .route(reading().to(sign_in::show))
                .route(web::post().to(sign_in::sign_in)),
        )
        .service(page("/sign-out", SEND).route(web::post().to(sign_in::sign_out)))
        .service(
            page("/new", BOTH)
                .route(reading().to(edit::new))
                .route(web::post().to(edit::create)),
        )
        .service(
            page("/bulk", BOTH)
                .route(reading().to(bulk::show))
                .route(web::post().to(bulk::create)),
        )
        .service(page("/bulk/csv", SEND).route(web::post().to(bulk::csv)))
        .service(page("/links/{slug}", READ).route(reading().to(link::show)))
        .service(
            page("/links/{slug}/edit", BOTH)
                .route(reading().to(edit::edit))
                .route(web::post().to(edit::update)),
        )
        .service(
            page("/links/{slug}/delete", BOTH)
                .route(reading().to(remove::ask))
                .route(web::post().to(remove::delete)),
        )
        .service(page("/links/{slug}/undo", SEND).route(web::post().to(remove::undo)))
        .service(page("/links/{slug}/state", SEND).route(web::post().to(remove::set_state)))
        .service(
            page("/keys", BOTH)
                .route(reading().to(keys::show))
                .route(web::post().to(keys::create)),
        )
        .service(page("/keys/{id}/revoke", SEND).route(web::post().to(keys::revoke)))
        .default_service(web::to(nothing))
}

/// `/docs`
pub(super) fn docs() -> Resource<impl Endpoint> {
    page("/docs", READ).route(reading().to(docs::show))
}

/// A resource that answers 405 to every method but `allow`, as a page for those who prefer one.
fn page(path: &str, allow: &'static str) -> Resource<impl Endpoint> {
    web::resource(path)
        .wrap(from_fn(panics::answer))
        .default_service(web::to(move || async move {
            Err::<&str, _>(Problem::method_not_allowed(allow).for_visitor())
        }))
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
