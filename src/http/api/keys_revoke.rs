//! `DELETE /api/v1/keys/{id}`

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use utoipa::PartialSchema;

use super::link::answer;
use crate::domain::KeyId;
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::service::Scope;

/// Revokes a key.
pub(in crate::http) async fn revoke(
    path: web::Path<String>,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::KeysAdmin)?;
    services.keys.revoke(&caller, &path).await?;
    Ok(answer(StatusCode::NO_CONTENT).finish())
}

pub(in crate::http) fn described() -> Operation {
    Operation::of_api(
        "DELETE",
        "/keys/{id}",
        "revokeKey",
        "Revoke a key",
        Scope::KeysAdmin,
    )
    .group("keys")
    .in_path("id", KeyId::schema())
    .answers_nothing(
        StatusCode::NO_CONTENT,
        "It is refused everywhere within 5 seconds",
    )
    .problems(&["key_not_found", "outcome_unknown"])
}
