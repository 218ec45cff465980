//! The monthly partitions of the clicks: created ahead of time, filled from the default partition, dropped when old.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use tokio_postgres::types::Type;

use super::failure::Failure;
use super::links::column;
use super::pool::{Parameter, Pool, Queue};
use super::work::Work;
use crate::store::chores::CLICKS;

/// One process at a time changes partitions of a schema; the others leave it to that one.
const TAKE_TURN: &str = "-- take_turn_for_partitions()
SELECT pg_try_advisory_xact_lock(794203918, hashtext(coalesce(current_schema(), ''))) AS granted";

/// A change of partitions holds up every click that comes after it, so it does not wait long. Pieces are read in the order of
/// an index: statistics of a table that has just been filled do not exist.
const LIMIT_LOCKS: &str = "-- limit_locks_of_partitions()
SET LOCAL lock_timeout = '1s'; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off";

const PARTITIONS: &str = "-- partitions()
SELECT array(
    SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass('clicks') AND c.relname ~ '^clicks_[0-9]{6}(_[0-9]+)?$' ORDER BY c.relname
) AS names, to_regclass('clicks_overflow') IS NOT NULL AS has_overflow";

const DEFAULT_CLICKS: &str = "-- default_clicks()
SELECT count(*) AS number, min(clicked_at) AS oldest
FROM (SELECT clicked_at FROM clicks_default ORDER BY clicked_at LIMIT $1) AS first";

const OLDEST_OVERFLOW: &str = "-- oldest_overflow()
SELECT clicked_at AS oldest FROM clicks_overflow ORDER BY clicked_at LIMIT 1";

macro_rules! columns {
    () => {
        "clicked_at, link_id, bot, scan, number, referrer, browser, system, device, country, language"
    };
}

const MOVE_OVERFLOW: &str = concat!(
    "-- move_overflow()
WITH moved AS (
    DELETE FROM clicks_overflow WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM clicks_overflow WHERE clicked_at < $1 ORDER BY clicked_at LIMIT $2))
    RETURNING ",
    columns!(),
    "
)
INSERT INTO clicks (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM moved"
);

// The functions of the baseline have the rights of the owner of the tables, which the service's role need not have.

const CREATE_PARTITION: &str = "-- create_partition()
SELECT create_clicks_partition($1)";

const DROP_PARTITION: &str = "-- drop_partition()
SELECT drop_clicks_partition($1)";

const DROP_OVERFLOW: &str = "-- drop_overflow()
SELECT drop_clicks_overflow()";

/// Takes a default partition that is too full to be emptied in one go out of `clicks` and puts an empty one into its
/// place. Only the catalog changes, so clicks wait for milliseconds.
const REPLACE_DEFAULT: &str = "-- replace_default()
SELECT replace_default_clicks_partition()";

/// How many months, from this one on, have a partition.
const MONTHS: i8 = 3;

/// A month of clicks, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Month {
    name: String,
    start: Timestamp,
    end: Timestamp,
}

impl Month {
    fn of(time: Timestamp, ahead: i8) -> Option<Self> {
        let first = time.to_zoned(TimeZone::UTC).first_of_month().ok()?;
        let start = first.start_of_day().ok()?.checked_add(ahead.months()).ok()?;
        let end = start.checked_add(1.month()).ok()?;
        Some(Self {
            name: format!("clicks_{:04}{:02}", start.year(), start.month()),
            start: start.timestamp(),
            end: end.timestamp(),
        })
    }

    /// The month that a partition's name says.
    fn named(table: &str) -> Option<Self> {
        let digits = table.strip_prefix("clicks_")?.get(..6)?;
        let (year, month) = digits.split_at_checked(4)?;
        let first = jiff::civil::Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
        Self::of(first.to_zoned(TimeZone::UTC).ok()?.timestamp(), 0)
    }

    fn has_partition(&self, partitions: &[String]) -> bool {
        partitions
            .iter()
            .any(|table| Self::named(table).as_ref() == Some(self))
    }
}

/// What there is.
#[derive(Debug)]
struct Found {
    partitions: Vec<String>,
    has_overflow: bool,
    /// Clicks in the default partition, counted as far as it matters.
    number: i64,
    oldest: Option<Timestamp>,
}

impl Found {
    async fn read(pool: &Pool) -> Result<Self, Failure> {
        let limit: [Parameter<'_>; 1] = [(/* limit */ &(CLICKS + 1), Type::INT8)];
        let partitions = pool.query_kept(Queue::Any, PARTITIONS, &[]).await?;
        let clicks = pool.query_kept(Queue::Any, DEFAULT_CLICKS, &limit).await?;
        let (Some(partitions), Some(clicks)) = (partitions.first(), clicks.first()) else {
            return Err(Failure::of_outcome(super::links::corrupt("names")("no row")));
        };
        let read = || {
            Ok(Self {
                partitions: column(partitions, "names")?,
                has_overflow: column(partitions, "has_overflow")?,
                number: column(clicks, "number")?,
                oldest: column(clicks, "oldest")?,
            })
        };
        read().map_err(Failure::of_outcome)
    }

    /// The months that shall have a partition and have none.
    fn missing(&self, now: Timestamp) -> Vec<Month> {
        let last = Month::of(now, MONTHS - 1);
        let mut months: Vec<Month> = (0..MONTHS).filter_map(|ahead| Month::of(now, ahead)).collect();
        // Clicks of the far future stay where they are: some clock was wrong.
        let old = self.oldest.and_then(|oldest| Month::of(oldest, 0));
        months.extend(old.filter(|old| last.is_some_and(|last| old.end <= last.end)));
        months.retain(|month| !month.has_partition(&self.partitions));
        months.dedup();
        months
    }
}

/// Does the next step towards a partition for each month, and answers how many rows or tables it touched.
pub(super) async fn create(pool: &Pool, now: Timestamp) -> Result<u64, Failure> {
    let found = Found::read(pool).await?;
    let clicks = u64::try_from(found.number).unwrap_or_default();
    pool.metrics().clicks.note_default_partition(clicks);
    let missing = found.missing(now);
    if missing.is_empty() && !found.has_overflow {
        return Ok(0);
    }
    if found.has_overflow {
        return empty_overflow(pool, &found).await;
    }
    if found.number > CLICKS {
        return replace_default(pool, &missing).await;
    }
    let mut refused = None;
    for month in &missing {
        match create_one(pool, month).await {
            Ok(created) => return Ok(created),
            // One that cannot be created holds up no other.
            Err(failure) if failure.code.is_some() => refused = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    refused.map_or(Ok(0), Err)
}

async fn create_one(pool: &Pool, month: &Month) -> Result<u64, Failure> {
    let Some(work) = turn(pool).await? else {
        return Ok(0);
    };
    create_within(&work, month).await?;
    work.commit().await?;
    Ok(1)
}

/// Creates the partition of a month, unless another process did before this one had its turn.
async fn create_within(work: &Work<'_>, month: &Month) -> Result<(), Failure> {
    let parameters: [Parameter<'_>; 1] = [(/* of_time */ &month.start, Type::TIMESTAMPTZ)];
    work.query(CREATE_PARTITION, &parameters).await?;
    Ok(())
}

async fn replace_default(pool: &Pool, missing: &[Month]) -> Result<u64, Failure> {
    let Some(work) = turn(pool).await? else {
        return Ok(0);
    };
    work.query(REPLACE_DEFAULT, &[]).await?;
    for month in missing {
        create_within(&work, month).await?;
    }
    work.commit().await?;
    Ok(1)
}

/// Moves a piece of what was the default partition to where it belongs.
async fn empty_overflow(pool: &Pool, found: &Found) -> Result<u64, Failure> {
    let Some(work) = turn(pool).await? else {
        return Ok(0);
    };
    let rows = work.query(OLDEST_OVERFLOW, &[]).await?;
    let Some(row) = rows.first() else {
        work.query(DROP_OVERFLOW, &[]).await?;
        work.commit().await?;
        return Ok(1);
    };
    let oldest: Timestamp = column(row, "oldest").map_err(Failure::of_outcome)?;
    let month = Month::of(oldest, 0);
    if let Some(month) = month
        .as_ref()
        .filter(|month| !month.has_partition(&found.partitions))
    {
        create_within(&work, month).await?;
    }
    let end = month.map_or(Timestamp::MAX, |month| month.end);
    let parameters: [Parameter<'_>; 2] = [
        (/* end */ &end, Type::TIMESTAMPTZ),
        (/* limit */ &CLICKS, Type::INT8),
    ];
    let moved = work.execute(MOVE_OVERFLOW, &parameters).await?;
    work.commit().await?;
    Ok(moved)
}

/// Drops the oldest partition that ends before `before`.
pub(super) async fn drop_oldest(pool: &Pool, before: Timestamp) -> Result<u64, Failure> {
    let found = Found::read(pool).await?;
    let old = found
        .partitions
        .iter()
        .find(|name| Month::named(name).is_some_and(|month| month.end <= before));
    let Some(table) = old else { return Ok(0) };
    let Some(work) = turn(pool).await? else {
        return Ok(0);
    };
    let parameters: [Parameter<'_>; 1] = [(/* partition_name */ table, Type::TEXT)];
    work.query(DROP_PARTITION, &parameters).await?;
    work.commit().await?;
    Ok(1)
}

/// A transaction that may change partitions; `None` if another process is changing them.
async fn turn(pool: &Pool) -> Result<Option<Work<'_>>, Failure> {
    let work = Work::begin(pool).await?;
    let turn = work.query_kept(TAKE_TURN, &[]).await?;
    if turn.iter().any(|row| row.try_get("granted").unwrap_or(false)) {
        work.batch(LIMIT_LOCKS).await?;
        return Ok(Some(work));
    }
    work.roll_back().await?;
    Ok(None)
}
