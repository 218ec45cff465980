//! Links that were deleted a moment ago, and are wanted back.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::changes;
use super::failure::unavailable;
use super::links::to_link;
use super::writes::draw_revision;
use crate::domain::{Actor, ChangeKind, KeyId, Link, Revision, Slug};
use crate::store::StoreError;

const KEEP: &str = "-- keep()
INSERT INTO deleted_links (id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, clicks, created_at, updated_at, owner, deleted_at)
SELECT id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner, ?3
FROM links WHERE slug = ?1 AND (?2 IS NULL OR owner = ?2) AND (?4 IS NULL OR revision = ?4)";

const REMOVE: &str = "-- remove()
DELETE FROM links WHERE slug = ?1 RETURNING id, revision";

const FIND: &str = "-- find()
SELECT id, revision FROM deleted_links WHERE slug = ?1 AND (?2 IS NULL OR owner = ?2) AND deleted_at >= ?3
ORDER BY deleted_at DESC LIMIT 1";

const BRING_BACK: &str = "-- bring_back()
INSERT INTO links (id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, updated_at, clicks, created_at, owner)
SELECT id, slug, ?2, target, title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, updated_at, clicks, created_at, owner
FROM deleted_links WHERE id = ?1
ON CONFLICT (slug) DO NOTHING
RETURNING revision, target, title, tags, redirect_status, cache_seconds, forward_query, valid_from, expires_at,
    max_clicks, disabled, clicks, created_at, updated_at, owner";

const FORGET: &str = "-- forget()
DELETE FROM deleted_links WHERE id = ?1";

const KEEP_SUMS: &str = "-- keep_sums()
DELETE FROM orphaned_stats WHERE link_id = ?1";

/// Removes a link, of an owner and at a revision if they are given, and keeps it aside.
pub(super) fn set_aside(
    connection: &mut Connection,
    slug: &Slug,
    (owner, expected): (Option<&KeyId>, Option<Revision>),
    now: Timestamp,
    actor: &Actor,
) -> Result<Option<Revision>, StoreError> {
    let mut work = || -> rusqlite::Result<Option<i64>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let parameters = params![
            /* slug */ slug.as_str(),
            /* owner */ owner.map(KeyId::as_str),
            /* deleted_at */ now.as_microsecond(),
            /* expected revision */ expected.map(Revision::get),
        ];
        if transaction.prepare_cached(KEEP)?.execute(parameters)? == 0 {
            return Ok(None);
        }
        let (id, revision) = transaction
            .prepare_cached(REMOVE)?
            .query_row(params![/* slug */ slug.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let revision = draw_revision(&transaction, revision)?;
        changes::record_link(
            &transaction,
            ChangeKind::LinkDeleted,
            slug.as_str(),
            (id, revision),
            actor,
        )?;
        transaction.commit()?;
        Ok(Some(revision))
    };
    Ok(work().map_err(unavailable)?.map(Revision::new))
}

/// Brings a link back.
pub(super) fn restore(
    connection: &mut Connection,
    slug: &Slug,
    owner: Option<&KeyId>,
    since: Timestamp,
    actor: &Actor,
) -> Result<Option<Link>, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    let parameters = params![
        /* slug */ slug.as_str(),
        /* owner */ owner.map(KeyId::as_str),
        /* since */ since.as_microsecond()
    ];
    let found: Option<(i64, i64)> = transaction
        .prepare_cached(FIND)
        .and_then(|mut find| {
            find.query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()
        })
        .map_err(unavailable)?;
    let Some((id, last)) = found else { return Ok(None) };
    let revision = draw_revision(&transaction, last).map_err(unavailable)?;
    let link = {
        let mut statement = transaction.prepare_cached(BRING_BACK).map_err(unavailable)?;
        let mut rows = statement
            .query(params![/* id */ id, /* revision */ revision])
            .map_err(unavailable)?;
        let row = rows.next().map_err(unavailable)?.ok_or(StoreError::SlugTaken)?;
        to_link(slug.clone(), row)?
    };
    for sql in [FORGET, KEEP_SUMS] {
        transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(params![/* id */ id]))
            .map_err(unavailable)?;
    }
    changes::record_link(
        &transaction,
        ChangeKind::LinkRestored,
        slug.as_str(),
        (id, revision),
        actor,
    )
    .map_err(unavailable)?;
    transaction.commit().map_err(unavailable)?;
    Ok(Some(link))
}
