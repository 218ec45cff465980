//! `POST /api/v1/links`

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;

use super::link::{LinkBody, answer};
use crate::domain::{Fault, FaultCode, LinkDraft};
use crate::http::auth::Sender;
use crate::http::body::{self, Fields};
use crate::http::problem::Problem;
use crate::http::{Services, origin};
use crate::service::{Error, Origin, Scope};

/// Makes a link.
pub(in crate::http) async fn create(
    request: HttpRequest,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksCreate)?;
    let body = body::json(&request, payload, body::LIMIT).await?;
    let draft = draft(body).map_err(Error::InvalidLink)?;
    let link = services
        .links
        .create(
            &caller,
            draft,
            Origin {
                host: origin::host(&request),
            },
        )
        .await?;
    Ok(answer(StatusCode::CREATED)
        .insert_header((LOCATION, format!("/api/v1/links/{}", link.slug)))
        .json(LinkBody::new(&link, &request, &services.config)))
}

/// Takes `null` for an absent field, as the link object shows it.
fn draft(body: Value) -> Result<LinkDraft, Vec<Fault>> {
    let mut fields = Fields::of(body)?;
    let url = fields.text("url");
    if url.is_none() && fields.is_whole() {
        fields.fault("url", FaultCode::Missing, "a link needs a url");
    }
    let draft = LinkDraft {
        url: fields.required("url", url).unwrap_or_default(),
        slug: fields.text("slug").flatten(),
        length: fields.integer("length").flatten(),
        title: fields.text("title").flatten(),
        tags: fields.texts("tags").flatten().unwrap_or_default(),
        redirect_status: fields.integer("redirect_status").flatten(),
        cache_seconds: fields.integer("cache_seconds").flatten(),
        forward_query: fields.flag("forward_query").flatten().unwrap_or_default(),
        valid_from: fields.time("valid_from").flatten(),
        expires_at: fields.time("expires_at").flatten(),
        max_clicks: fields.integer("max_clicks").flatten(),
    };
    fields.finish()?;
    Ok(draft)
}
