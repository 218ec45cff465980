//! The link object of the API.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, HttpResponseBuilder};
use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{Link, RedirectStatus, TargetUrl};

/// A link as the API shows it. Field names are part of the contract.
#[derive(Serialize)]
pub(super) struct LinkBody<'a> {
    slug: &'a str,
    short_url: String,
    url: &'a TargetUrl,
    title: Option<&'a str>,
    tags: &'a [String],
    redirect_status: RedirectStatus,
    cache_seconds: Option<u32>,
    forward_query: bool,
    valid_from: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    max_clicks: Option<i64>,
    disabled: bool,
    clicks: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

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
