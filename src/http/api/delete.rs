//! `DELETE /api/v1/links/{slug}`

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use super::link::answer;
use super::slug_in_path;
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::service::Scope;

/// Deletes a link.
pub(in crate::http) async fn delete(
    path: web::Path<String>,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksWrite)?;
    services.links.delete(&caller, &slug_in_path(&path)?).await?;
    Ok(answer(StatusCode::NO_CONTENT).finish())
}

pub(in crate::http) fn described() -> Operation {
    Operation::of_api(
        "DELETE",
        "/links/{slug}",
        "deleteLink",
        "Delete a link",
        Scope::LinksWrite,
    )
    .group("links")
    .answers_nothing(
        StatusCode::NO_CONTENT,
        "It is deleted, and its slug 404 everywhere within 5 seconds",
    )
    .problems(&["link_not_found", "outcome_unknown"])
}
