//! Problems: RFC 9457. The only folder that knows which status an error has.

mod kinds;

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::ui;
use crate::domain::{Fault, FaultCode, GoneReason};
use crate::service::Error;

/// How a problem ends as JSON, after the request's id.
const END: &str = "\"}";

/// An answer that is not what was asked for. It becomes a response in [`frame`](super::frame), which knows
/// the request's id and what the client reads.
#[derive(Debug)]
pub(in crate::http) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether a person may see this, so that it is a page when the client prefers one.
    pub(in crate::http) for_visitor: bool,
    /// Whether it is that of [`Problem::not_found`], which is always the same.
    is_not_found: bool,
    /// Why a link is gone.
    gone: Option<GoneReason>,
    /// What is logged with a 5xx, and said to nobody.
    pub(in crate::http) cause: Option<Box<Error>>,
}

/// What a visitor is told.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) enum Page<'a> {
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
    fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            faults: Vec::new(),
            headers: Vec::new(),
            for_visitor: false,
            is_not_found: false,
            cause: None,
            gone: None,
        }
    }

    fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The same, for a person with a browser.
    pub(in crate::http) fn for_visitor(mut self) -> Self {
        self.for_visitor = true;
        self
    }

    /// The stable code.
    pub(in crate::http) fn code(&self) -> &'static str {
        self.code
    }

    /// What it is in a few words.
    pub(in crate::http) fn title(&self) -> &'static str {
        self.title
    }

    /// The names of the headers that come with it.
    pub(in crate::http) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    /// The problem as `application/problem+json`.
    pub(in crate::http) fn json(&self, request_id: &str) -> HttpResponse {
        // Rendered once: whoever tries slug after slug gets nothing else.
        static NOT_FOUND: LazyLock<String> = LazyLock::new(|| {
            let mut text = serde_json::to_string(&Problem::not_found().body("")).unwrap_or_default();
            text.truncate(text.len() - END.len());
            text
        });
        let body = if self.is_not_found {
            [&NOT_FOUND, request_id, END].concat()
        } else {
            serde_json::to_string(&self.body(request_id)).unwrap_or_default()
        };
        self.builder()
            .insert_header((
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/problem+json"),
            ))
            .body(body)
    }

    /// The problem as a part of another answer, and its status.
    pub(in crate::http) fn value(&self, request_id: &str) -> (u16, serde_json::Value) {
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
    pub(in crate::http) fn page(&self, request: &HttpRequest, request_id: &str) -> HttpResponse {
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
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        if self.for_visitor {
            response.insert_header((header::VARY, HeaderValue::from_static("Accept, Accept-Language")));
        }
        for (name, value) in &self.headers {
            response.insert_header((name.clone(), value.clone()));
        }
        response
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
pub(in crate::http) struct Body<'a> {
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
pub(in crate::http) struct BodyFault<'a> {
    /// The field: a JSON Pointer (RFC 6901).
    pointer: &'a str,
    #[schema(value_type = FaultCode)]
    code: &'a str,
    /// What is wrong with it, for a person.
    detail: &'a str,
}
