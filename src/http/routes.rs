//! Every path that the service answers, on one page.

use actix_web::body::BoxBody;
use actix_web::dev::{HttpServiceFactory, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::guard::{self, Guard, GuardContext};
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{App, Error, Resource, Route, web};
use tracing_actix_web::TracingLogger;

use super::frame::Routed;
use super::problem::Problem;
use super::trace::ApiSpan;
use super::{
    Services, admission, api, frame, openapi, pages, panics, probes, redirect, security, ui, yourls,
};

/// The app: every route, and the frame round them all.
///
/// The frame answers redirects itself: that the patterns of all routes do not fit would cost as much as to answer. Each
/// first segment here stands in [`Slug::RESERVED`](crate::domain::Slug::RESERVED), unless it is no slug.
pub(super) fn app(
    services: web::Data<Services>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(services)
        .service(page("/").route(reading().to(ui::home)))
        .service(page("/health/live").route(reading().to(probes::live)))
        .service(page("/health/startup").route(reading().to(probes::startup)))
        .service(page("/health/ready").route(reading().to(probes::ready)))
        .service(page("/version").route(reading().to(probes::version)))
        .service(page("/openapi.json").route(reading().to(openapi::openapi)))
        .service(page("/robots.txt").route(reading().to(pages::robots)))
        .service(page("/.well-known/security.txt").route(reading().to(security::security_txt)))
        .service(page("/favicon.ico").route(reading().to(pages::favicon)))
        .service(ui::assets().app_data(Routed))
        .service(ui::app().app_data(Routed).wrap(TracingLogger::<ApiSpan>::new()))
        .service(ui::docs().app_data(Routed))
        .service(api())
        .service(
            only(yourls::PATH, yourls::METHODS)
                .wrap(TracingLogger::<ApiSpan>::new())
                .wrap(from_fn(admission::admit))
                .route(reading().to(yourls::api))
                .route(web::post().to(yourls::api)),
        )
        .default_service(web::to(redirect::rest))
        .wrap(from_fn(frame::frame))
}

/// Whether the routes of `path` make a span of their own (`ApiSpan`), so that the frame makes none.
pub(super) fn has_span(path: &str) -> bool {
    let below = |scope: &str| {
        path.strip_prefix(scope)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    below(API) || below(ui::APP) || path == yourls::PATH
}

/// Where the API begins.
const API: &str = "/api/v1";

fn api() -> impl HttpServiceFactory {
    web::scope(API)
        .wrap(TracingLogger::<ApiSpan>::new())
        .wrap(from_fn(admission::admit))
        .app_data(Routed)
        .service(
            only("/links", "GET, HEAD, POST")
                .route(reading().to(api::list::list))
                .route(web::post().to(api::create::create)),
        )
        // Guarded, so that links called bulk and disable can still be seen.
        .service(
            only("/links/bulk", "GET, HEAD, POST, PATCH, DELETE")
                .guard(guard::fn_guard(|request| !is_of_a_link(&request.head().method)))
                .route(web::post().to(api::bulk::create)),
        )
        .service(
            only("/links/disable", "GET, HEAD, POST, PATCH, DELETE")
                .guard(guard::fn_guard(|request| !is_of_a_link(&request.head().method)))
                .route(web::post().to(api::disable::disable)),
        )
        .service(
            only("/links/{slug}", "GET, HEAD, PATCH, DELETE")
                .route(reading().to(api::read::read))
                .route(web::patch().to(api::update::update))
                .route(web::delete().to(api::delete::delete)),
        )
        .service(only("/links/{slug}/stats", "GET, HEAD").route(reading().to(api::stats::stats)))
        .service(
            only("/keys", "GET, HEAD, POST")
                .route(reading().to(api::keys_list::list))
                .route(web::post().to(api::keys_create::create)),
        )
        .service(only("/keys/{id}", "DELETE").route(web::delete().to(api::keys_revoke::revoke)))
        .service(only("/audit", "GET, HEAD").route(reading().to(api::audit::list)))
        .service(
            only("/log-level", "GET, HEAD, PUT")
                .route(reading().to(api::log_level::show))
                .route(web::put().to(api::log_level::change)),
        )
        .service(only("/export", "GET, HEAD").route(reading().to(api::export::export)))
        .service(only("/import", "POST").route(web::post().to(api::import::import)))
        .default_service(web::to(api::no_such_path))
}

/// Whether a link answers this method.
fn is_of_a_link(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE].contains(method)
}

/// What a resource answers with, wrapped or not.
pub(super) trait Endpoint:
    ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = Error,
        InitError = (),
    > + 'static
{
}

impl<T> Endpoint for T where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
        > + 'static
{
}

/// A resource that is only read.
fn page(path: &str) -> Resource<impl Endpoint> {
    only(path, redirect::METHODS)
}

/// A resource that answers 405 to every method but `allow`.
fn only(path: &str, allow: &'static str) -> Resource<impl Endpoint> {
    web::resource(path)
        .app_data(Routed)
        .wrap(from_fn(panics::answer))
        .default_service(web::to(move || async move {
            Err::<&str, _>(Problem::method_not_allowed(allow))
        }))
}

/// A route for `GET` and `HEAD`. The server leaves the body of an answer to `HEAD` out.
pub(super) fn reading() -> Route {
    struct Reading;
    impl Guard for Reading {
        fn check(&self, request: &GuardContext<'_>) -> bool {
            guard::Get().check(request) || guard::Head().check(request)
        }
    }
    web::route().guard(Reading)
}
