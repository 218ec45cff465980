//! `DELETE /api/v1/links/{slug}`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::link::answer;
use super::{etag, slug_in_path};
use crate::http::Services;
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, text};
use crate::http::problem::Problem;
use crate::service::Scope;

/// Deletes a link, with `If-Match` only one that has the tag.
pub(in crate::http) async fn delete(
    request: HttpRequest,
    path: web::Path<String>,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksWrite)?;
    let (slug, expected) = (slug_in_path(&path)?, etag::expected(&request));
    services.links.delete(&caller, &slug, expected).await?;
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
    .header_of_request("If-Match", text(etag::ABOUT_IF_MATCH))
    .answers_nothing(
        StatusCode::NO_CONTENT,
        "It is deleted, and its slug 404 everywhere within 5 seconds",
    )
    .problems(&["link_not_found", "stale", "outcome_unknown"])
}
