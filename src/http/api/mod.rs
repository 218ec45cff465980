//! The links API: a file for each endpoint.

pub(super) mod audit;
pub(super) mod bulk;
pub(super) mod create;
pub(super) mod delete;
pub(super) mod disable;
mod etag;
pub(super) mod export;
pub(super) mod import;
mod key;
pub(super) mod keys_create;
pub(super) mod keys_list;
pub(super) mod keys_revoke;
mod link;
pub(super) mod list;
pub(super) mod log_level;
mod made;
pub(super) mod read;
pub(super) mod stats;
pub(super) mod update;

use actix_web::HttpResponse;

pub(super) use made::{name as request_name, replayed_header};

use super::problem::Problem;
use crate::domain::Slug;
use crate::service::Error;

/// Any other path under the base.
pub(super) async fn no_such_path() -> Result<HttpResponse, Problem> {
    Err(Problem::not_found())
}

/// The slug in a path. A text that is no slug is the slug of no link.
fn slug_in_path(text: &str) -> Result<Slug, Error> {
    text.parse().map_err(|_| Error::LinkNotFound)
}
