//! Rows as the domain's types.

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::domain::{Link, Period, Redirect, Revision, Slug, TargetUrl};
use crate::store::StoreError;

pub(super) fn to_redirect(slug: Slug, row: &Row<'_>) -> Result<Redirect, StoreError> {
    Ok(Redirect {
        slug,
        revision: column(row, "revision").map(Revision::new)?,
        target: TargetUrl::from_stored(&column::<String>(row, "target")?).map_err(corrupt("target"))?,
        status: column::<i64>(row, "redirect_status")?
            .try_into()
            .map_err(corrupt("redirect_status"))?,
        cache_seconds: column(row, "cache_seconds")?,
        forward_query: column(row, "forward_query")?,
        period: Period::new(to_time(row, "valid_from")?, to_time(row, "expires_at")?),
        limited: column(row, "limited")?,
        disabled: column(row, "disabled")?,
    })
}

pub(super) fn to_link(slug: Slug, row: &Row<'_>) -> Result<Link, StoreError> {
    let required = |name| to_time(row, name)?.ok_or_else(|| corrupt(name)("no time"));
    Ok(Link {
        slug,
        revision: column(row, "revision").map(Revision::new)?,
        target: TargetUrl::from_stored(&column::<String>(row, "target")?).map_err(corrupt("target"))?,
        title: column(row, "title")?,
        tags: serde_json::from_str(&column::<String>(row, "tags")?).map_err(corrupt("tags"))?,
        redirect_status: column::<i64>(row, "redirect_status")?
            .try_into()
            .map_err(corrupt("redirect_status"))?,
        cache_seconds: column(row, "cache_seconds")?,
        forward_query: column(row, "forward_query")?,
        valid_from: to_time(row, "valid_from")?,
        expires_at: to_time(row, "expires_at")?,
        max_clicks: column(row, "max_clicks")?,
        disabled: column(row, "disabled")?,
        clicks: column(row, "clicks")?,
        created_at: required("created_at")?,
        updated_at: required("updated_at")?,
        owner: column::<Option<String>>(row, "owner")?
            .map(|text| text.parse())
            .transpose()
            .map_err(corrupt("owner"))?,
    })
}

pub(super) fn to_time(row: &Row<'_>, name: &'static str) -> Result<Option<Timestamp>, StoreError> {
    column::<Option<i64>>(row, name)?
        .map(Timestamp::from_microsecond)
        .transpose()
        .map_err(corrupt(name))
}

pub(super) fn column<T: FromSql>(row: &Row<'_>, name: &'static str) -> Result<T, StoreError> {
    row.get(name).map_err(corrupt(name))
}

pub(super) fn corrupt<E: std::fmt::Display>(column: &'static str) -> impl FnOnce(E) -> StoreError {
    move |err| StoreError::Corrupt(format!("column {column}: {err}"))
}
