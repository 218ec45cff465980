//! Writes of one link, and what all writes have in common.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::changes;
use super::failure::unavailable;
use super::links::{LINK, SqliteStore, one, tags, to_link};
use crate::domain::{Actor, ChangeKind, KeyId, Link, Revision, Slug};
use crate::store::{ClickGrant, StoreError};

/// The microseconds of the clock, so that it is higher than what caches hold even if the file is an older copy; one more
/// than the last if the clock is behind.
const DRAW_REVISION: &str = "-- draw_revision()
UPDATE link_revision SET number = max(number + 1, ?1 + 1, ?2) RETURNING number";

// The first revision is the id: SQLite itself would give the id of a deleted link again, and with it its clicks.
const INSERT_LINK: &str = "-- insert_link()
INSERT INTO links (id, slug, revision, target, title, tags, redirect_status, cache_seconds, forward_query,
    valid_from, expires_at, max_clicks, disabled, updated_at, clicks, created_at, owner)
VALUES (?2, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
ON CONFLICT (slug) DO NOTHING";

const UPDATE_LINK: &str = "-- update_link()
UPDATE links SET revision = ?2, target = ?3, title = ?4, tags = ?5, redirect_status = ?6, cache_seconds = ?7,
    forward_query = ?8, valid_from = ?9, expires_at = ?10, max_clicks = ?11, disabled = ?12, updated_at = ?13
WHERE slug = ?1 AND revision = ?14
RETURNING id";

const DELETE_LINK: &str = "-- delete_link()
DELETE FROM links WHERE slug = ?1 AND (?2 IS NULL OR owner = ?2) AND (?3 IS NULL OR revision = ?3)
RETURNING id, revision";

// The id is the first revision.
const TAKE_CLICK: &str = "-- take_click()
UPDATE links SET clicks = clicks + 1 WHERE slug = ?1 AND id <= ?2 AND clicks < max_clicks AND NOT disabled";

const FOLLOWED: &str = "-- followed()
SELECT EXISTS (SELECT 1 FROM links WHERE slug = ?1 AND id <= ?2)";

/// Whether a write was begun by the thread, or given up by its caller before.
const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const GIVEN_UP: u8 = 2;

impl SqliteStore {
    /// Runs a write. When no answer comes in time, it tells a write that was never begun from one that may still be
    /// committed.
    pub(super) async fn mutate<T, F>(&self, limit: Duration, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let state = Arc::new(AtomicU8::new(WAITING));
        let of_thread = Arc::clone(&state);
        let turn = |state: &AtomicU8, to| {
            state
                .compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
        };
        let done = self.writes.run(limit, move |connection| {
            Ok(turn(&of_thread, BEGUN).then(|| operation(connection)))
        });
        match done.await {
            Ok(Some(result)) => result,
            Ok(None) => Err(StoreError::unavailable("the write was given up")),
            Err(StoreError::Unavailable(cause)) if !turn(&state, GIVEN_UP) => {
                Err(StoreError::OutcomeUnknown(cause))
            }
            Err(err) => Err(err),
        }
    }
}

pub(super) fn insert_link(
    connection: &mut Connection,
    link: &Link,
    actor: &Actor,
) -> Result<Revision, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    let revision = insert_row(&transaction, link, actor)?.ok_or(StoreError::SlugTaken)?;
    transaction.commit().map_err(unavailable)?;
    Ok(revision)
}

/// Inserts a link, in a transaction; `None` if its slug is taken, and then a revision is lost.
pub(super) fn insert_row(
    connection: &Connection,
    link: &Link,
    actor: &Actor,
) -> Result<Option<Revision>, StoreError> {
    let revision = draw_revision(connection, 0).map_err(unavailable)?;
    let parameters = params![
        /* slug */ link.slug.as_str(),
        /* revision */ revision,
        /* target */ link.target.as_str(),
        /* title */ link.title,
        /* tags */ tags(link)?,
        /* redirect_status */ link.redirect_status.code(),
        /* cache_seconds */ link.cache_seconds,
        /* forward_query */ link.forward_query,
        /* valid_from */ link.valid_from.map(Timestamp::as_microsecond),
        /* expires_at */ link.expires_at.map(Timestamp::as_microsecond),
        /* max_clicks */ link.max_clicks,
        /* disabled */ link.disabled,
        /* updated_at */ link.updated_at.as_microsecond(),
        /* clicks */ link.clicks,
        /* created_at */ link.created_at.as_microsecond(),
        /* owner */ link.owner.as_ref().map(KeyId::as_str),
    ];
    let rows = connection
        .prepare_cached(INSERT_LINK)
        .map_err(unavailable)?
        .execute(parameters)
        .map_err(unavailable)?;
    if rows == 0 {
        return Ok(None);
    }
    changes::record_link(
        connection,
        ChangeKind::LinkCreated,
        link.slug.as_str(),
        (revision, revision),
        actor,
    )
    .map_err(unavailable)?;
    Ok(Some(Revision::new(revision)))
}

pub(super) fn update_link(
    connection: &mut Connection,
    link: &Link,
    kind: ChangeKind,
    actor: &Actor,
) -> Result<Revision, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    let revision = draw_revision(&transaction, link.revision.get()).map_err(unavailable)?;
    let parameters = params![
        /* slug */ link.slug.as_str(),
        /* revision */ revision,
        /* target */ link.target.as_str(),
        /* title */ link.title,
        /* tags */ tags(link)?,
        /* redirect_status */ link.redirect_status.code(),
        /* cache_seconds */ link.cache_seconds,
        /* forward_query */ link.forward_query,
        /* valid_from */ link.valid_from.map(Timestamp::as_microsecond),
        /* expires_at */ link.expires_at.map(Timestamp::as_microsecond),
        /* max_clicks */ link.max_clicks,
        /* disabled */ link.disabled,
        /* updated_at */ link.updated_at.as_microsecond(),
        /* expected revision */ link.revision.get(),
    ];
    let id = transaction
        .prepare_cached(UPDATE_LINK)
        .and_then(|mut update| update.query_row(parameters, |row| row.get(0)).optional())
        .map_err(unavailable)?;
    let id = id.ok_or(StoreError::Conflict)?;
    changes::record_link(&transaction, kind, link.slug.as_str(), (id, revision), actor)
        .map_err(unavailable)?;
    transaction.commit().map_err(unavailable)?;
    Ok(Revision::new(revision))
}

pub(super) fn delete_link(
    connection: &mut Connection,
    slug: &Slug,
    owner: Option<&KeyId>,
    expected: Option<Revision>,
    actor: &Actor,
) -> Result<Option<Revision>, StoreError> {
    let mut delete = || -> rusqlite::Result<Option<i64>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let parameters = params![
            /* slug */ slug.as_str(),
            /* owner */ owner.map(KeyId::as_str),
            /* expected revision */ expected.map(Revision::get),
        ];
        let last: Option<(i64, i64)> = transaction
            .prepare_cached(DELETE_LINK)?
            .query_row(parameters, |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((id, revision)) = last else {
            return Ok(None);
        };
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
    Ok(delete().map_err(unavailable)?.map(Revision::new))
}

pub(super) fn take_click(
    connection: &mut Connection,
    slug: Slug,
    revision: Revision,
) -> Result<ClickGrant, StoreError> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(unavailable)?;
    let rows = transaction
        .prepare_cached(TAKE_CLICK)
        .and_then(|mut take| {
            take.execute(params![
                /* slug */ slug.as_str(),
                /* revision */ revision.get()
            ])
        })
        .map_err(unavailable)?;
    if rows == 1 {
        transaction.commit().map_err(unavailable)?;
        return Ok(ClickGrant::Granted);
    }
    let is_followed: bool = transaction
        .prepare_cached(FOLLOWED)
        .and_then(|mut followed| {
            let parameters = params![/* slug */ slug.as_str(), /* revision */ revision.get()];
            followed.query_row(parameters, |row| row.get(0))
        })
        .map_err(unavailable)?;
    if !is_followed {
        return Ok(ClickGrant::Gone);
    }
    Ok(match one(&transaction, LINK, slug, to_link)? {
        None => ClickGrant::Gone,
        Some(link) if link.disabled => ClickGrant::Gone,
        Some(link) if link.max_clicks.is_none() => ClickGrant::NotLimited,
        Some(_) => ClickGrant::UsedUp,
    })
}

/// The next revision of a link that is at `previous`. It is given back if the transaction is not committed.
pub(super) fn draw_revision(connection: &Connection, previous: i64) -> rusqlite::Result<i64> {
    connection.prepare_cached(DRAW_REVISION)?.query_one(
        params![/* previous */ previous, /* now */ changes::now()],
        |row| row.get(0),
    )
}
