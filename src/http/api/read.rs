//! `GET /api/v1/links/{slug}`

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::link::{EXAMPLE, LinkBody, answer};
use super::slug_in_path;
use crate::http::auth::Sender;
use crate::http::openapi::Operation;
use crate::http::problem::Problem;
use crate::http::{Services, origin};
use crate::service::Scope;

/// Shows a link.
pub(in crate::http) async fn read(
    request: HttpRequest,
    path: web::Path<String>,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksRead)?;
    let link = services.links.link(&caller, &slug_in_path(&path)?).await?;
    Ok(answer(StatusCode::OK).json(LinkBody::new(&link, &origin::base(&request, &services.config))))
}

pub(in crate::http) fn described() -> Operation {
    Operation::of_api("GET", "/links/{slug}", "getLink", "Show a link", Scope::LinksRead)
        .group("links")
        .answers::<LinkBody<'_>>(StatusCode::OK, "The link", EXAMPLE)
        .problems(&["link_not_found"])
}
