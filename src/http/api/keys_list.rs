//! `GET /api/v1/keys`

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use jiff::Timestamp;
use serde::Serialize;

use super::key::KeyBody;
use super::link::answer;
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::problem::Problem;
use crate::service::Scope;

#[derive(Serialize)]
struct Body<'a> {
    keys: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Item<'a> {
    #[serde(flatten)]
    about: KeyBody<'a>,
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
