//! `DELETE /api/v1/keys/{id}`

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::link::answer;
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::problem::Problem;
use crate::service::{Actor, Scope};

/// Revokes a key.
pub(in crate::http) async fn revoke(
    path: web::Path<String>,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    services.keys.revoke(Actor::Caller(&caller), &path).await?;
    Ok(answer(StatusCode::NO_CONTENT).finish())
}
