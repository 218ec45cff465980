//! What every answer has in common: a request id, security headers, and a body for problems.

use std::pin::pin;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, HttpResponse};
use tracing::Instrument;

use super::origin::{is_https, is_loopback_host};
use super::problem::Problem;
use super::{Services, accept, compress, cors, panics, rate, redirect, routes, services, trace, ui};
use crate::domain::Slug;
use crate::lifecycle::PanicOf;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// The id of one request: 32 hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestId([u8; 32]);

impl RequestId {
    pub(super) fn new() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(fastrand::u128(..).to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(digits)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are text")
    }
}

/// Wraps every route. It is the outermost layer, so it sees every answer.
pub(super) async fn frame(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let id = RequestId::new();
    let path = request.match_info().as_str();
    let slug = redirect::slug_of(path);
    // Of these, the span is made further in, where the route is known.
    let watched = if slug.is_none() && routes::has_span(path) {
        request.extensions_mut().insert(id);
        None
    } else {
        trace::watched(&request, &id)
    };
    // Pinned where it is made: it would be copied into each future around it.
    let answering = pin!(answered(request, next, slug, id, began));
    let Some(watched) = watched else {
        return answering.await;
    };
    let result = answering.instrument(watched.span()).await;
    watched.tell(&result);
    result
}

async fn answered(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    slug: Option<Slug>,
    id: RequestId,
    began: Instant,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = match own_answer(request.request(), slug).await {
        Some(Ok(answer)) => request.into_response(answer),
        Some(Err(problem)) => {
            let answer = problem_response(&problem, request.request(), &id);
            request.into_response(answer)
        }
        None => {
            let lifecycle = services(request.request()).lifecycle.clone();
            let answering = async { next.call(request).await };
            // In a box, as all that a redirect from memory does not come to: its future is moved more than once.
            Box::pin(async {
                let answered = panics::outermost(&lifecycle, id, answering).await?;
                Ok::<_, Error>(compress::compressed(routed(answered, &id)).await)
            })
            .await?
        }
    };
    let (request, mut response) = response.into_parts();
    let services = services(&request);
    // Paths do not know the method, and say so; its origin decides whether it is a preflight.
    if response.status() == StatusCode::METHOD_NOT_ALLOWED
        && let Some(preflight) = cors::preflight(&services.config.cors_origins, &request)
    {
        response = preflight;
    }
    finish(&mut response, &request, services, &id);
    count(&request, response.status(), services, began);
    Ok(ServiceResponse::new(request, response))
}

/// What is answered before any route is looked for: redirects, and strangers to a service on trial.
async fn own_answer(request: &HttpRequest, slug: Option<Slug>) -> Option<Result<HttpResponse, Problem>> {
    let services = services(request);
    if services.config.trial && !is_loopback_host(request) {
        return Some(Err(Problem::foreign_host()));
    }
    let slug = slug?;
    let redirect = pin!(redirect::redirect(
        &slug,
        request.query_string(),
        request,
        services
    ));
    let answer = services.lifecycle.catch(PanicOf::Request, redirect).await;
    Some(answer.unwrap_or_else(|_| Err(panics::problem(request))))
}

/// The answer of a route, with a body if it is a problem.
fn routed(response: ServiceResponse<impl MessageBody + 'static>, id: &RequestId) -> ServiceResponse<BoxBody> {
    let problem = response
        .response()
        .error()
        .and_then(|err| err.as_error::<Problem>());
    match problem.map(|problem| problem_response(problem, response.request(), id)) {
        Some(answer) => response.into_response(answer),
        None => response.map_into_boxed_body(),
    }
}

/// Marks every route but the redirect, whose requests are many: they are told apart without matching patterns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routed;

/// The route that is shown for what has no pattern, such as unknown paths of the API.
const NO_ROUTE: &str = "none";

fn count(request: &HttpRequest, status: StatusCode, services: &Services, began: Instant) {
    let http = &services.metrics.http;
    let (method, status) = (request.method().as_str(), status.as_u16());
    if request.app_data::<Routed>().is_some() {
        let route = request.match_pattern();
        let route = route.as_deref().unwrap_or(NO_ROUTE);
        http.routes.get(route).add_one(method, status);
    } else {
        let redirects = http.redirects.mine();
        redirects.answers.add_one(method, status);
        redirects.latency.observe(began.elapsed());
    }
}

/// Adds the headers that every answer carries.
fn finish(response: &mut HttpResponse, request: &HttpRequest, services: &Services, id: &RequestId) {
    if services.lifecycle.is_draining() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    let html = is_html(response.headers());
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(hsts) = &services.hsts
        && is_https(request, &services.config)
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    cors::show(&services.config.cors_origins, request, headers);
    rate::show(request, headers);
    if html {
        headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static(ui::PERMISSIONS));
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(ui::SECURITY_POLICY),
        );
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static(ui::REFERRER_POLICY),
        );
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

/// The one place where a failure is logged, and the one where a problem gets its body.
fn problem_response(problem: &Problem, request: &HttpRequest, id: &RequestId) -> HttpResponse {
    if let Some(cause) = &problem.cause {
        // What no pattern matches and still fails is a redirect.
        let route = request
            .match_pattern()
            .unwrap_or_else(|| redirect::PATTERN.to_owned());
        let _entered = trace::span_of(request).entered();
        let remote = trace::remote(request.headers());
        tracing::error!(
            request_id = id.as_str(),
            client_request_id = trace::client_request_id(request.headers()),
            http.route = route,
            trace_id = remote.map(|remote| format!("{:032x}", remote.trace_id)),
            span_id = remote.map(|remote| format!("{:016x}", remote.span_id)),
            trace_sampled = remote.map(|remote| remote.sampled),
            error = ?cause,
            "request failed: {cause}"
        );
    }
    if problem.for_visitor && prefers_html(request) {
        problem.page(request, id.as_str())
    } else {
        problem.json(id.as_str())
    }
}

/// Whether the client prefers a page to JSON: browsers do, API clients and `curl` do not.
fn prefers_html(request: &HttpRequest) -> bool {
    const OFFERS: [&str; 3] = ["application/problem+json", "application/json", "text/html"];
    accept::preferred(request, &OFFERS) == Some(2)
}
