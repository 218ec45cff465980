//! Many links as one JSON document: the parameter of a statement that reads them with `json_to_recordset`.

use jiff::Timestamp;
use serde::Serialize;

use super::failure::Failure;
use super::links::corrupt;
use crate::domain::{KeyId, Link, RedirectStatus, Slug, TargetUrl};

/// What every new link has. A statement that needs more flattens this into an item of its own.
#[derive(Serialize)]
pub(super) struct Item<'a> {
    slug: &'a Slug,
    target: &'a TargetUrl,
    title: Option<&'a str>,
    tags: &'a [String],
    redirect_status: RedirectStatus,
    cache_seconds: Option<u32>,
    forward_query: bool,
    valid_from: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    max_clicks: Option<i64>,
    created_at: Timestamp,
    owner: Option<&'a KeyId>,
}

impl<'a> From<&'a Link> for Item<'a> {
    fn from(link: &'a Link) -> Self {
        Self {
            slug: &link.slug,
            target: &link.target,
            title: link.title.as_deref(),
            tags: &link.tags,
            redirect_status: link.redirect_status,
            cache_seconds: link.cache_seconds,
            forward_query: link.forward_query,
            valid_from: link.valid_from,
            expires_at: link.expires_at,
            max_clicks: link.max_clicks,
            created_at: link.created_at,
            owner: link.owner.as_ref(),
        }
    }
}

/// The items as one document.
pub(super) fn document<T: Serialize>(items: impl Iterator<Item = T>) -> Result<String, Failure> {
    serde_json::to_string(&items.collect::<Vec<T>>())
        .map_err(corrupt("document"))
        .map_err(Failure::of_outcome)
}
