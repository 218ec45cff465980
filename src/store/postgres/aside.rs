//! Links that were deleted a moment ago, and are wanted back.

use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;

use super::links::{to_link, to_revision};
use super::patience::within_or_longer;
use super::pool::{Parameter, Pool};
use crate::domain::{Actor, KeyId, Link, Revision, Slug};
use crate::store::StoreError;
use crate::store::limits::WRITE_LIMIT;

const SET_ASIDE: &str = "-- set_aside()
WITH changed AS (
    DELETE FROM links WHERE slug = $1 AND ($2::text IS NULL OR owner = $2) AND ($5::bigint IS NULL OR revision = $5)
    RETURNING id, slug, next_revision(revision) AS revision, first_revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from,
        expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner
), kept AS (
    INSERT INTO deleted_links (id, slug, revision, first_revision, target, title, tags, redirect_status, cache_seconds,
        forward_query, valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner, deleted_at)
    SELECT id, slug, revision, first_revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from,
        expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner, $3
    FROM changed
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.deleted', slug, id, revision, $4 FROM changed
)
SELECT revision FROM changed";

// Of two at once, the second waits for the row and then finds it gone.
const RESTORE: &str = "-- restore()
WITH back AS (
    DELETE FROM deleted_links WHERE id = (
        SELECT id FROM deleted_links WHERE slug = $1 AND ($2::text IS NULL OR owner = $2) AND deleted_at >= $3
        ORDER BY deleted_at DESC LIMIT 1)
    RETURNING id, slug, revision, first_revision, target, title, tags, redirect_status, cache_seconds, forward_query,
        valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner
), sums AS (
    DELETE FROM orphaned_stats WHERE link_id IN (SELECT id FROM back)
), changed AS (
    INSERT INTO links (id, slug, revision, first_revision, target, title, tags, redirect_status, cache_seconds,
        forward_query, valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner)
    OVERRIDING SYSTEM VALUE
    SELECT id, slug, next_revision(revision), first_revision, target, title, tags, redirect_status, cache_seconds, forward_query,
        valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner
    FROM back
    RETURNING id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from,
        expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.restored', slug, id, revision, $4 FROM changed
)
SELECT revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner
FROM changed";

/// Removes a link, of an owner and at a revision if they are given, and keeps it aside.
pub(super) async fn set_aside(
    pool: &Pool,
    slug: &Slug,
    (owner, expected): (Option<&KeyId>, Option<Revision>),
    now: Timestamp,
    actor: &Actor,
) -> Result<Option<Revision>, StoreError> {
    let parameters: [Parameter<'_>; 5] = [
        (/* slug */ &slug.as_str(), Type::TEXT),
        (/* owner */ &owner.map(KeyId::as_str), Type::TEXT),
        (/* deleted_at */ &now, Type::TIMESTAMPTZ),
        (/* actor */ &actor.to_string(), Type::TEXT),
        (
            /* expected revision */ &expected.map(Revision::get),
            Type::INT8,
        ),
    ];
    let row = within_or_longer(pool, WRITE_LIMIT, pool.query_opt(SET_ASIDE, &parameters))
        .await
        .map_err(|failure| failure.error)?;
    row.map(|row| to_revision(&row)).transpose()
}

/// Brings a link back.
pub(super) async fn restore(
    pool: &Pool,
    slug: &Slug,
    owner: Option<&KeyId>,
    since: Timestamp,
    actor: &Actor,
) -> Result<Option<Link>, StoreError> {
    let parameters: [Parameter<'_>; 4] = [
        (/* slug */ &slug.as_str(), Type::TEXT),
        (/* owner */ &owner.map(KeyId::as_str), Type::TEXT),
        (/* since */ &since, Type::TIMESTAMPTZ),
        (/* actor */ &actor.to_string(), Type::TEXT),
    ];
    match within_or_longer(pool, WRITE_LIMIT, pool.query_opt(RESTORE, &parameters)).await {
        Ok(row) => row.map(|row| to_link(slug, &row)).transpose(),
        Err(failure) if failure.code == Some(SqlState::UNIQUE_VIOLATION) => Err(StoreError::SlugTaken),
        Err(failure) => Err(failure.error),
    }
}
