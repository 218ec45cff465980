//! `GET /api/v1/keys`

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::key::KeyBody;
use super::link::answer;
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::service::Scope;

/// All keys.
#[derive(Serialize, ToSchema)]
#[schema(as = Keys)]
struct Body<'a> {
    keys: Vec<Item<'a>>,
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
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    let keys = services.keys.list().await?;
    let item = |key| Item {
        about: KeyBody::new(key),
        last_used_at: key.last_used_at,
    };
    Ok(answer(StatusCode::OK).json(Body {
        keys: keys.iter().map(item).collect(),
    }))
}

pub(in crate::http) fn described() -> Operation {
    const KEYS: &str = r#"{"keys": [{
        "id": "k3yExAmPlE", "name": "shop", "scopes": ["links:create", "links:read"], "own_links_only": true,
        "expires_at": null, "created_at": "2026-11-21T02:00:00Z", "last_used_at": null
    }]}"#;
    Operation::of_api(
        "GET",
        "/keys",
        "listKeys",
        "List the keys, without their secrets",
        Scope::KeysAdmin,
    )
    .group("keys")
    .answers::<Body<'_>>(StatusCode::OK, "The keys", KEYS)
}
