//! What is done now and then: partitions, and deleting what is old.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::pool::{Parameter, Pool};
use super::values;
use super::work::Work;
use crate::store::Chore;
use crate::store::chores::ROWS;

/// One process at a time changes partitions of a schema; the others leave it to that one.
const TAKE_TURN: &str = "-- take_turn()
SELECT pg_try_advisory_xact_lock(794203918, hashtext(coalesce(current_schema(), ''))) AS granted";

/// A change of partitions holds up every click that comes after it, so it does not wait long.
const LIMIT_LOCKS: &str = "-- limit_locks()
SET LOCAL lock_timeout = '1s'";

const PARTITIONS: &str = "-- partitions()
SELECT c.relname::text AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('clicks') AND c.relname ~ '^clicks_[0-9]{6}$' ORDER BY c.relname";

const DROP_DEFAULT: &str = "-- drop_default()
DELETE FROM clicks_default WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM clicks_default WHERE clicked_at < $1 LIMIT $2))";

const DROP_HOURS: &str = "-- drop_hours()
DELETE FROM click_hours WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM click_hours WHERE start < $1 ORDER BY start LIMIT $2))";

const DROP_VALUES: &str = "-- drop_values()
DELETE FROM click_values WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM click_values WHERE start < $1 ORDER BY start LIMIT $2))";

const DROP_UNSUMMED: &str = "-- drop_unsummed()
DELETE FROM unsummed_clicks WHERE ctid = ANY(ARRAY(SELECT ctid FROM unsummed_clicks WHERE start < $1 LIMIT $2))";

const FORGET_VISITORS: &str = "-- forget_visitors()
DELETE FROM click_visitors WHERE ctid = ANY(ARRAY(SELECT ctid FROM click_visitors WHERE day < $1 LIMIT $2))";

const FORGET_SECRETS: &str = "-- forget_secrets()
DELETE FROM visitor_secrets WHERE day < $1";

const FORGET_BATCHES: &str = "-- forget_batches()
DELETE FROM click_batches WHERE id = ANY(ARRAY(
    SELECT id FROM click_batches WHERE recorded_at < $1 ORDER BY recorded_at LIMIT $2))";

const FORGET_ANSWERS: &str = "-- forget_answers()
DELETE FROM answers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM answers WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";

const PURGE_LINKS: &str = "-- purge_links()
WITH changed AS (
    DELETE FROM links WHERE id = ANY(ARRAY(
        SELECT id FROM links WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))
        AND expires_at < $1
    RETURNING id, slug, revision
), recorded AS (
    INSERT INTO changes (changed_at, kind, slug, link_id, revision, actor)
    SELECT clock_timestamp(), 'link.purged', slug, id, revision, 'system' FROM changed
)
SELECT slug FROM changed";

const DROP_CHANGES: &str = "-- drop_changes()
DELETE FROM changes WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM changes WHERE changed_at < $1 ORDER BY changed_at, id LIMIT $2))";

// The sums of a link that may still be wanted back stay.
const REMAINS_HOURS: &str = "-- remains_hours()
DELETE FROM click_hours WHERE ctid = ANY(ARRAY(
    SELECT h.ctid FROM orphaned_stats r JOIN click_hours h ON h.link_id = r.link_id
    WHERE NOT EXISTS (SELECT FROM deleted_links d WHERE d.id = r.link_id) LIMIT $1))";

const REMAINS_VALUES: &str = "-- remains_values()
DELETE FROM click_values WHERE ctid = ANY(ARRAY(
    SELECT v.ctid FROM orphaned_stats r JOIN click_values v ON v.link_id = r.link_id
    WHERE NOT EXISTS (SELECT FROM deleted_links d WHERE d.id = r.link_id) LIMIT $1))";

const REMAINS_UNSUMMED: &str = "-- remains_unsummed()
DELETE FROM unsummed_clicks WHERE ctid = ANY(ARRAY(
    SELECT c.ctid FROM orphaned_stats r JOIN unsummed_clicks c ON c.link_id = r.link_id
    WHERE NOT EXISTS (SELECT FROM deleted_links d WHERE d.id = r.link_id) LIMIT $1))";

const FORGET_REMAINS: &str = "-- forget_remains()
DELETE FROM orphaned_stats r WHERE NOT EXISTS (SELECT FROM click_hours h WHERE h.link_id = r.link_id)
    AND NOT EXISTS (SELECT FROM click_values v WHERE v.link_id = r.link_id)
    AND NOT EXISTS (SELECT FROM unsummed_clicks c WHERE c.link_id = r.link_id)";

const FORGET_SET_ASIDE: &str = "-- forget_set_aside()
DELETE FROM deleted_links WHERE id = ANY(ARRAY(SELECT id FROM deleted_links WHERE deleted_at < $1 LIMIT $2))";

/// How many months, from this one on, have a partition.
const MONTHS: i8 = 3;

/// Does a piece of a chore and answers how many rows or tables it touched.
pub(super) async fn keep_house(pool: &Pool, chore: Chore) -> Result<u64, Failure> {
    let work = Work::begin(pool).await?;
    let rows = match chore {
        Chore::SumValues => values::sum(&work).await?,
        Chore::MakePartitions(now) => make_partition(&work, now).await?,
        Chore::DropClicks(before) => {
            drop_partition(&work, before).await?
                + old(&work, DROP_DEFAULT, before).await?
                + old(&work, DROP_HOURS, before).await?
                + old(&work, DROP_UNSUMMED, before).await?
                + old(&work, DROP_VALUES, before).await?
        }
        Chore::ForgetVisitors(before) => {
            let parameters: [Parameter<'_>; 1] = [(/* before */ &before, Type::TIMESTAMPTZ)];
            work.execute(FORGET_SECRETS, &parameters).await? + old(&work, FORGET_VISITORS, before).await?
        }
        Chore::ForgetBatches(before) => old(&work, FORGET_BATCHES, before).await?,
        Chore::ForgetSetAside(before) => old(&work, FORGET_SET_ASIDE, before).await?,
        Chore::ForgetAnswers(now) => old(&work, FORGET_ANSWERS, now).await?,
        Chore::PurgeLinks(before) => old(&work, PURGE_LINKS, before).await?,
        Chore::DropChanges(before) => old(&work, DROP_CHANGES, before).await?,
        Chore::DropRemains => {
            let some: [Parameter<'_>; 1] = [(/* limit */ &ROWS, Type::INT8)];
            work.execute(REMAINS_HOURS, &some).await?
                + work.execute(REMAINS_UNSUMMED, &some).await?
                + work.execute(REMAINS_VALUES, &some).await?
                + work.execute(FORGET_REMAINS, &[]).await?
        }
    };
    work.commit().await?;
    Ok(rows)
}

async fn old(work: &Work<'_>, sql: &str, before: Timestamp) -> Result<u64, Failure> {
    let parameters: [Parameter<'_>; 2] = [
        (/* before */ &before, Type::TIMESTAMPTZ),
        (/* limit */ &ROWS, Type::INT8),
    ];
    work.execute(sql, &parameters).await
}

/// A month that has a partition, or shall have one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Month {
    table: String,
    start: Timestamp,
    end: Timestamp,
}

impl Month {
    fn of(time: Timestamp, ahead: i8) -> Option<Self> {
        let first = time.to_zoned(TimeZone::UTC).first_of_month().ok()?;
        let start = first.start_of_day().ok()?.checked_add(ahead.months()).ok()?;
        let end = start.checked_add(1.month()).ok()?;
        Some(Self {
            table: format!("clicks_{:04}{:02}", start.year(), start.month()),
            start: start.timestamp(),
            end: end.timestamp(),
        })
    }

    /// The month that a partition's name says.
    fn named(table: &str) -> Option<Self> {
        let digits = table.strip_prefix("clicks_")?;
        let (year, month) = digits.split_at_checked(4)?;
        let first = jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
        Self::of(first.to_zoned(TimeZone::UTC).ok()?.timestamp(), 0)
    }

    /// Makes the partition. Clicks of its month that came before it are moved into it from the default one.
    fn sql(&self) -> String {
        let Self { table, start, end } = self;
        format!(
            "-- make_partition()
LOCK TABLE clicks_default IN ACCESS EXCLUSIVE MODE;
CREATE TABLE {table} (LIKE clicks INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
WITH moved AS (
    DELETE FROM clicks_default WHERE clicked_at >= '{start}' AND clicked_at < '{end}'
    RETURNING clicked_at, link_id, bot, referrer, browser, system, device, country, language, scan, number
)
INSERT INTO {table}
    (clicked_at, link_id, bot, referrer, browser, system, device, country, language, scan, number)
SELECT clicked_at, link_id, bot, referrer, browser, system, device, country, language, scan, number FROM moved;
ALTER TABLE clicks ATTACH PARTITION {table} FOR VALUES FROM ('{start}') TO ('{end}')"
        )
    }
}

/// Makes the first partition that is missing.
async fn make_partition(work: &Work<'_>, now: Timestamp) -> Result<u64, Failure> {
    let Some(names) = partitions(work).await? else {
        return Ok(0);
    };
    let missing = (0..MONTHS)
        .filter_map(|ahead| Month::of(now, ahead))
        .find(|month| !names.contains(&month.table));
    let Some(month) = missing else { return Ok(0) };
    work.batch(LIMIT_LOCKS).await?;
    work.batch(&month.sql()).await?;
    Ok(1)
}

/// Drops the oldest partition that ends before `before`.
async fn drop_partition(work: &Work<'_>, before: Timestamp) -> Result<u64, Failure> {
    let Some(names) = partitions(work).await? else {
        return Ok(0);
    };
    let old = names
        .iter()
        .find(|name| Month::named(name).is_some_and(|month| month.end <= before));
    let Some(table) = old else { return Ok(0) };
    work.batch(LIMIT_LOCKS).await?;
    work.batch(&format!("-- drop_partition()\nDROP TABLE {table}"))
        .await?;
    Ok(1)
}

/// The partitions' names, oldest first; `None` if another process is changing them.
async fn partitions(work: &Work<'_>) -> Result<Option<Vec<String>>, Failure> {
    let turn = work.query_kept(TAKE_TURN, &[]).await?;
    if !turn.iter().any(|row| row.try_get("granted").unwrap_or(false)) {
        return Ok(None);
    }
    let rows = work.query_kept(PARTITIONS, &[]).await?;
    Ok(Some(
        rows.iter().filter_map(|row| row.try_get("name").ok()).collect(),
    ))
}
