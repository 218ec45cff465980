//! `GET /api/v1/keys`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::key::KeyBody;
use super::link::answer;
use crate::domain::{KeyCursor, KeyPage};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, number, text};
use crate::http::problem::Problem;
use crate::http::query::{MalformedQuery, Parameters};
use crate::service::Scope;

/// Keys of a page, if the client does not say.
const DEFAULT_LIMIT: u8 = 50;
/// The most keys of a page.
const MAX_LIMIT: u8 = 200;

/// A page of keys, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Keys)]
struct Body<'a> {
    keys: Vec<Item<'a>>,
    /// The `cursor` of the next page; `null` on the last.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// A key, without what is secret of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Key)]
struct Item<'a> {
    #[serde(flatten)]
    about: KeyBody<'a>,
    /// The hour in which it was last used.
    #[schema(required = true)]
    last_used_at: Option<Timestamp>,
}

/// Lists the keys, without what is secret of them.
pub(in crate::http) async fn list(
    request: HttpRequest,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    let (after, limit) = wanted(request.query_string())?;
    let KeyPage { keys, next } = services.keys.list(after.as_ref(), limit).await?;
    let item = |key| Item {
        about: KeyBody::new(key),
        last_used_at: key.last_used_at,
    };
    Ok(answer(StatusCode::OK).json(Body {
        keys: keys.iter().map(item).collect(),
        next_cursor: next.map(|cursor| cursor.to_string()),
    }))
}

fn wanted(query: &str) -> Result<(Option<KeyCursor>, u8), MalformedQuery> {
    let mut parameters = Parameters::of(query)?;
    let limit = parameters.parsed::<u8>("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(MalformedQuery(format!(
            "`limit` must be between 1 and {MAX_LIMIT}."
        )));
    }
    let after = parameters.parsed::<KeyCursor>("cursor")?;
    parameters.finish()?;
    Ok((after, limit))
}

pub(in crate::http) fn described() -> Operation {
    const KEYS: &str = r#"{"keys": [{
        "id": "k3yExAmPlE", "name": "shop", "scopes": ["links:create", "links:read"], "own_links_only": true,
        "expires_at": null, "created_at": "2026-11-21T02:00:00Z", "last_used_at": null
    }], "next_cursor": null}"#;
    let limit = number(1, MAX_LIMIT.into(), "The most keys of a page.").default(Some(DEFAULT_LIMIT.into()));
    Operation::of_api(
        "GET",
        "/keys",
        "listKeys",
        "List the keys, newest first, without their secrets",
        Scope::KeysAdmin,
    )
    .group("keys")
    .in_query("limit", limit)
    .in_query(
        "cursor",
        text("The `next_cursor` of the page before.").pattern(Some("^[0-9a-f]{24}[A-Za-z0-9]{1,32}$")),
    )
    .answers::<Body<'_>>(StatusCode::OK, "A page of keys", KEYS)
    .problems(&["malformed_query"])
}
