//! Problems in the document: each is one that the program makes, shown as it is answered.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::types::text;
use crate::domain::{Fault, FaultCode, GoneReason, Taken};
use crate::http::problem::{Body, BodyFault, Problem};
use crate::http::rate;
use crate::service::Error;

/// A request id that stands for any.
const REQUEST_ID: &str = "5f0c1b7e9a3d42c8b6e0d1f2a3b4c5d6";

/// A problem of the program.
pub(super) struct Known {
    pub(super) status: u16,
    pub(super) code: &'static str,
    title: &'static str,
    headers: Vec<String>,
    body: Value,
}

/// Every problem that the program can answer.
pub(super) fn all() -> Vec<Known> {
    let known = |problem: &Problem| {
        let (status, body) = problem.value(REQUEST_ID);
        Known {
            status,
            code: problem.code(),
            title: problem.title(),
            headers: problem.header_names().map(spelled).collect(),
            body,
        }
    };
    Problem::samples().iter().map(known).collect()
}

/// A header's name as people write it.
fn spelled(name: &str) -> String {
    let part = |part: &str| {
        let (first, rest) = part.split_at(part.len().min(1));
        match part {
            "www" => "WWW".to_owned(),
            "ratelimit" => "RateLimit".to_owned(),
            _ => first.to_ascii_uppercase() + rest,
        }
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

/// The parts that every problem is described with.
pub(super) fn put_schemas(schemas: &mut BTreeMap<String, RefOr<Schema>>) {
    schemas.insert(Body::name().into_owned(), Body::schema());
    schemas.insert(BodyFault::name().into_owned(), BodyFault::schema());
    schemas.insert(FaultCode::name().into_owned(), FaultCode::schema());
}

impl Known {
    /// The answer of these problems, which have one status.
    pub(super) fn response(known: &[&Self], for_visitors: bool, request_id: (String, Ref)) -> Response {
        let titles: Vec<_> = known.iter().map(|known| known.title).collect();
        let codes = ObjectBuilder::new().property(
            "code",
            text("")
                .enum_values(Some(known.iter().map(|known| known.code)))
                .description(None::<String>),
        );
        let schema = AllOfBuilder::new()
            .item(Ref::from_schema_name(Body::name()))
            .item(codes);
        let examples = known.iter().map(|known| {
            let example = ExampleBuilder::new()
                .summary(known.title)
                .value(Some(known.body.clone()));
            (known.code, RefOr::T(example.build()))
        });
        let content = ContentBuilder::new()
            .schema(Some(schema))
            .examples_from_iter(examples)
            .build();
        let mut response = ResponseBuilder::new()
            .description(titles.join(", or: "))
            .content("application/problem+json", content)
            .header_ref(request_id.0, request_id.1);
        if for_visitors {
            let page = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String)));
            response = response.content("text/html", page.build());
        }
        let names: std::collections::BTreeSet<_> = known.iter().flat_map(|known| &known.headers).collect();
        for name in names.into_iter().filter(|name| *name != "Connection") {
            let (kind, about) = match name.as_str() {
                "Allow" => (Type::String, "The methods of this path."),
                "WWW-Authenticate" => (Type::String, "How to show a key."),
                "Accept-Encoding" => (Type::String, "The content codings that are read."),
                "RateLimit" => (Type::String, rate::ABOUT_LIMIT),
                "RateLimit-Policy" => (Type::String, rate::ABOUT_POLICY),
                "Retry-After" => (
                    Type::Integer,
                    "Seconds to wait: until the next request is granted (429), or 1 (503).",
                ),
                _ => (Type::Integer, ""),
            };
            let header = HeaderBuilder::new()
                .schema(Some(ObjectBuilder::new().schema_type(kind)))
                .description(Some(about));
            response = response.header(name, header.build());
        }
        response.build()
    }
}

impl Problem {
    /// One problem of each code, for the document.
    fn samples() -> Vec<Self> {
        let fault = |name: &str, code, detail: &str| vec![Fault::new(format!("/{name}"), code, detail)];
        let taken = Taken {
            policy: "create",
            granted: false,
            limit: 60,
            remaining: 0,
            retry_after: 1,
            reset: 60,
        };
        let url = fault(
            "url",
            FaultCode::SchemeNotAllowed,
            "a target begins with http: or https:",
        );
        vec![
            Self::not_found(),
            Self::gone(GoneReason::Expired),
            Self::method_not_allowed("GET, HEAD"),
            Self::malformed_json("expected value at line 1 column 1"),
            Self::unreadable("Line 7: the brackets of the JSON do not match."),
            Self::malformed_query("A parameter is there twice."),
            Self::malformed_header("There is one Idempotency-Key, of 1 to 255 visible ASCII characters."),
            Self::malformed_body("The body could not be read to its end."),
            Self::request_timeout("The body did not arrive within 10 seconds."),
            Self::unsupported_encoding(),
            Self::body_too_large(16_384),
            Self::unsupported_media_type(),
            Self::foreign_host(),
            Self::foreign_origin(),
            Self::unavailable(),
            Error::Panicked.into(),
            Error::NoFreeSlug(5).into(),
            Self::invalid_log_level(fault(
                "level",
                FaultCode::Missing,
                "this is what is to be changed",
            )),
            Error::Unauthenticated.into(),
            Error::InsufficientScope("links:create").into(),
            Error::LinkNotFound.into(),
            Error::KeyNotFound.into(),
            Error::InvalidKey(fault("name", FaultCode::Missing, "a key needs this")).into(),
            Error::IdempotencyMismatch.into(),
            Error::RateLimited(taken).into(),
            Error::Overloaded.into(),
            Self::outcome_unknown(),
            Error::SlugTaken.into(),
            Error::Stale.into(),
            Error::InvalidLink(url.clone()).into(),
            Error::InvalidPatch(url).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::http::openapi::operations;

    #[test]
    fn an_operation_names_only_problems_that_the_program_has() {
        let problems = super::all();

        let unknown: Vec<_> = operations()
            .iter()
            .flat_map(|operation| operation.unknown_problems(&problems))
            .collect();

        assert_eq!(unknown, [""; 0]);
    }

    #[test]
    fn each_problem_is_there_once() {
        let problems = super::all();

        let codes: BTreeSet<_> = problems.iter().map(|known| known.code).collect();

        assert_eq!(codes.len(), problems.len());
    }
}
