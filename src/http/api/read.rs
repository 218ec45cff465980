//! `GET /api/v1/links/{slug}`

use actix_web::http::StatusCode;
use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse, web};

use super::link::{EXAMPLE, LinkBody, answer};
use super::{etag, slug_in_path};
use crate::http::auth::Sender;
use crate::http::openapi::{Operation, text};
use crate::http::problem::Problem;
use crate::http::{Services, conditions, origin};
use crate::service::Scope;

/// Shows a link, or answers 304 if the client holds it as it is.
pub(in crate::http) async fn read(
    request: HttpRequest,
    path: web::Path<String>,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksRead)?;
    let link = services.links.link(&caller, &slug_in_path(&path)?).await?;
    let tag = etag::of(&link);
    if conditions::is_known(&request, &tag) {
        return Ok(answer(StatusCode::NOT_MODIFIED)
            .insert_header((ETAG, tag))
            .finish());
    }
    Ok(answer(StatusCode::OK)
        .insert_header((ETAG, tag))
        .json(LinkBody::new(&link, &origin::base(&request, &services.config))))
}

pub(in crate::http) fn described() -> Operation {
    Operation::of_api("GET", "/links/{slug}", "getLink", "Show a link", Scope::LinksRead)
        .group("links")
        .header_of_request(
            "If-None-Match",
            text("The `ETag` of an earlier answer: 304 if the link is as it was."),
        )
        .answers::<LinkBody<'_>>(StatusCode::OK, "The link", EXAMPLE)
        .with_header("ETag", text(etag::ABOUT))
        .answers_nothing(StatusCode::NOT_MODIFIED, "The link is as the client holds it")
        .with_header("ETag", text(etag::ABOUT))
        .problems(&["link_not_found"])
}
