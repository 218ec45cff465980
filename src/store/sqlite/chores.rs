//! Maintenance: what is old is deleted, a bounded piece in each transaction.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::failure::unavailable;
use super::writes::draw_revision;
use super::{changes, values};
use crate::domain::{Actor, ChangeKind};
use crate::store::chores::{LINKS, ROWS};
use crate::store::{Chore, StoreError};

const DROP_CLICKS: &str = "-- drop_clicks()
DELETE FROM clicks WHERE rowid IN (SELECT rowid FROM clicks WHERE clicked_at < ?1 ORDER BY clicked_at LIMIT ?2)";

// Stats are stored in the order of their keys. An index by time would hold each key once more, so old stats are looked
// for link by link.

const NEXT_HOURS: &str = "-- next_hours()
SELECT link_id FROM click_hours WHERE link_id > ?1 ORDER BY link_id LIMIT 1";

const DROP_HOURS: &str = "-- drop_hours()
DELETE FROM click_hours WHERE link_id = ?1 AND start IN (
    SELECT start FROM click_hours WHERE link_id = ?1 AND start < ?2 ORDER BY start LIMIT ?3)";

const NEXT_VALUES: &str = "-- next_values()
SELECT link_id FROM click_values WHERE link_id > ?1 ORDER BY link_id LIMIT 1";

const DROP_VALUES: &str = "-- drop_values()
DELETE FROM click_values WHERE (link_id, span, start, dimension, value) IN (
    SELECT link_id, span, start, dimension, value FROM (
        SELECT link_id, span, start, dimension, value FROM click_values WHERE link_id = ?1 AND span = 0 AND start < ?2
        UNION ALL
        SELECT link_id, span, start, dimension, value FROM click_values WHERE link_id = ?1 AND span = 1 AND start < ?2
    ) LIMIT ?3)";

const FORGET_VISITORS: &str = "-- forget_visitors()
DELETE FROM click_visitors WHERE (day, link_id, visitor) IN (
    SELECT day, link_id, visitor FROM click_visitors WHERE day < ?1 ORDER BY day LIMIT ?2)";

const FORGET_SECRETS: &str = "-- forget_secrets()
DELETE FROM visitor_secrets WHERE day < ?1";

const FORGET_BATCHES: &str = "-- forget_batches()
DELETE FROM click_batches WHERE id IN (
    SELECT id FROM click_batches WHERE recorded_at < ?1 ORDER BY recorded_at LIMIT ?2)";

const FORGET_ANSWERS: &str = "-- forget_answers()
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

const DROP_SESSIONS: &str = "-- drop_sessions()
DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)";

const PURGE_LINKS: &str = "-- purge_links()
DELETE FROM links WHERE id IN (SELECT id FROM links WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)
RETURNING id, slug, revision";

const DROP_CHANGES: &str = "-- drop_changes()
DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE changed_at < ?1 ORDER BY changed_at, id LIMIT ?2)";

const FORGET_SET_ASIDE: &str = "-- forget_set_aside()
DELETE FROM deleted_links WHERE id IN (
    SELECT id FROM deleted_links WHERE deleted_at < ?1 ORDER BY deleted_at LIMIT ?2)";

/// The stats of a link that can still be restored stay.
const ORPHANED_LINKS: &str = "-- orphaned_links()
SELECT link_id FROM orphaned_stats
WHERE NOT EXISTS (SELECT 1 FROM deleted_links WHERE deleted_links.id = orphaned_stats.link_id)
ORDER BY link_id LIMIT ?1";

const DROP_ORPHANED_HOURS: &str = "-- drop_orphaned_hours()
DELETE FROM click_hours WHERE link_id = ?1 AND start IN (
    SELECT start FROM click_hours WHERE link_id = ?1 ORDER BY start LIMIT ?2)";

const DROP_ORPHANED_VALUES: &str = "-- drop_orphaned_values()
DELETE FROM click_values WHERE (link_id, span, start, dimension, value) IN (
    SELECT link_id, span, start, dimension, value FROM click_values WHERE link_id = ?1 LIMIT ?2)";

const DROP_ORPHANED_PENDING: &str = "-- drop_orphaned_pending()
DELETE FROM unsummed_clicks WHERE rowid IN (SELECT rowid FROM unsummed_clicks WHERE link_id = ?1 LIMIT ?2)";

const FORGET_ORPHANED: &str = "-- forget_orphaned()
DELETE FROM orphaned_stats WHERE link_id = ?1";

/// How far the retention of stats has come: the last link that was looked at.
#[derive(Debug, Default)]
pub(super) struct Positions {
    hours: AtomicI64,
    values: AtomicI64,
}

/// Does a piece of a chore and answers how many rows it touched, or how many links it looked at.
pub(super) fn keep_house(
    connection: &mut Connection,
    positions: &Positions,
    chore: Chore,
) -> Result<u64, StoreError> {
    let mut work = || -> rusqlite::Result<usize> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let old = |sql: &str, before: Timestamp| {
            let parameters = params![/* before */ before.as_microsecond(), /* limit */ ROWS];
            transaction.prepare_cached(sql)?.execute(parameters)
        };
        let rows = match chore {
            Chore::SumValues => values::sum(&transaction)?,
            // There are no partitions.
            Chore::MakePartitions(_) => 0,
            Chore::DropClicks(before) => old(DROP_CLICKS, before)?,
            Chore::DropHours(before) => {
                drop_stats(&transaction, NEXT_HOURS, DROP_HOURS, &positions.hours, before)?
            }
            Chore::DropValues(before) => {
                drop_stats(&transaction, NEXT_VALUES, DROP_VALUES, &positions.values, before)?
            }
            Chore::ForgetVisitors(before) => {
                let secrets = transaction
                    .prepare_cached(FORGET_SECRETS)?
                    .execute(params![/* before */ before.as_microsecond()])?;
                secrets + old(FORGET_VISITORS, before)?
            }
            Chore::ForgetBatches(before) => old(FORGET_BATCHES, before)?,
            Chore::ForgetSetAside(before) => old(FORGET_SET_ASIDE, before)?,
            Chore::ForgetAnswers(now) => old(FORGET_ANSWERS, now)?,
            Chore::DropSessions(now) => old(DROP_SESSIONS, now)?,
            Chore::PurgeLinks(before) => {
                let parameters = params![/* before */ before.as_microsecond(), /* limit */ ROWS];
                let mut statement = transaction.prepare_cached(PURGE_LINKS)?;
                let purged = statement.query_map(parameters, |row| {
                    Ok(((row.get(0)?, row.get(2)?), row.get::<_, String>(1)?))
                })?;
                let purged = purged.collect::<rusqlite::Result<Vec<((i64, i64), String)>>>()?;
                for ((id, revision), slug) in &purged {
                    let revision = draw_revision(&transaction, *revision)?;
                    changes::record_link(
                        &transaction,
                        ChangeKind::LinkPurged,
                        slug,
                        (*id, revision),
                        &Actor::System,
                    )?;
                }
                purged.len()
            }
            Chore::DropChanges(before) => old(DROP_CHANGES, before)?,
            Chore::DropRemains => drop_orphaned(&transaction)?,
        };
        transaction.commit()?;
        Ok(rows)
    };
    let rows = work().map_err(unavailable)?;
    Ok(u64::try_from(rows).unwrap_or(u64::MAX))
}

/// Deletes old stats of the links after a position, and moves it. At the end, 0 is answered and the next walk begins.
fn drop_stats(
    transaction: &Transaction<'_>,
    next: &str,
    drop: &str,
    position: &AtomicI64,
    before: Timestamp,
) -> rusqlite::Result<usize> {
    let mut next = transaction.prepare_cached(next)?;
    let mut drop = transaction.prepare_cached(drop)?;
    let mut at = position.load(Ordering::Relaxed);
    let mut left = ROWS;
    let mut touched = 0;
    for _ in 0..LINKS {
        let link: Option<i64> = next
            .query_row(params![/* after */ at], |row| row.get(0))
            .optional()?;
        let Some(link) = link else {
            at = 0;
            break;
        };
        let parameters = params![
            /* link */ link,
            /* before */ before.as_microsecond(),
            /* limit */ left
        ];
        let dropped = drop.execute(parameters)?;
        touched += 1 + dropped;
        left -= i64::try_from(dropped).unwrap_or(i64::MAX);
        if left <= 0 {
            // The same link may have more.
            break;
        }
        at = link;
    }
    position.store(at, Ordering::Relaxed);
    Ok(if at == 0 && left > 0 { 0 } else { touched })
}

/// Deletes stats of some links that are gone, and forgets the links that have none left.
fn drop_orphaned(transaction: &Transaction<'_>) -> rusqlite::Result<usize> {
    let mut orphaned = transaction.prepare_cached(ORPHANED_LINKS)?;
    let links = orphaned.query_map(params![/* limit */ LINKS], |row| row.get::<_, i64>(0))?;
    let links = links.collect::<Result<Vec<_>, _>>()?;
    let mut left = ROWS;
    let mut touched = 0;
    for link in links {
        for sql in [DROP_ORPHANED_HOURS, DROP_ORPHANED_PENDING, DROP_ORPHANED_VALUES] {
            let parameters = params![/* link */ link, /* limit */ left];
            let dropped = transaction.prepare_cached(sql)?.execute(parameters)?;
            touched += dropped;
            left -= i64::try_from(dropped).unwrap_or(i64::MAX);
            if left <= 0 {
                return Ok(touched);
            }
        }
        touched += transaction
            .prepare_cached(FORGET_ORPHANED)?
            .execute(params![/* link */ link])?;
    }
    Ok(touched)
}
