//! The link object of the API.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, HttpResponseBuilder};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Link, RedirectStatus, Slug, TargetUrl};

/// A link as the API shows it. Field names are part of the contract.
#[derive(Serialize, ToSchema)]
#[schema(as = Link)]
pub(super) struct LinkBody<'a> {
    #[schema(value_type = Slug)]
    slug: &'a str,
    /// What visitors open.
    #[schema(format = "uri")]
    short_url: String,
    #[schema(value_type = TargetUrl)]
    url: &'a TargetUrl,
    #[schema(required = true)]
    title: Option<&'a str>,
    tags: &'a [String],
    redirect_status: RedirectStatus,
    /// How long a browser may keep a 301 or 308; `null` is 300.
    #[schema(required = true)]
    cache_seconds: Option<u32>,
    /// Whether a visitor's query string is appended to the target's.
    forward_query: bool,
    /// 404 before this time.
    #[schema(required = true)]
    valid_from: Option<Timestamp>,
    /// 410 from this time on.
    #[schema(required = true)]
    expires_at: Option<Timestamp>,
    /// 410 after so many `GET`s by people.
    #[schema(required = true)]
    max_clicks: Option<i64>,
    /// 410 while this is true.
    disabled: bool,
    /// Clicks by people that are stored. They come a little after their redirects.
    clicks: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// A link, for the document.
pub(super) const EXAMPLE: &str = r#"{
    "slug": "x7Kq2mP", "short_url": "https://go.example.com/x7Kq2mP", "url": "https://example.org/a/long/path?q=1",
    "title": null, "tags": [], "redirect_status": 302, "cache_seconds": null, "forward_query": false,
    "valid_from": null, "expires_at": null, "max_clicks": null, "disabled": false, "clicks": 0,
    "created_at": "2026-11-21T02:00:00Z", "updated_at": "2026-11-21T02:00:00Z"
}"#;

impl<'a> LinkBody<'a> {
    /// `link`, with a short URL that begins with `base`.
    pub(super) fn new(link: &'a Link, base: &str) -> Self {
        Self {
            slug: link.slug.as_str(),
            short_url: [base, link.slug.as_str()].concat(),
            url: &link.target,
            title: link.title.as_deref(),
            tags: &link.tags,
            redirect_status: link.redirect_status,
            cache_seconds: link.cache_seconds,
            forward_query: link.forward_query,
            valid_from: link.valid_from,
            expires_at: link.expires_at,
            max_clicks: link.max_clicks,
            disabled: link.disabled,
            clicks: link.clicks,
            created_at: link.created_at,
            updated_at: link.updated_at,
        }
    }
}

/// The beginning of every answer of the API: not to be kept by anybody on the way.
pub(super) fn answer(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    response.insert_header((CACHE_CONTROL, "no-store"));
    response
}
