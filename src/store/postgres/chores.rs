//! Maintenance: what is old is deleted, a bounded piece in each transaction.

use jiff::Timestamp;
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::links::column;
use super::pool::{Parameter, Pool};
use super::work::Work;
use super::{partitions, values};
use crate::store::Chore;
use crate::store::chores::{LINKS, ROWS};

// Each piece is found in the order of an index. Without ORDER BY, the planner might expect old rows everywhere in a table
// that has none, and read all of it.

/// Whatever the planner expects of a table whose statistics are old.
const READ_IN_ORDER: &str = "-- read_in_order()
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";

const DROP_DEFAULT: &str = "-- drop_default()
DELETE FROM clicks_default WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM clicks_default WHERE clicked_at < $1 ORDER BY clicked_at LIMIT $2))";

const DROP_HOURS: &str = "-- drop_hours()
DELETE FROM click_hours WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM click_hours WHERE start < $1 ORDER BY start LIMIT $2))";

const DROP_VALUES: &str = "-- drop_values()
DELETE FROM click_values WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM click_values WHERE start < $1 ORDER BY start LIMIT $2))";

const FORGET_VISITORS: &str = "-- forget_visitors()
DELETE FROM click_visitors WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM click_visitors WHERE day < $1 ORDER BY day LIMIT $2))";

const FORGET_SECRETS: &str = "-- forget_secrets()
DELETE FROM visitor_secrets WHERE day < $1";

const FORGET_BATCHES: &str = "-- forget_batches()
DELETE FROM click_batches WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM click_batches WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2))";

const FORGET_ANSWERS: &str = "-- forget_answers()
DELETE FROM answers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM answers WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

const DROP_SESSIONS: &str = "-- drop_sessions()
DELETE FROM sessions WHERE hash = ANY (ARRAY(
    SELECT hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2))";

const PURGE_LINKS: &str = "-- purge_links()
WITH changed AS (
    DELETE FROM links WHERE id = ANY(ARRAY(
        SELECT id FROM links WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
        AND expires_at < $1
    RETURNING id, slug, next_revision(revision) AS revision
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.purged', slug, id, revision, 'system' FROM changed
)
SELECT slug FROM changed";

const DROP_CHANGES: &str = "-- drop_changes()
DELETE FROM changes WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM changes WHERE changed_at < $1 ORDER BY changed_at, id LIMIT $2))";

const FORGET_SET_ASIDE: &str = "-- forget_set_aside()
DELETE FROM deleted_links WHERE id = ANY (ARRAY(
    SELECT id FROM deleted_links WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2))";

/// The stats of a link that can still be restored stay. Other processes take other links.
const ORPHANED_LINKS: &str = "-- orphaned_links()
SELECT link_id FROM orphaned_stats AS o
WHERE (SELECT true FROM deleted_links AS d WHERE d.id = o.link_id) IS NULL
ORDER BY link_id LIMIT $1 FOR UPDATE SKIP LOCKED";

/// Each link's rows are looked up by the key, whatever the planner expects of their number.
macro_rules! drop_orphaned {
    ($name:literal, $table:literal, $order:literal) => {
        concat!(
            "-- ",
            $name,
            "()
DELETE FROM ",
            $table,
            " WHERE ctid = ANY (ARRAY(
    SELECT stats.ctid FROM unnest(CAST($1 AS bigint[])) AS orphaned (id) CROSS JOIN LATERAL (
        SELECT ctid FROM ",
            $table,
            " WHERE link_id = orphaned.id ORDER BY ",
            $order,
            " LIMIT $2
    ) AS stats LIMIT $2))"
        )
    };
}

const DROP_ORPHANED_HOURS: &str = drop_orphaned!("drop_orphaned_hours", "click_hours", "start");
const DROP_ORPHANED_VALUES: &str = drop_orphaned!("drop_orphaned_values", "click_values", "span, start");
const DROP_ORPHANED_PENDING: &str = drop_orphaned!("drop_orphaned_pending", "unsummed_clicks", "link_id");

const FORGET_ORPHANED: &str = "-- forget_orphaned()
DELETE FROM orphaned_stats AS o WHERE link_id = ANY ($1)
    AND (SELECT count(*) FROM (SELECT FROM click_hours WHERE click_hours.link_id = o.link_id LIMIT 1) AS h) = 0
    AND (SELECT count(*) FROM (SELECT FROM click_values WHERE click_values.link_id = o.link_id LIMIT 1) AS v) = 0
    AND (SELECT count(*) FROM (SELECT FROM unsummed_clicks WHERE unsummed_clicks.link_id = o.link_id LIMIT 1) AS u) = 0";

/// Does a piece of a chore and answers how many rows or tables it touched.
pub(super) async fn keep_house(pool: &Pool, chore: Chore) -> Result<u64, Failure> {
    match chore {
        Chore::SumValues => {
            let work = Work::begin(pool).await?;
            let rows = values::sum(&work).await?;
            work.commit().await?;
            Ok(rows)
        }
        Chore::MakePartitions(now) => partitions::create(pool, now).await,
        Chore::DropClicks(before) => match partitions::drop_oldest(pool, before).await? {
            0 => old(pool, DROP_DEFAULT, before).await,
            dropped => Ok(dropped),
        },
        Chore::DropHours(before) => old(pool, DROP_HOURS, before).await,
        Chore::DropValues(before) => old(pool, DROP_VALUES, before).await,
        Chore::ForgetVisitors(before) => {
            let parameters: [Parameter<'_>; 1] = [(/* before */ &before, Type::TIMESTAMPTZ)];
            let work = Work::begin(pool).await?;
            let secrets = work.execute(FORGET_SECRETS, &parameters).await?;
            work.commit().await?;
            Ok(secrets + old(pool, FORGET_VISITORS, before).await?)
        }
        Chore::ForgetBatches(before) => old(pool, FORGET_BATCHES, before).await,
        Chore::ForgetSetAside(before) => old(pool, FORGET_SET_ASIDE, before).await,
        Chore::ForgetAnswers(now) => old(pool, FORGET_ANSWERS, now).await,
        Chore::DropSessions(now) => old(pool, DROP_SESSIONS, now).await,
        Chore::PurgeLinks(before) => old(pool, PURGE_LINKS, before).await,
        Chore::DropChanges(before) => old(pool, DROP_CHANGES, before).await,
        Chore::DropRemains => drop_orphaned(pool).await,
    }
}

async fn old(pool: &Pool, sql: &str, before: Timestamp) -> Result<u64, Failure> {
    let parameters: [Parameter<'_>; 2] = [
        (/* before */ &before, Type::TIMESTAMPTZ),
        (/* limit */ &ROWS, Type::INT8),
    ];
    let work = Work::begin(pool).await?;
    work.batch(READ_IN_ORDER).await?;
    let rows = work.execute(sql, &parameters).await?;
    work.commit().await?;
    Ok(rows)
}

/// Deletes stats of some links that are gone, and forgets the links that have none left.
async fn drop_orphaned(pool: &Pool) -> Result<u64, Failure> {
    let work = Work::begin(pool).await?;
    work.batch(READ_IN_ORDER).await?;
    let limit: [Parameter<'_>; 1] = [(/* limit */ &LINKS, Type::INT8)];
    let rows = work.query_kept(ORPHANED_LINKS, &limit).await?;
    let ids = rows.iter().map(|row| column(row, "link_id"));
    let ids: Vec<i64> = ids.collect::<Result<_, _>>().map_err(Failure::of_outcome)?;
    let mut dropped = 0;
    if !ids.is_empty() {
        let some: [Parameter<'_>; 2] = [
            (/* ids */ &ids, Type::INT8_ARRAY),
            (/* limit */ &ROWS, Type::INT8),
        ];
        for sql in [DROP_ORPHANED_HOURS, DROP_ORPHANED_PENDING, DROP_ORPHANED_VALUES] {
            dropped += work.execute(sql, &some).await?;
        }
        dropped += work.execute(FORGET_ORPHANED, &some[..1]).await?;
    }
    work.commit().await?;
    Ok(dropped)
}
