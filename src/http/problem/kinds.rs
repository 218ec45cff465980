//! Every problem there is, and the one that each error of the services becomes.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};

use super::Problem;
use crate::domain::{Fault, GoneReason};
use crate::http::body::MalformedJson;
use crate::http::query::MalformedQuery;
use crate::http::rate;
use crate::service::{Error, ImportError, Unreadable};

impl Problem {
    /// Nothing answers at this path.
    pub(in crate::http) fn not_found() -> Self {
        Self {
            is_not_found: true,
            ..Self::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "Not found",
                "There is nothing at this address.",
            )
        }
    }

    /// There was a link here.
    pub(in crate::http) fn gone(reason: GoneReason) -> Self {
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
    pub(in crate::http) fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("This address answers {allow}.");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            detail,
        )
        .with_header(header::ALLOW, allow)
    }

    /// The body is no JSON.
    pub(in crate::http) fn malformed_json(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_json",
            "The body is not valid JSON",
            detail,
        )
    }

    /// A body that is no JSON cannot be read: it was cut off, or breaks the rules of its form.
    pub(in crate::http) fn malformed_body(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_body",
            "The body cannot be read",
            detail,
        )
        .with_header(header::CONNECTION, "close")
    }

    /// The body took too long to arrive: RFC 9110, section 15.5.9.
    pub(in crate::http) fn request_timeout(detail: &'static str) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "The request took too long",
            detail,
        )
        .with_header(header::CONNECTION, "close")
    }

    /// A header of the request breaks the rules of its form.
    pub(in crate::http) fn malformed_header(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_header",
            "A header is not valid",
            detail,
        )
    }

    /// A list of links makes no sense.
    pub(in crate::http) fn unreadable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_import",
            "The links cannot be read",
            detail,
        )
    }

    /// The query string does not make sense.
    pub(in crate::http) fn malformed_query(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed_query",
            "The query string is not valid",
            detail,
        )
    }

    /// The body is too long.
    pub(in crate::http) fn body_too_large(limit: usize) -> Self {
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
    pub(in crate::http) fn unsupported_media_type() -> Self {
        let detail = "Send the header Content-Type: application/json.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Not JSON",
            detail,
        )
    }

    /// The body has a `Content-Encoding` that is not read: RFC 9110, section 15.5.16.
    pub(in crate::http) fn unsupported_encoding() -> Self {
        let detail = "Send the body without Content-Encoding, or with gzip alone.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "Unsupported content encoding",
            detail,
        )
        .with_header(header::ACCEPT_ENCODING, "gzip")
    }

    /// A page of another origin sent the request.
    pub(in crate::http) fn foreign_origin() -> Self {
        let detail = "A page of another site sent this request. Nothing was changed.";
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "Cross-origin request refused",
            detail,
        )
    }

    /// The request is for another host than trial mode answers.
    pub(in crate::http) fn foreign_host() -> Self {
        let detail = "Without DATABASE_URL the service answers requests for localhost only.";
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "foreign_host",
            "Not this host",
            detail,
        )
    }

    /// The service cannot do this now.
    pub(in crate::http) fn unavailable() -> Self {
        let (code, title) = ("unavailable", "Unavailable");
        let detail = "The service cannot do this right now. Try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title, detail).with_header(header::RETRY_AFTER, "1")
    }

    /// A change may have been made, or not.
    pub(in crate::http) fn outcome_unknown() -> Self {
        Self {
            code: "outcome_unknown",
            title: "Outcome unknown",
            detail: "No answer came from the database in time: the change may have been made. Read the state before you \
                try again."
                .into(),
            ..Self::unavailable()
        }
    }

    /// A defect of the program: the request panicked.
    fn internal_error() -> Self {
        let (code, title) = ("internal_error", "Internal error");
        let detail = "The service failed at this request. What it was to change may have been changed.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, title, detail)
    }

    /// The log cannot be told so.
    pub(in crate::http) fn invalid_log_level(faults: Vec<Fault>) -> Self {
        Self::invalid("invalid_log_level", "The log level is not valid", faults)
    }

    fn invalid(code: &'static str, title: &'static str, faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [fault] => fault.detail.to_string(),
            faults => format!("{} fields are at fault.", faults.len()),
        };
        Self {
            faults,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, detail)
        }
    }
}

impl From<MalformedJson> for Problem {
    fn from(MalformedJson(detail): MalformedJson) -> Self {
        Self::malformed_json(detail)
    }
}

impl From<MalformedQuery> for Problem {
    fn from(MalformedQuery(detail): MalformedQuery) -> Self {
        Self::malformed_query(detail)
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
                problem
                    .headers
                    .push((header::RETRY_AFTER, HeaderValue::from(taken.retry_after)));
                problem.headers.extend(rate::headers_of(taken));
                problem
            }
            Error::SlugTaken => Self::new(
                StatusCode::CONFLICT,
                "slug_taken",
                "The slug is taken",
                "Another link has this slug.",
            ),
            Error::Stale => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "stale",
                "The link was changed",
                "The link does not have the revision of If-Match. Read it again before you change it.",
            ),
            Error::InvalidLink(faults) => Self::invalid("invalid_link", "The link is not valid", faults),
            Error::InvalidPatch(faults) => Self::invalid("invalid_patch", "The change is not valid", faults),
            // Without a cause: each would be logged, just when there is least time for it.
            Error::Overloaded => Self {
                code: "overloaded",
                title: "Too many requests at once",
                ..Self::unavailable()
            },
            Error::OutcomeUnknown(_) => Self {
                cause: Some(Box::new(error)),
                ..Self::outcome_unknown()
            },
            Error::NoFreeSlug(_) => Self {
                code: "no_free_slug",
                title: "No free slug was found",
                detail: "Every slug that was generated is in use. Try again, or choose a slug.".into(),
                cause: Some(Box::new(error)),
                ..Self::unavailable()
            },
            Error::Panicked => Self {
                cause: Some(Box::new(error)),
                ..Self::internal_error()
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
