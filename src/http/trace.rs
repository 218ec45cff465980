//! What is told of each request: a span and a line for every one of the API, and for those of the others that are
//! sampled. A redirect that is not has neither: building them costs more than the redirect.

use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName};
use actix_web::{Error, HttpMessage, HttpRequest};
use tracing::field::Empty;
use tracing::{Level, Span};
use tracing_actix_web::RootSpanBuilder;

use super::frame::{REQUEST_ID, RequestId};
use super::{redirect, services};
use crate::telemetry::traces::{self, Remote};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const CLOUD_TRACE: HeaderName = HeaderName::from_static("x-cloud-trace-context");

const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// So much of a path is told. A slug has at most 64 bytes.
const LONGEST_PATH: usize = 256;

/// The most bytes of a client's own request id. A UUID has 36.
const LONGEST_CLIENT_ID: usize = 128;

/// The id that the client, or a proxy before the service, gave to a request in `X-Request-Id`. It goes into the log and the
/// span alone: the id of the answer is the service's own. What is longer, or not visible ASCII, is left out.
pub(super) fn client_request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let good = (1..=LONGEST_CLIENT_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    good.then_some(id)
}

/// The states of tracing systems on the way of a request: <https://www.w3.org/TR/trace-context/#tracestate-header>. Several
/// lines are one list.
fn tracestate(headers: &HeaderMap) -> String {
    let lines: Vec<_> = headers
        .get_all(TRACESTATE)
        .filter_map(|line| line.to_str().ok())
        .collect();
    lines.join(",")
}

/// The span that a request comes from. W3C's header goes first, Google's own second.
pub(super) fn remote(headers: &HeaderMap) -> Option<Remote> {
    let read = |name: &HeaderName, read: fn(&str) -> Option<Remote>| {
        headers.get(name).and_then(|value| read(value.to_str().ok()?))
    };
    read(&TRACEPARENT, Remote::of_traceparent).or_else(|| read(&CLOUD_TRACE, Remote::of_cloud_trace))
}

/// A span of a request: its id, method and route; never an address, a key or a query. At the level ERROR, so that no
/// log filter takes the request's id away from its lines.
macro_rules! request_span {
    ($target:expr, $request:expr, $id:expr, $route:expr, $name:expr, $remote:expr) => {
        tracing::error_span!(
            target: $target,
            "http.request",
            otel.name = $name,
            otel.kind = "server",
            otel.status_code = Empty,
            request_id = $id.as_str(),
            client_request_id = client_request_id($request.headers()),
            http.request.method = $request.method().as_str(),
            http.route = $route,
            url.path = told(path($request)),
            http.response.status_code = Empty,
            error.type = Empty,
            trace_id = $remote.map(|remote: &Remote| format!("{:032x}", remote.trace_id)),
            span_id = $remote.map(|remote: &Remote| format!("{:016x}", remote.span_id)),
            trace_sampled = $remote.map(|remote: &Remote| remote.sampled),
        )
    };
}

/// A span that goes to the receiver.
fn sampled_span(request: &HttpRequest, id: &RequestId, route: &str, remote: Option<&Remote>) -> Span {
    let name = format!("{} {route}", request.method());
    let span = request_span!(traces::TARGET, request, id, route, name, None::<&Remote>);
    if let Some(remote) = remote {
        traces::adopt(&span, remote, &tracestate(request.headers()));
    }
    span
}

/// What is kept with a request of the API until its end.
struct Held {
    span: Span,
    began: Instant,
}

/// The span of a request of the API.
pub(super) struct ApiSpan;

impl RootSpanBuilder for ApiSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let remote = remote(request.headers());
        let route = request.match_pattern();
        let id = request.extensions().get::<RequestId>().copied();
        let id = id.unwrap_or_else(RequestId::new);
        let request = request.request();
        let span = if services(request).sampler.takes(remote.as_ref()) {
            sampled_span(
                request,
                &id,
                route.as_deref().unwrap_or("/api/v1"),
                remote.as_ref(),
            )
        } else {
            let remote = remote.as_ref();
            request_span!("curtail::http", request, id, route, None::<&str>, remote)
        };
        let held = Held {
            span: span.clone(),
            began: Instant::now(),
        };
        request.extensions_mut().insert(held);
        span
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        match outcome {
            Ok(response) => {
                let extensions = response.request().extensions();
                let began = extensions
                    .get::<Held>()
                    .map_or_else(Instant::now, |held| held.began);
                drop(extensions);
                span.in_scope(|| ended(&span, response, began, Level::INFO));
            }
            Err(error) => record_status(&span, error.as_response_error().status_code()),
        }
    }
}

/// The span of a request of the API, to say more in it.
pub(super) fn span_of(request: &HttpRequest) -> Span {
    let extensions = request.extensions();
    extensions
        .get::<Held>()
        .map_or_else(Span::none, |held| held.span.clone())
}

/// A request outside the API that is told of: it is sampled, or `RUST_LOG` asks for all.
pub(super) struct Watched {
    span: Span,
    level: Level,
    began: Instant,
}

/// Decides whether a request outside the API is told of, at next to no cost if it is not.
pub(super) fn watched(request: &ServiceRequest, id: &RequestId) -> Option<Watched> {
    let sampler = &services(request.request()).sampler;
    let remote = sampler.is_on().then(|| remote(request.headers())).flatten();
    let sampled = sampler.takes(remote.as_ref());
    if !sampled && !tracing::enabled!(target: "curtail::http", Level::DEBUG) {
        return None;
    }
    watch(request.request(), id, remote, sampled)
}

/// Probes come every few seconds, and say nothing of visitors.
#[cold]
fn watch(request: &HttpRequest, id: &RequestId, remote: Option<Remote>, sampled: bool) -> Option<Watched> {
    if request.path().starts_with("/health/") {
        return None;
    }
    let route = request.match_pattern();
    let route = route.as_deref().unwrap_or(redirect::PATTERN);
    let (span, level) = if sampled {
        (sampled_span(request, id, route, remote.as_ref()), Level::INFO)
    } else {
        let remote = remote.as_ref();
        (
            request_span!("curtail::http", request, id, route, None::<&str>, remote),
            Level::DEBUG,
        )
    };
    Some(Watched {
        span,
        level,
        began: Instant::now(),
    })
}

impl Watched {
    /// What the answer is made in.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Tells of the answer.
    pub(super) fn tell<B: MessageBody>(self, result: &Result<ServiceResponse<B>, Error>) {
        match result {
            Ok(response) => self
                .span
                .in_scope(|| ended(&self.span, response, self.began, self.level)),
            Err(error) => record_status(&self.span, error.as_response_error().status_code()),
        }
    }
}

fn record_status(span: &Span, status: StatusCode) {
    // Signed: what is not would become a text in OpenTelemetry.
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
}

/// The one line of a request.
fn ended<B: MessageBody>(span: &Span, response: &ServiceResponse<B>, began: Instant, level: Level) {
    record_status(span, response.status());
    let (request, status) = (response.request(), response.status().as_u16());
    let size = match response.response().body().size() {
        BodySize::Sized(size) => Some(size),
        BodySize::None | BodySize::Stream => None,
    };
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "curtail::http",
                {
                    httpRequest.requestMethod = request.method().as_str(),
                    httpRequest.requestUrl = told(path(request)),
                    httpRequest.status = status,
                    httpRequest.responseSize = size,
                    httpRequest.latency = format!("{:.6}s", began.elapsed().as_secs_f64()),
                    httpRequest.protocol = format!("{:?}", request.version()),
                },
                "answered {status}"
            )
        };
    }
    if level == Level::INFO {
        line!(info);
    } else {
        line!(debug);
    }
}

fn path(request: &HttpRequest) -> &str {
    request.uri().path()
}

/// As much of a path as is told, cut where a character ends.
fn told(path: &str) -> &str {
    let mut end = path.len().min(LONGEST_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    &path[..end]
}
