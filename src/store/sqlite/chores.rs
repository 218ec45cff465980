//! What is done now and then: deleting what is old.

use rusqlite::{Connection, TransactionBehavior, params};

use super::failure::unavailable;
use super::{changes, values};
use crate::domain::{Actor, ChangeKind};
use crate::store::chores::ROWS;
use crate::store::{Chore, StoreError};

const DROP_CLICKS: &str = "-- drop_clicks()
DELETE FROM clicks WHERE rowid IN (SELECT rowid FROM clicks WHERE clicked_at < ?1 LIMIT ?2)";

const DROP_HOURS: &str = "-- drop_hours()
DELETE FROM click_hours WHERE (link_id, start) IN (
    SELECT link_id, start FROM click_hours WHERE start < ?1 LIMIT ?2)";

const DROP_VALUES: &str = "-- drop_values()
DELETE FROM click_values WHERE (link_id, span, start, dimension, value) IN (
    SELECT link_id, span, start, dimension, value FROM click_values WHERE start < ?1 LIMIT ?2)";

const DROP_UNSUMMED: &str = "-- drop_unsummed()
DELETE FROM unsummed_clicks WHERE rowid IN (SELECT rowid FROM unsummed_clicks WHERE start < ?1 LIMIT ?2)";

const FORGET_VISITORS: &str = "-- forget_visitors()
DELETE FROM click_visitors WHERE (day, link_id, visitor) IN (
    SELECT day, link_id, visitor FROM click_visitors WHERE day < ?1 LIMIT ?2)";

const FORGET_SECRETS: &str = "-- forget_secrets()
DELETE FROM visitor_secrets WHERE day < ?1";

const FORGET_BATCHES: &str = "-- forget_batches()
DELETE FROM click_batches WHERE id IN (SELECT id FROM click_batches WHERE recorded_at < ?1 LIMIT ?2)";

const FORGET_ANSWERS: &str = "-- forget_answers()
DELETE FROM answers WHERE (caller, key) IN (SELECT caller, key FROM answers WHERE expires_at <= ?1 LIMIT ?2)";

const PURGE_LINKS: &str = "-- purge_links()
DELETE FROM links WHERE id IN (SELECT id FROM links WHERE expires_at < ?1 LIMIT ?2) RETURNING id, slug, revision";

const DROP_CHANGES: &str = "-- drop_changes()
DELETE FROM changes WHERE id IN (SELECT id FROM changes WHERE changed_at < ?1 ORDER BY changed_at, id LIMIT ?2)";

// The sums of a link that may still be wanted back stay.
const REMAINS_HOURS: &str = "-- remains_hours()
DELETE FROM click_hours WHERE (link_id, start) IN (
    SELECT h.link_id, h.start FROM orphaned_stats r JOIN click_hours h ON h.link_id = r.link_id
    WHERE r.link_id NOT IN (SELECT id FROM deleted_links) LIMIT ?1)";

const REMAINS_VALUES: &str = "-- remains_values()
DELETE FROM click_values WHERE (link_id, span, start, dimension, value) IN (
    SELECT v.link_id, v.span, v.start, v.dimension, v.value
    FROM orphaned_stats r JOIN click_values v ON v.link_id = r.link_id
    WHERE r.link_id NOT IN (SELECT id FROM deleted_links) LIMIT ?1)";

const REMAINS_UNSUMMED: &str = "-- remains_unsummed()
DELETE FROM unsummed_clicks WHERE rowid IN (
    SELECT c.rowid FROM orphaned_stats r JOIN unsummed_clicks c ON c.link_id = r.link_id
    WHERE r.link_id NOT IN (SELECT id FROM deleted_links) LIMIT ?1)";

const FORGET_REMAINS: &str = "-- forget_remains()
DELETE FROM orphaned_stats WHERE NOT EXISTS (SELECT 1 FROM click_hours h WHERE h.link_id = orphaned_stats.link_id)
    AND NOT EXISTS (SELECT 1 FROM click_values v WHERE v.link_id = orphaned_stats.link_id)
    AND NOT EXISTS (SELECT 1 FROM unsummed_clicks c WHERE c.link_id = orphaned_stats.link_id)";

const FORGET_SET_ASIDE: &str = "-- forget_set_aside()
DELETE FROM deleted_links WHERE id IN (SELECT id FROM deleted_links WHERE deleted_at < ?1 LIMIT ?2)";

/// Does a piece of a chore and answers how many rows it touched.
pub(super) fn keep_house(connection: &mut Connection, chore: Chore) -> Result<u64, StoreError> {
    let mut work = || -> rusqlite::Result<usize> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let old = |sql: &str, before: jiff::Timestamp| {
            let parameters = params![/* before */ before.as_microsecond(), /* limit */ ROWS];
            transaction.prepare_cached(sql)?.execute(parameters)
        };
        let rows = match chore {
            Chore::SumValues => values::sum(&transaction)?,
            // There are no partitions.
            Chore::MakePartitions(_) => 0,
            Chore::DropClicks(before) => {
                old(DROP_CLICKS, before)?
                    + old(DROP_HOURS, before)?
                    + old(DROP_UNSUMMED, before)?
                    + old(DROP_VALUES, before)?
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
            Chore::PurgeLinks(before) => {
                let parameters = params![/* before */ before.as_microsecond(), /* limit */ ROWS];
                let mut statement = transaction.prepare_cached(PURGE_LINKS)?;
                let purged = statement.query_map(parameters, |row| {
                    Ok(((row.get(0)?, row.get(2)?), row.get::<_, String>(1)?))
                })?;
                let purged = purged.collect::<rusqlite::Result<Vec<((i64, i64), String)>>>()?;
                for (of_link, slug) in &purged {
                    changes::record_link(
                        &transaction,
                        ChangeKind::LinkPurged,
                        slug,
                        *of_link,
                        &Actor::System,
                    )?;
                }
                purged.len()
            }
            Chore::DropChanges(before) => old(DROP_CHANGES, before)?,
            Chore::DropRemains => {
                let some = params![/* limit */ ROWS];
                let sums = transaction.prepare_cached(REMAINS_HOURS)?.execute(some)?
                    + transaction.prepare_cached(REMAINS_UNSUMMED)?.execute(some)?
                    + transaction.prepare_cached(REMAINS_VALUES)?.execute(some)?;
                sums + transaction.prepare_cached(FORGET_REMAINS)?.execute([])?
            }
        };
        transaction.commit()?;
        Ok(rows)
    };
    let rows = work().map_err(unavailable)?;
    Ok(u64::try_from(rows).unwrap_or(u64::MAX))
}
