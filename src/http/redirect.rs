//! `GET /{slug}`: what the service is for.

use actix_web::http::header::{CACHE_CONTROL, HeaderValue, LOCATION, REFERRER_POLICY};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;

use super::openapi::{Operation, text};
use super::problem::Problem;
use super::{Services, address, caching, services, ui, visitor};
use crate::domain::{GoneReason, Redirect, RedirectStatus, Slug, TypedSlug, without_scan_mark};
use crate::service::{Error, Visit, is_program};

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

/// Sends the visitor of `slug` on, who came with `query`.
pub(super) async fn redirect(
    slug: &Slug,
    query: &str,
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
    let admit = admission(request, services);
    match services.resolver.visit(slug, now, counts, admit).await {
        Ok(Visit::Follow(redirect)) => {
            if is_click {
                let (revision, limited) = (redirect.revision, redirect.limited);
                services.clicks.record(slug, revision, now, limited, &seen());
                services.clicks.keep_up().await;
            }
            Ok(follow(&redirect, query, now, services))
        }
        Ok(Visit::Unknown) => Err(Box::pin(unknown(request, services)).await),
        Ok(Visit::Gone(reason)) => Err(Box::pin(gone(reason, request, services)).await),
        Err(err) => Err(Problem::from(err).for_visitor()),
    }
}

/// Answers what neither the frame takes for a slug nor a route has. A slug with something behind it that no slug holds is
/// looked up once, without that. What could be no slug of any link looks the same as a slug that no link has.
pub(super) async fn rest(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let services = services(&request);
    if let Some(segment) = only_segment(request.match_info().as_str()) {
        // A reserved word that no route has: a link may be older than the reservation.
        if let Ok(slug) = segment.parse() {
            return redirect(&slug, request.query_string(), &request, services).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(Problem::method_not_allowed(METHODS));
        }
    }
    // The preview and the QR codes stand beside a slug.
    if let Some(answer) = ui::beside(&request, services).await {
        return answer;
    }
    let path = request.match_info().as_str();
    let typed = TypedSlug::of_path(path).filter(|typed| !Slug::RESERVED.contains(&typed.slug.as_str()));
    match typed {
        Some(typed) if matches!(*request.method(), Method::GET | Method::HEAD) => {
            let query = joined(typed.query, request.query_string());
            redirect(&typed.slug, &query, &request, services).await
        }
        _ => Err(no_such_slug()),
    }
}

/// Two query strings as one.
fn joined(first: String, second: &str) -> String {
    match (first.is_empty(), second.is_empty()) {
        (true, _) => second.to_owned(),
        (false, true) => first,
        (false, false) => format!("{first}&{second}"),
    }
}

fn follow(redirect: &Redirect, query: &str, now: Timestamp, services: &Services) -> HttpResponse {
    let Ok(location) = HeaderValue::try_from(redirect.location(&without_scan_mark(query))) else {
        return HttpResponse::new(StatusCode::NOT_FOUND);
    };
    let status = StatusCode::from_u16(redirect.status.code()).unwrap_or(StatusCode::FOUND);
    let mut response = HttpResponse::build(status);
    response.insert_header((LOCATION, location));
    let caching = if redirect.status.is_permanent() {
        let seconds = redirect.cache_seconds.unwrap_or(PERMANENT_CACHE_SECONDS);
        caching::shared(redirect, now, seconds)
    } else {
        caching::own(redirect)
    };
    response.insert_header((CACHE_CONTROL, caching));
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

/// Whether the store may be asked, for the sender of `request`, about what no cache knows.
pub(super) fn admission<'a>(
    request: &'a HttpRequest,
    services: &'a Services,
) -> impl Fn() -> Result<(), Error> + 'a {
    move || {
        services
            .limits
            .look_up(address::client(request, &services.config))
    }
}

/// Counts a request for nothing against its sender; the problem of one that came too often.
pub(super) async fn miss(request: &HttpRequest, services: &Services) -> Result<(), Problem> {
    let address = address::client(request, &services.config);
    let counted = services.limits.miss(address).await;
    counted.map_err(|err| Problem::from(err).for_visitor())
}

/// What is answered for an unknown slug: after too many of them, that they are too many.
pub(super) async fn unknown(request: &HttpRequest, services: &Services) -> Problem {
    match miss(request, services).await {
        Ok(()) => no_such_slug(),
        Err(limited) => limited,
    }
}

/// What is answered for a link that is gone. Requests for a used-up link cost what those for an unknown slug cost, and have
/// the same rate limit.
pub(super) async fn gone(reason: GoneReason, request: &HttpRequest, services: &Services) -> Problem {
    if reason == GoneReason::LimitReached
        && let Err(limited) = miss(request, services).await
    {
        return limited;
    }
    Problem::gone(reason).for_visitor()
}

fn no_such_slug() -> Problem {
    Problem::not_found().for_visitor()
}

pub(super) fn described() -> Operation {
    let operation = Operation::new("GET", PATTERN, "visit", "Follow a link")
        .says(
            "Each `GET` is a click; a `HEAD` is none. What no slug holds, such as a full stop, a bracket or a slash, may stand \
             behind the slug.",
        )
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
                .with_header(
                    "Cache-Control",
                    text("How long a browser may keep this: never past `expires_at`, and not at all with `max_clicks`."),
                )
        })
}
