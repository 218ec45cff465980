//! `POST /api/v1/links/bulk`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use utoipa::ToSchema;

use super::create::{NewLinkBody, draft};
use super::made;
use crate::domain::{Fault, FaultCode};
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::openapi::{Operation, text};
use crate::http::problem::Problem;
use crate::http::{Services, address, origin, rate};
use crate::service::{Batch, Caller, Error, Origin, Scope};

/// The most bytes of a body.
const LIMIT: usize = 4 * 1024 * 1024;

/// The most links of a request.
const MAX_LINKS: usize = 1000;

/// Makes many links, each for itself.
pub(in crate::http) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksCreate)?;
    if matches!(caller, Caller::Anonymous { .. }) {
        // A thousand links at a time are not for everybody.
        return Err(Error::Unauthenticated.into());
    }
    let address = address::client(&request, &services.config);
    rate::create(&request, &services, &caller).await?;
    let bytes = body::bytes(&request, payload, LIMIT).await?;
    let name = made::name(&request, address, &bytes)?;
    let links = links(body::parse(&bytes)?).map_err(Error::InvalidLink)?;
    let drafts = links.into_iter().map(draft).collect();
    let origin = Origin {
        host: origin::host(&request),
    };
    let render = made::many(&request, &services);
    match services
        .links
        .create_all(&caller, drafts, origin, name, render)
        .await?
    {
        Batch::Answered(answer) => Ok(made::response(answer, false)),
        Batch::Replayed(answer) => Ok(made::response(answer, true)),
        Batch::Items(_) => Err(Problem::unavailable()),
    }
}

fn links(body: Value) -> Result<Vec<Value>, Vec<Fault>> {
    let mut fields = Fields::of(body)?;
    if !fields.has("links") {
        fields.fault("links", FaultCode::Missing, "this needs links");
    }
    let links = fields.values("links");
    let links = fields.required("links", links).unwrap_or_default();
    if links.len() > MAX_LINKS {
        fields.fault("links", FaultCode::TooLong, "at most 1000 links");
    } else if links.is_empty() && fields.is_whole() {
        fields.fault("links", FaultCode::OutOfRange, "at least one link");
    }
    fields.finish()?;
    Ok(links)
}

/// Links to be made.
#[derive(ToSchema)]
#[schema(as = NewLinks)]
#[expect(dead_code, reason = "for the document: `links` reads it")]
struct NewLinksBody {
    /// Each is made or refused for itself.
    #[schema(min_items = 1, max_items = 1000)]
    links: Vec<NewLinkBody>,
}

pub(in crate::http) fn described() -> Operation {
    const RESULTS: &str = r#"{"results": [
        {"status": 409, "problem": {"type": "urn:curtail:problem:slug_taken", "title": "The slug is taken", "status": 409,
            "code": "slug_taken", "detail": "Another link has this slug.", "request_id": "5f0c1b7e9a3d42c8b6e0d1f2a3b4c5d6"}}
    ]}"#;
    const LINKS: &str =
        r#"{"links": [{"url": "https://example.org/1"}, {"url": "https://example.org/2", "slug": "two"}]}"#;
    let operation = made::sent_again(Operation::of_api(
        "POST",
        "/links/bulk",
        "createLinks",
        "Make many links",
        Scope::LinksCreate,
    ))
    .group("links")
    .takes::<NewLinksBody>("application/json", LINKS)
    .answers::<made::Results<'_>>(StatusCode::OK, "What became of each", RESULTS)
    .with_header("Idempotency-Replayed", text(made::ABOUT_REPLAYED));
    rate::described(operation).problems(&[
        "malformed_header",
        "invalid_link",
        "idempotency_mismatch",
        "outcome_unknown",
    ])
}
