//! `PATCH /api/v1/links/{slug}`: a JSON merge patch (RFC 7396).

use actix_web::http::StatusCode;
use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse, web};
use jiff::Timestamp;
use serde_json::Value;
use utoipa::ToSchema;

use super::link::{EXAMPLE, LinkBody, answer};
use super::{etag, slug_in_path};
use crate::domain::{Change, Fault, LinkPatch, RedirectStatus, TargetUrl};
use crate::http::auth::Sender;
use crate::http::body::{self, Fields, Nullable};
use crate::http::openapi::{Operation, text};
use crate::http::problem::Problem;
use crate::http::{Services, origin};
use crate::service::{Error, Origin, Scope};

/// Changes a link, with `If-Match` only one that has the tag.
pub(in crate::http) async fn update(
    request: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    Sender(caller): Sender,
    services: web::Data<Services>,
) -> Result<HttpResponse, Problem> {
    caller.require(Scope::LinksWrite)?;
    let slug = slug_in_path(&path)?;
    let body = body::json(&request, payload, body::LINK_LIMIT).await?;
    let patch = patch(body).map_err(Error::InvalidPatch)?;
    let link = services
        .links
        .update(
            &caller,
            &slug,
            patch,
            Origin {
                host: origin::host(&request),
            },
            etag::expected(&request),
        )
        .await?;
    Ok(answer(StatusCode::OK)
        .insert_header((ETAG, etag::of(&link)))
        .json(LinkBody::new(&link, &origin::base(&request, &services.config))))
}

/// An absent field stays, `null` takes the field back to what a new link has. The slug is not among them:
/// it cannot change.
fn patch(body: Value) -> Result<LinkPatch, Vec<Fault>> {
    let mut fields = Fields::of(body)?;
    let url = fields.text("url");
    let patch = LinkPatch {
        url: fields.required("url", url).map_or(Change::Keep, Change::Set),
        title: nullable(fields.text("title")),
        tags: or_default(fields.texts("tags")),
        redirect_status: nullable(fields.integer("redirect_status")),
        cache_seconds: nullable(fields.integer("cache_seconds")),
        forward_query: or_default(fields.flag("forward_query")),
        valid_from: nullable(fields.time("valid_from")),
        expires_at: nullable(fields.time("expires_at")),
        max_clicks: nullable(fields.integer("max_clicks")),
        disabled: or_default(fields.flag("disabled")),
    };
    fields.finish()?;
    Ok(patch)
}

fn nullable<T>(field: Nullable<T>) -> Change<Option<T>> {
    field.map_or(Change::Keep, Change::Set)
}

fn or_default<T: Default>(field: Nullable<T>) -> Change<T> {
    field.map_or(Change::Keep, |value| Change::Set(value.unwrap_or_default()))
}

/// A JSON merge patch (RFC 7396): an absent field stays, `null` takes it back to what a new link has. The slug
/// cannot change.
#[derive(ToSchema)]
#[schema(as = LinkPatch)]
#[expect(dead_code, reason = "for the document: `patch` reads the fields one by one")]
struct PatchBody {
    #[schema(required = false)]
    url: TargetUrl,
    #[schema(max_length = 200)]
    title: Option<String>,
    #[schema(max_items = 16, min_length = 1, max_length = 64)]
    tags: Option<Vec<String>>,
    redirect_status: Option<RedirectStatus>,
    #[schema(minimum = 0, maximum = 31_536_000)]
    cache_seconds: Option<i64>,
    forward_query: Option<bool>,
    valid_from: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    #[schema(minimum = 1)]
    max_clicks: Option<i64>,
    /// Take the link down, or up again.
    disabled: Option<bool>,
}

pub(in crate::http) fn described() -> Operation {
    Operation::of_api(
        "PATCH",
        "/links/{slug}",
        "updateLink",
        "Change a link",
        Scope::LinksWrite,
    )
    .group("links")
    .takes::<PatchBody>(
        "application/merge-patch+json",
        r#"{"title": "Winter sale", "expires_at": null}"#,
    )
    .header_of_request("If-Match", text(etag::ABOUT_IF_MATCH))
    .answers::<LinkBody<'_>>(StatusCode::OK, "The link as it is now", EXAMPLE)
    .with_header("ETag", text(etag::ABOUT))
    .problems(&["link_not_found", "stale", "invalid_patch", "outcome_unknown"])
}
