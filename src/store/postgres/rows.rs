//! From rows to links, and back to parameters.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::domain::{KeyId, Link, Period, Redirect, Revision, Slug, TargetUrl};
use crate::store::StoreError;
pub(super) fn owner(link: &Link) -> Option<&str> {
    link.owner.as_ref().map(KeyId::as_str)
}

/// A number that does not fit fails the table's check.
pub(super) fn status(link: &Link) -> i16 {
    i16::try_from(link.redirect_status.code()).unwrap_or(i16::MAX)
}

/// A number that does not fit fails the table's check.
pub(super) fn cache_seconds(link: &Link) -> Option<i32> {
    link.cache_seconds
        .map(|seconds| i32::try_from(seconds).unwrap_or(i32::MAX))
}

pub(super) fn to_redirect(slug: &Slug, row: &Row) -> Result<Redirect, StoreError> {
    Ok(Redirect {
        slug: slug.clone(),
        revision: to_revision(row)?,
        target: TargetUrl::from_stored(column(row, "target")?).map_err(corrupt("target"))?,
        status: i64::from(column::<i16>(row, "redirect_status")?)
            .try_into()
            .map_err(corrupt("redirect_status"))?,
        cache_seconds: to_cache_seconds(row)?,
        forward_query: column(row, "forward_query")?,
        period: Period::new(column(row, "valid_from")?, column(row, "expires_at")?),
        limited: column(row, "limited")?,
        disabled: column(row, "disabled")?,
    })
}

pub(super) fn to_link(slug: &Slug, row: &Row) -> Result<Link, StoreError> {
    Ok(Link {
        slug: slug.clone(),
        revision: to_revision(row)?,
        target: TargetUrl::from_stored(column(row, "target")?).map_err(corrupt("target"))?,
        title: column(row, "title")?,
        tags: column(row, "tags")?,
        redirect_status: i64::from(column::<i16>(row, "redirect_status")?)
            .try_into()
            .map_err(corrupt("redirect_status"))?,
        cache_seconds: to_cache_seconds(row)?,
        forward_query: column(row, "forward_query")?,
        valid_from: column(row, "valid_from")?,
        expires_at: column(row, "expires_at")?,
        max_clicks: column(row, "max_clicks")?,
        disabled: column(row, "disabled")?,
        clicks: column(row, "clicks")?,
        created_at: column(row, "created_at")?,
        updated_at: column(row, "updated_at")?,
        owner: column::<Option<&str>>(row, "owner")?
            .map(str::parse)
            .transpose()
            .map_err(corrupt("owner"))?,
    })
}

pub(super) fn to_revision(row: &Row) -> Result<Revision, StoreError> {
    column(row, "revision").map(Revision::new)
}

fn to_cache_seconds(row: &Row) -> Result<Option<u32>, StoreError> {
    column::<Option<i32>>(row, "cache_seconds")?
        .map(u32::try_from)
        .transpose()
        .map_err(corrupt("cache_seconds"))
}

pub(super) fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &'static str) -> Result<T, StoreError> {
    row.try_get(name).map_err(corrupt(name))
}

pub(super) fn corrupt<E: std::fmt::Display>(column: &'static str) -> impl FnOnce(E) -> StoreError {
    move |err| StoreError::Corrupt(format!("column {column}: {err}"))
}
