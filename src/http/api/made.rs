//! Answers to requests that make links, and requests that are sent again (`Idempotency-Key`).

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::link::{LinkBody, answer};
use crate::http::frame::RequestId;
use crate::http::openapi::{Operation, text};
use crate::http::problem::{self, Problem};
use crate::http::{Services, origin};
use crate::service::{Answer, Item, Render, RequestName};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// What is said of that header.
pub(super) const ABOUT_REPLAYED: &str =
    "`true` if this answer was given before, to a request with this `Idempotency-Key`.";
const MAX_KEY_LEN: usize = 255;

/// What became of one link.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkResult)]
#[serde(untagged)]
enum ItemBody<'a> {
    Link {
        /// 201, or 200 for a link that was there already.
        status: u16,
        link: LinkBody<'a>,
    },
    Problem {
        status: u16,
        #[schema(value_type = problem::Body)]
        problem: Value,
    },
}

/// What became of each link, in their order.
#[derive(Serialize, ToSchema)]
#[schema(as = BulkResults)]
pub(super) struct Results<'a> {
    results: Vec<ItemBody<'a>>,
}

/// A request that may be sent again.
pub(super) fn sent_again(operation: Operation) -> Operation {
    let key =
        text("A name for this request. Within 24 hours the same name and body get the first answer again.");
    operation.header_of_request(
        "Idempotency-Key",
        key.pattern(Some("^[!-~]+$"))
            .min_length(Some(1))
            .max_length(Some(MAX_KEY_LEN)),
    )
}

/// The client's name for this request, if it gave one; `body` is what it sent.
pub(in crate::http) fn name(
    request: &HttpRequest,
    client: IpAddr,
    body: &[u8],
) -> Result<Option<RequestName>, Problem> {
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let good =
        |key: &str| (1..=MAX_KEY_LEN).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let key = value
        .to_str()
        .ok()
        .filter(|key| good(key) && values.next().is_none());
    let key = key.ok_or_else(|| {
        Problem::malformed_header(format!(
            "There is one Idempotency-Key, of 1 to {MAX_KEY_LEN} visible ASCII characters."
        ))
    })?;
    let asked = Sha256::new()
        .chain_update(request.path())
        .chain_update([0])
        .chain_update(body)
        .finalize();
    Ok(Some(RequestName {
        key: key.to_owned(),
        client,
        request: asked.into(),
    }))
}

/// Renders the answer to a request for one link. A refusal is not remembered.
pub(super) fn one(request: &HttpRequest, services: &Services) -> Render {
    let base = origin::base(request, &services.config);
    Arc::new(move |items| {
        let (status, link) = match items {
            [Item::Made(link)] => (StatusCode::CREATED, link),
            [Item::Reused(link)] => (StatusCode::OK, link),
            _ => return None,
        };
        Some(Answer {
            status: status.as_u16(),
            location: (status == StatusCode::CREATED).then(|| format!("/api/v1/links/{}", link.slug)),
            body: serde_json::to_vec(&LinkBody::new(link, &base)).ok()?,
        })
    })
}

/// Renders the answer to a request for many links.
pub(super) fn many(request: &HttpRequest, services: &Services) -> Render {
    let base = origin::base(request, &services.config);
    let id = request
        .extensions()
        .get::<RequestId>()
        .map_or_else(String::new, |id| id.as_str().to_owned());
    Arc::new(move |items| {
        let link = |status: StatusCode, link| ItemBody::Link {
            status: status.as_u16(),
            link: LinkBody::new(link, &base),
        };
        let results = items.iter().map(|item| match item {
            Item::Made(made) => link(StatusCode::CREATED, made),
            Item::Reused(made) => link(StatusCode::OK, made),
            Item::Refused(err) => {
                let (status, problem) = Problem::from(err.clone()).value(&id);
                ItemBody::Problem { status, problem }
            }
        });
        let results = Results {
            results: results.collect(),
        };
        Some(Answer {
            status: StatusCode::OK.as_u16(),
            location: None,
            body: serde_json::to_vec(&results).ok()?,
        })
    })
}

/// The header of an answer that was given before.
pub(in crate::http) fn replayed_header() -> (HeaderName, HeaderValue) {
    (REPLAYED, HeaderValue::from_static("true"))
}

/// The response that an answer stands for.
pub(super) fn response(given: Answer, replayed: bool) -> HttpResponse {
    let status = StatusCode::from_u16(given.status).unwrap_or(StatusCode::OK);
    let mut response = answer(status);
    response.content_type("application/json");
    if let Some(location) = given.location {
        response.insert_header((LOCATION, location));
    }
    if replayed {
        response.insert_header(replayed_header());
    }
    response.body(given.body)
}
