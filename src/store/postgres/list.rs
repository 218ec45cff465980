//! Lists of links.

use tokio_postgres::types::Type;

use super::links::{PostgresStore, column, corrupt, to_link};
use super::patience::within;
use super::pool::Parameter;
use crate::domain::{Cursor, KeyId, LinkPage, LinkQuery, LinkState, Slug};
use crate::store::StoreError;
use crate::store::limits::LONG_LIMIT;

/// Planned anew for each query's own values: what is null falls away before a plan is chosen.
const LINKS: &str = "-- links()
SELECT id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM links
WHERE ($1 IS NULL OR id < $1)
    AND ($2 IS NULL OR slug ILIKE $2 OR target ILIKE $2 OR title ILIKE $2)
    AND ($3 IS NULL OR tags @> ARRAY[$3])
    AND ($4 IS NULL OR owner = $4)
    AND ($5 IS NULL
        OR ($5 = 'disabled' AND disabled)
        OR ($5 = 'expired' AND NOT disabled AND (expires_at <= $6 OR clicks >= max_clicks))
        OR ($5 = 'scheduled' AND NOT disabled AND valid_from > $6 AND (max_clicks IS NULL OR clicks < max_clicks))
        OR ($5 = 'live' AND NOT disabled AND (valid_from IS NULL OR valid_from <= $6)
            AND (expires_at IS NULL OR expires_at > $6) AND (max_clicks IS NULL OR clicks < max_clicks)))
ORDER BY id DESC
LIMIT $7";

pub(super) async fn links(store: &PostgresStore, query: &LinkQuery) -> Result<LinkPage, StoreError> {
    let parameters: [Parameter<'_>; 7] = [
        (/* before */ &query.after.map(Cursor::number), Type::INT8),
        (/* pattern */ &query.text.as_deref().map(pattern), Type::TEXT),
        (/* tag */ &query.tag, Type::TEXT),
        (
            /* owner */ &query.owner.as_ref().map(KeyId::as_str),
            Type::TEXT,
        ),
        (/* state */ &query.state.map(state), Type::TEXT),
        (/* now */ &query.now, Type::TIMESTAMPTZ),
        (/* limit */ &(i64::from(query.limit) + 1), Type::INT8),
    ];
    let rows = within(LONG_LIMIT, store.searches().query(LINKS, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    let links = rows.iter().map(|row| {
        let slug: Slug = column::<&str>(row, "slug")?.parse().map_err(corrupt("slug"))?;
        Ok((Cursor::at(column(row, "id")?), to_link(&slug, row)?))
    });
    Ok(LinkPage::of(
        links.collect::<Result<_, StoreError>>()?,
        query.limit,
    ))
}

fn state(state: LinkState) -> &'static str {
    match state {
        LinkState::Live => "live",
        LinkState::Scheduled => "scheduled",
        LinkState::Expired => "expired",
        LinkState::Disabled => "disabled",
    }
}

/// A pattern for what holds `text`, each of its characters meaning itself.
fn pattern(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    format!("%{escaped}%")
}
