//! `GET /{slug}`: what the service is for.

use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};

use super::openapi::{Operation, text};
use super::problem::Problem;
use super::{Services, address, services, ui, visitor};
use crate::domain::{GoneReason, Redirect, RedirectStatus, Slug, without_scan_mark};
use crate::service::{Visit, is_program};

/// Which paths are redirects.
pub(super) const PATTERN: &str = "/{slug}";

/// The methods of everything that is only read.
pub(super) const METHODS: &str = "GET, HEAD";

/// How long a browser may keep a permanent redirect when its link does not say, in seconds.
const PERMANENT_CACHE_SECONDS: u32 = 300;

/// The slug that a path is, unless it is a reserved word: then the routes come first.
pub(super) fn slug_of(path: &str) -> Option<Slug> {
    let slug: Slug = only_segment(path)?.parse().ok()?;
    (!Slug::RESERVED.contains(&slug.as_str())).then_some(slug)
}

/// Sends the visitor of `slug` on.
pub(super) async fn redirect(
    slug: &Slug,
    request: &HttpRequest,
    services: &Services,
) -> Result<HttpResponse, Problem> {
    let is_click = request.method() == Method::GET;
    if !is_click && request.method() != Method::HEAD {
        return Err(Problem::method_not_allowed(METHODS));
    }
    let now = services.clock.now();
    // Looked at only for a click: a scan of unknown slugs does not pay for it.
    let seen = || visitor::seen(request, services);
    let counts = || is_click && !is_program(&seen());
    let admit = || {
        services
            .limits
            .look_up(address::client(request, &services.config))
    };
    match services.resolver.visit_if(slug, now, counts, admit).await {
        Ok(Visit::Follow(redirect)) => {
            if is_click {
                services.clicks.record(slug, now, redirect.limited, &seen());
                services.clicks.keep_up().await;
            }
            Ok(follow(&redirect, request.query_string(), services))
        }
        Ok(Visit::Unknown) => Err(Box::pin(unknown(request, services)).await),
        Ok(Visit::Gone(reason @ GoneReason::LimitReached)) => {
            // A used-up link is as good a lever as an unknown slug, and has the same rate limit.
            let address = address::client(request, &services.config);
            Box::pin(services.limits.miss(address))
                .await
                .map_err(|err| Problem::from(err).for_visitor())?;
            Err(Problem::gone(reason).for_visitor())
        }
        Ok(Visit::Gone(reason)) => Err(Problem::gone(reason).for_visitor()),
        Err(err) => Err(Problem::from(err).for_visitor()),
    }
}

/// Answers what neither the frame takes for a slug nor a route has. What could be no slug of any link looks the same as
/// a slug that no link has.
pub(super) async fn rest(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let services = services(&request);
    if let Some(segment) = only_segment(request.match_info().as_str()) {
        // A reserved word that no route has: a link may be older than the reservation.
        if let Ok(slug) = segment.parse() {
            return redirect(&slug, &request, services).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::method_not_allowed(METHODS));
        }
    }
    // The preview and the QR codes stand beside a slug.
    ui::beside(&request, services)
        .await
        .unwrap_or_else(|| Err(no_such_slug()))
}

fn follow(redirect: &Redirect, query: &str, services: &Services) -> HttpResponse {
    let Ok(location) = HeaderValue::try_from(redirect.location(&without_scan_mark(query))) else {
        return HttpResponse::new(StatusCode::NOT_FOUND);
    };
    let status = StatusCode::from_u16(redirect.status.code()).unwrap_or(StatusCode::FOUND);
    let mut response = HttpResponse::build(status);
    response.insert_header((LOCATION, location));
    if redirect.status.is_permanent() {
        let seconds = redirect.cache_seconds.unwrap_or(PERMANENT_CACHE_SECONDS);
        response.insert_header((CACHE_CONTROL, format!("public, max-age={seconds}")));
    } else {
        response.insert_header((CACHE_CONTROL, HeaderValue::from_static("private, max-age=0")));
    }
    if let Some(policy) = &services.config.referrer_policy {
        response.insert_header((REFERRER_POLICY, policy.as_str()));
    }
    response.finish()
}

/// The segment of a path that has but one.
fn only_segment(path: &str) -> Option<&str> {
    let segment = path.strip_prefix('/')?;
    (!segment.is_empty() && !segment.contains('/')).then_some(segment)
}

/// What is answered for an unknown slug: after too many of them, that they are too many.
pub(super) async fn unknown(request: &HttpRequest, services: &Services) -> Problem {
    let address = address::client(request, &services.config);
    match services.limits.miss(address).await {
        Ok(()) => no_such_slug(),
        Err(err) => Problem::from(err).for_visitor(),
    }
}

fn no_such_slug() -> Problem {
    Problem::not_found().for_visitor()
}

pub(super) fn described() -> Operation {
    let operation = Operation::new("GET", PATTERN, "visit", "Follow a link")
        .says("Each `GET` is a click; a `HEAD` is none.")
        .group("visitors")
        .for_visitors()
        .problems(&[
            "not_found",
            "link_gone",
            "rate_limited",
            "internal_error",
            "unavailable",
            "overloaded",
        ]);
    RedirectStatus::ALL
        .into_iter()
        .fold(operation, |operation, status| {
            let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::FOUND);
            operation
                .answers_nothing(code, "The link is live, and this is its `redirect_status`")
                .with_header("Location", text("Where the link leads."))
                .with_header("Cache-Control", text("How long a browser may keep this."))
        })
}
