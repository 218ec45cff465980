//! Problems: RFC 9457. The only file that knows which status an error has.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::MalformedJson;
use super::query::MalformedQuery;
use super::ui;
use crate::domain::{Fault, FaultCode, GoneReason};
use crate::service::{Error, ImportError, Unreadable};

/// An answer that is not what was asked for. It becomes a response in [`frame`](super::frame), which knows
/// the request's id and what the client reads.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether a person may see this, so that it is a page when the client prefers one.
    pub(super) for_visitor: bool,
    /// Why a link is gone.
    gone: Option<GoneReason>,
    /// What is logged with a 5xx, and said to nobody.
    pub(super) cause: Option<Box<Error>>,
}

/// What a visitor is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Page<'a> {
    /// Nothing is here.
    NotFound,
    /// There was a link here.
    Gone(GoneReason),
    /// Not now.
    Unavailable,
    /// Too many requests.
    Busy,
    /// Anything else: its title and text.
    Other(&'a str, &'a str),
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            faults: Vec::new(),
            headers: Vec::new(),
            for_visitor: false,
            cause: None,
            gone: None,
        }
    }

    fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The same, for a person with a browser.
    pub(super) fn for_visitor(mut self) -> Self {
        self.for_visitor = true;
        self
    }

    /// Nothing answers at this path.
    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "Not found",
            "There is nothing at this address.",
        )
    }

    /// There was a link here.
    pub(super) fn gone(reason: GoneReason) -> Self {
        let detail = match reason {
            GoneReason::Expired => "The link has expired.",
            GoneReason::Disabled => "The link was taken down.",
            GoneReason::LimitReached => "The link was used as often as it may be.",
        };
        Self {
            gone: Some(reason),
            ..Self::new(StatusCode::GONE, "link_gone", "The link is gone", detail)
        }
    }

    /// The path is known, the method is not.
    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("This address answers {allow}.");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            detail,
        )
        .with_header(header::ALLOW, allow)
    }

    /// The body is no JSON, or did not come.
    pub(super) fn malformed_json(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
            "The body is not valid JSON",
            detail,
        )
    }

    /// A list of links makes no sense, or did not come.
    pub(super) fn unreadable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_import",
            "The links cannot be read",
            detail,
        )
    }

    /// The query string does not make sense.
    pub(super) fn malformed_query(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_query",
            "The query string is not valid",
            detail,
        )
    }

    /// The body is too long.
    pub(super) fn body_too_large(limit: usize) -> Self {
        let detail = format!("A body has at most {limit} bytes here.");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is too large",
            detail,
        )
        .with_header(header::CONNECTION, "close")
    }

    /// The body is not said to be JSON.
    pub(super) fn unsupported_media_type() -> Self {
        let detail = "Send the header Content-Type: application/json.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Not JSON",
            detail,
        )
    }

    /// A form that no page of ours sent.
    pub(super) fn foreign_origin() -> Self {
        let detail = "The form did not come from a page of this service. Nothing was changed.";
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "Sent from elsewhere",
            detail,
        )
    }

    /// The request is for another host than trial mode answers.
    pub(super) fn foreign_host() -> Self {
        let detail = "Without DATABASE_URL the service answers requests for localhost only.";
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "Not this host",
            detail,
        )
    }

    /// The service cannot do this now.
    pub(super) fn unavailable() -> Self {
        let (code, title) = ("unavailable", "Unavailable");
        let detail = "The service cannot do this right now. Try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail).with_header(header::RETRY_AFTER, "1")
    }

    /// The log cannot be told so.
    pub(super) fn invalid_log_level(faults: Vec<Fault>) -> Self {
        Self::invalid("invalid_log_level", "The log level is not valid", faults)
    }

    fn invalid(code: &'static str, title: &'static str, faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [fault] => fault.detail.clone(),
            faults => format!("{} fields are at fault.", faults.len()),
        };
        Self {
            faults,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail)
        }
    }

    /// The stable code.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    /// What it is in a few words.
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    /// The names of the headers that come with it.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    /// The problem as `application/problem+json`.
    pub(super) fn json(&self, request_id: &str) -> HttpResponse {
        let body = self.body(request_id);
        self.builder().content_type("application/problem+json").json(body)
    }

    /// The problem as a part of another answer, and its status.
    pub(super) fn value(&self, request_id: &str) -> (u16, serde_json::Value) {
        let body = serde_json::to_value(self.body(request_id));
        (self.status.as_u16(), body.unwrap_or_default())
    }

    fn body<'a>(&'a self, request_id: &'a str) -> Body<'a> {
        let errors = self.faults.iter().map(|fault| BodyFault {
            pointer: &fault.pointer,
            code: fault.code.as_str(),
            detail: &fault.detail,
        });
        Body {
            kind: format!("urn:curtail:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            errors: errors.collect(),
            request_id,
        }
    }

    /// The problem as a page.
    pub(super) fn page(&self, request: &HttpRequest, request_id: &str) -> HttpResponse {
        let page = match (self.status, self.gone) {
            (StatusCode::NOT_FOUND, _) => Page::NotFound,
            (_, Some(reason)) => Page::Gone(reason),
            (StatusCode::SERVICE_UNAVAILABLE, _) => Page::Unavailable,
            (StatusCode::TOO_MANY_REQUESTS, _) => Page::Busy,
            _ => Page::Other(self.title, &self.detail),
        };
        let body = ui::problem(page, request, request_id);
        self.builder().content_type("text/html; charset=utf-8").body(body)
    }

    fn builder(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status);
        response.insert_header((header::CACHE_CONTROL, "no-store"));
        if self.for_visitor {
            response.insert_header((header::VARY, "Accept, Accept-Language"));
        }
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        response
    }
}

impl From<MalformedJson> for Problem {
    fn from(MalformedJson(detail): MalformedJson) -> Self {
        Self::malformed_json(detail)
    }
}

impl From<MalformedQuery> for Problem {
    fn from(MalformedQuery(detail): MalformedQuery) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_query",
            "The request is not valid",
            detail,
        )
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Unauthenticated => {
                let detail = "Send the header Authorization: Bearer with a valid key.";
                Self::new(
                    StatusCode::UNAUTHORIZED,
                    "unauthenticated",
                    "No valid key",
                    detail,
                )
                .with_header(header::WWW_AUTHENTICATE, "Bearer")
            }
            Error::InsufficientScope(scope) => {
                let detail = format!("This needs a key with the scope {scope}.");
                Self::new(
                    StatusCode::FORBIDDEN,
                    "insufficient_scope",
                    "The key is not for this",
                    detail,
                )
            }
            Error::LinkNotFound => Self::new(
                StatusCode::NOT_FOUND,
                "link_not_found",
                "There is no such link",
                "No link has this slug.",
            ),
            Error::KeyNotFound => Self::new(
                StatusCode::NOT_FOUND,
                "key_not_found",
                "There is no such key",
                "No key has this id.",
            ),
            Error::InvalidKey(faults) => Self::invalid("invalid_key", "The key is not valid", faults),
            Error::IdempotencyMismatch => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_mismatch",
                "The Idempotency-Key was used before",
                "Another request was sent with this Idempotency-Key within 24 hours.",
            ),
            Error::RateLimited(taken) => {
                let detail = format!("Too many requests. Try again in {} seconds.", taken.retry_after);
                let mut problem = Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limited",
                    "Too many requests",
                    detail,
                );
                let headers = [
                    (header::RETRY_AFTER, taken.retry_after),
                    (HeaderName::from_static("ratelimit-limit"), taken.limit),
                    (HeaderName::from_static("ratelimit-remaining"), taken.remaining),
                    (HeaderName::from_static("ratelimit-reset"), taken.reset),
                ];
                problem
                    .headers
                    .extend(headers.map(|(name, value)| (name, HeaderValue::from(value))));
                problem
            }
            Error::SlugTaken => Self::new(
                StatusCode::CONFLICT,
                "slug_taken",
                "The slug is taken",
                "Another link has this slug.",
            ),
            Error::InvalidLink(faults) => Self::invalid("invalid_link", "The link is not valid", faults),
            Error::InvalidPatch(faults) => Self::invalid("invalid_patch", "The change is not valid", faults),
            // Without a cause: each would be logged, just when there is least time for it.
            Error::Overloaded => Self {
                code: "overloaded",
                title: "Too many requests at once",
                ..Self::unavailable()
            },
            Error::Store(_) => Self {
                cause: Some(Box::new(error)),
                ..Self::unavailable()
            },
        }
    }
}

impl From<ImportError> for Problem {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::UnknownFormat => {
                Self::unreadable("The format was not recognised. Name it with format=.")
            }
            ImportError::Unreadable(Unreadable { line, detail }) => {
                Self::unreadable(format!("Line {line}: {detail}."))
            }
            ImportError::Service(error) => error.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// An empty answer of the right status: the frame puts the body in.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status)
    }
}

/// What went wrong: RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Body<'a> {
    /// `urn:curtail:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The same for every problem of this code.
    title: &'a str,
    status: u16,
    /// The stable name of the problem.
    code: &'a str,
    /// What happened here, for a person.
    detail: &'a str,
    /// The fields at fault, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<BodyFault<'a>>,
    /// The id of the request, as in `X-Request-Id`.
    request_id: &'a str,
}

/// A field that is at fault.
#[derive(Serialize, ToSchema)]
#[schema(as = Fault)]
pub(super) struct BodyFault<'a> {
    /// The field: a JSON Pointer (RFC 6901).
    pointer: &'a str,
    #[schema(value_type = FaultCode)]
    code: &'a str,
    /// What is wrong with it, for a person.
    detail: &'a str,
}
